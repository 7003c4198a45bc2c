-- Mail on its way. What it says may open an account, so it is sealed with the master key, and wiped once it is sent.
CREATE TABLE outbox (
    id           BLOB    NOT NULL PRIMARY KEY,
    template     TEXT    NOT NULL,
    address      TEXT    NOT NULL,
    is_wish      INTEGER NOT NULL,
    sealed       BLOB,
    created_at   TEXT    NOT NULL,
    due_at       TEXT    NOT NULL,
    attempts     INTEGER NOT NULL,
    ended_at     TEXT,
    outcome      TEXT
) STRICT;
CREATE INDEX outbox_by_due ON outbox (due_at) WHERE ended_at IS NULL;
CREATE INDEX outbox_by_end ON outbox (ended_at);
CREATE INDEX outbox_by_address ON outbox (address, template);

-- Tokens that serve once and for one purpose, which is part of what their digest is of.
CREATE TABLE one_time_tokens (
    id           BLOB    NOT NULL PRIMARY KEY,
    purpose      TEXT    NOT NULL,
    account_id   BLOB    REFERENCES accounts (id) ON DELETE CASCADE,
    address      TEXT    NOT NULL,
    digest       BLOB    NOT NULL,
    binding      BLOB,
    sealed       BLOB,
    created_at   TEXT    NOT NULL,
    expires_at   TEXT    NOT NULL,
    used_at      TEXT
) STRICT;
CREATE INDEX one_time_tokens_by_account ON one_time_tokens (account_id);
CREATE INDEX one_time_tokens_by_address ON one_time_tokens (address, purpose);
CREATE INDEX one_time_tokens_by_expiry ON one_time_tokens (expires_at);

-- Failed logins, counted by what they were aimed at and where they came from.
CREATE TABLE login_failures (
    subject      BLOB    NOT NULL,
    source       BLOB    NOT NULL,
    failures     INTEGER NOT NULL,
    locks        INTEGER NOT NULL,
    locked_until TEXT,
    last_at      TEXT    NOT NULL,
    PRIMARY KEY (subject, source)
) STRICT;
CREATE INDEX login_failures_by_time ON login_failures (last_at);

-- Where a session was begun, for its owner to recognise and for the door to know a familiar place.
ALTER TABLE sessions ADD COLUMN address TEXT;
ALTER TABLE sessions ADD COLUMN network TEXT;
ALTER TABLE sessions ADD COLUMN device BLOB;
ALTER TABLE sessions ADD COLUMN user_agent TEXT;
ALTER TABLE sessions ADD COLUMN method TEXT;
ALTER TABLE sessions ADD COLUMN last_seen_at TEXT;
