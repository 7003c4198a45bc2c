-- When somebody was last invited to take over the account, which is disabled until they do. NULL: nobody is expected.
ALTER TABLE accounts ADD COLUMN invited_at TEXT;
