-- ß and ς are letters of their own in a domain: whoever has an address at groß.de was known by one at gross.de, which is somebody else's. Two
-- who are apart now were apart before; where both are there already, since an old gateway has made one, the second stays as it is.
UPDATE accounts SET email_normalised = split_part(email_normalised, '@', 1) || '@'
    || replace(lower(split_part(email, '@', 2) COLLATE "C"), 'ẞ', 'ß')
WHERE (email LIKE '%@%ß%' OR email LIKE '%@%ẞ%' OR email LIKE '%@%ς%')
    AND email_normalised NOT LIKE '%ß%' AND email_normalised NOT LIKE '%ς%' AND NOT EXISTS
    (SELECT 1 FROM accounts other WHERE other.email_normalised = split_part(accounts.email_normalised, '@', 1) || '@'
        || replace(lower(split_part(accounts.email, '@', 2) COLLATE "C"), 'ẞ', 'ß'));
