-- What somebody shows besides a password. What it is checked with is sealed with the master key. `counter`: the step of the last code
-- that was accepted, or the last count of signatures: neither ever goes back.
CREATE TABLE factors (
    id           uuid        NOT NULL PRIMARY KEY,
    account_id   uuid        NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    kind         text        NOT NULL CHECK (kind IN ('totp', 'passkey')),
    name         text,
    credential   bytea,
    sealed       bytea       NOT NULL,
    counter      bigint      NOT NULL,
    created_at   timestamptz NOT NULL,
    confirmed_at timestamptz,
    last_used_at timestamptz
);
CREATE INDEX factors_by_account ON factors (account_id);
CREATE UNIQUE INDEX factors_by_credential ON factors (credential) WHERE credential IS NOT NULL;

-- Written down by somebody who may lose the rest; only digests are kept.
CREATE TABLE recovery_codes (
    account_id   uuid        NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    digest       bytea       NOT NULL,
    created_at   timestamptz NOT NULL,
    used_at      timestamptz,
    PRIMARY KEY (account_id, digest)
);

-- How often a token has been shown with something wrong beside it.
ALTER TABLE one_time_tokens ADD COLUMN attempts bigint NOT NULL DEFAULT 0;

-- When and how (RFC 8176) the person behind a session has last shown who they are.
ALTER TABLE sessions ADD COLUMN auth_time timestamptz;
ALTER TABLE sessions ADD COLUMN amr text;
UPDATE sessions SET auth_time = created_at;
