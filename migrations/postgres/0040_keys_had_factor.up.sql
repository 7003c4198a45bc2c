-- Had its owner a second factor when a key was made? Then it was shown for it. Of keys that there are: one that they still have.
ALTER TABLE api_keys ADD COLUMN had_factor boolean NOT NULL DEFAULT FALSE;
UPDATE api_keys SET had_factor = TRUE WHERE EXISTS
    (SELECT 1 FROM factors WHERE factors.account_id = api_keys.account_id AND factors.confirmed_at <= api_keys.created_at);
