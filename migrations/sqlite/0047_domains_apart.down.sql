-- As gateways of the version before look for them, but where two are apart since that were one.
UPDATE accounts SET email_normalised = replace(replace(email_normalised, 'ß', 'ss'), 'ς', 'σ')
WHERE (email_normalised LIKE '%ß%' OR email_normalised LIKE '%ς%') AND NOT EXISTS
    (SELECT 1 FROM accounts other WHERE other.id <> accounts.id AND replace(replace(other.email_normalised, 'ß', 'ss'), 'ς', 'σ')
        = replace(replace(accounts.email_normalised, 'ß', 'ss'), 'ς', 'σ'));
