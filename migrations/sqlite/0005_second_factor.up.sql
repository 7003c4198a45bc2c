-- What somebody shows besides a password. What it is checked with is sealed with the master key. `counter`: the step of the last code
-- that was accepted, or the last count of signatures: neither ever goes back.
CREATE TABLE factors (
    id           BLOB    NOT NULL PRIMARY KEY,
    account_id   BLOB    NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    kind         TEXT    NOT NULL CHECK (kind IN ('totp', 'passkey')),
    name         TEXT,
    credential   BLOB,
    sealed       BLOB    NOT NULL,
    counter      INTEGER NOT NULL,
    created_at   TEXT    NOT NULL,
    confirmed_at TEXT,
    last_used_at TEXT
) STRICT;
CREATE INDEX factors_by_account ON factors (account_id);
CREATE UNIQUE INDEX factors_by_credential ON factors (credential) WHERE credential IS NOT NULL;

-- Written down by somebody who may lose the rest; only digests are kept.
CREATE TABLE recovery_codes (
    account_id BLOB NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    digest     BLOB NOT NULL,
    created_at TEXT NOT NULL,
    used_at    TEXT,
    PRIMARY KEY (account_id, digest)
) STRICT;

-- How often a token has been shown with something wrong beside it.
ALTER TABLE one_time_tokens ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0;

-- When and how (RFC 8176) the person behind a session has last shown who they are.
ALTER TABLE sessions ADD COLUMN auth_time TEXT;
ALTER TABLE sessions ADD COLUMN amr TEXT;
UPDATE sessions SET auth_time = created_at;
