-- Mail on its way. What it says may open an account, so it is sealed with the master key, and wiped once it is sent.
CREATE TABLE outbox (
    id         uuid        NOT NULL PRIMARY KEY,
    template   text        NOT NULL,
    address    text        NOT NULL,
    is_wish    boolean     NOT NULL,
    sealed     bytea,
    created_at timestamptz NOT NULL,
    due_at     timestamptz NOT NULL,
    attempts   bigint      NOT NULL,
    ended_at   timestamptz,
    outcome    text
);
CREATE INDEX outbox_by_due ON outbox (due_at) WHERE ended_at IS NULL;
CREATE INDEX outbox_by_end ON outbox (ended_at);
CREATE INDEX outbox_by_address ON outbox (address, template);

-- Tokens that serve once and for one purpose, which is part of what their digest is of.
CREATE TABLE one_time_tokens (
    id         uuid        NOT NULL PRIMARY KEY,
    purpose    text        NOT NULL,
    account_id uuid        REFERENCES accounts (id) ON DELETE CASCADE,
    address    text        NOT NULL,
    digest     bytea       NOT NULL,
    binding    bytea,
    sealed     bytea,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at    timestamptz
);
CREATE INDEX one_time_tokens_by_account ON one_time_tokens (account_id);
CREATE INDEX one_time_tokens_by_address ON one_time_tokens (address, purpose);
CREATE INDEX one_time_tokens_by_expiry ON one_time_tokens (expires_at);

-- Failed logins, counted by what they were aimed at and where they came from.
CREATE TABLE login_failures (
    subject      bytea       NOT NULL,
    source       bytea       NOT NULL,
    failures     bigint      NOT NULL,
    locks        bigint      NOT NULL,
    locked_until timestamptz,
    last_at      timestamptz NOT NULL,
    PRIMARY KEY (subject, source)
);
CREATE INDEX login_failures_by_time ON login_failures (last_at);

-- Where a session was begun, for its owner to recognise and for the door to know a familiar place.
ALTER TABLE sessions ADD COLUMN address text;
ALTER TABLE sessions ADD COLUMN network text;
ALTER TABLE sessions ADD COLUMN device bytea;
ALTER TABLE sessions ADD COLUMN user_agent text;
ALTER TABLE sessions ADD COLUMN method text;
ALTER TABLE sessions ADD COLUMN last_seen_at timestamptz;
