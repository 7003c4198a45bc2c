-- Accounts and what they log in with. Ids are UUIDs (16 bytes), times are RFC 3339 texts in UTC.
CREATE TABLE tenants (
    id         BLOB NOT NULL PRIMARY KEY,
    name       TEXT NOT NULL,
    created_at TEXT NOT NULL
) STRICT;

CREATE TABLE accounts (
    id               BLOB    NOT NULL PRIMARY KEY,
    email            TEXT    NOT NULL,
    email_normalised TEXT    NOT NULL UNIQUE,
    password_hash    TEXT    NOT NULL,
    name             TEXT,
    role             TEXT    NOT NULL,
    tier             TEXT    NOT NULL,
    status           TEXT    NOT NULL CHECK (status IN ('active', 'disabled')),
    tenant_id        BLOB    REFERENCES tenants (id),
    is_verified      INTEGER NOT NULL,
    avatar_url       TEXT,
    created_at       TEXT    NOT NULL,
    updated_at       TEXT    NOT NULL
) STRICT;
CREATE INDEX accounts_by_role ON accounts (role);

CREATE TABLE sessions (
    id         BLOB NOT NULL PRIMARY KEY,
    account_id BLOB NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    created_at TEXT NOT NULL,
    ended_at   TEXT
) STRICT;
CREATE INDEX sessions_by_account ON sessions (account_id);

-- A chain of single-use tokens per session; only their SHA-256 is kept.
CREATE TABLE refresh_tokens (
    id         BLOB NOT NULL PRIMARY KEY,
    session_id BLOB NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    digest     BLOB NOT NULL,
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL,
    used_at    TEXT
) STRICT;
CREATE INDEX refresh_tokens_by_session ON refresh_tokens (session_id);

CREATE TABLE api_keys (
    id           BLOB NOT NULL PRIMARY KEY,
    account_id   BLOB NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    name         TEXT NOT NULL,
    prefix       TEXT NOT NULL,
    digest       BLOB NOT NULL,
    scopes       TEXT,
    created_at   TEXT NOT NULL,
    expires_at   TEXT,
    revoked_at   TEXT,
    last_used_at TEXT
) STRICT;
CREATE INDEX api_keys_by_account ON api_keys (account_id);
