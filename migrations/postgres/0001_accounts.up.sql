-- Accounts and what they log in with.
CREATE TABLE tenants (
    id         uuid        NOT NULL PRIMARY KEY,
    name       text        NOT NULL,
    created_at timestamptz NOT NULL
);

CREATE TABLE accounts (
    id               uuid        NOT NULL PRIMARY KEY,
    email            text        NOT NULL,
    email_normalised text        NOT NULL UNIQUE,
    password_hash    text        NOT NULL,
    name             text,
    role             text        NOT NULL,
    tier             text        NOT NULL,
    status           text        NOT NULL CHECK (status IN ('active', 'disabled')),
    tenant_id        uuid        REFERENCES tenants (id),
    is_verified      boolean     NOT NULL,
    avatar_url       text,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL
);
CREATE INDEX accounts_by_role ON accounts (role);

CREATE TABLE sessions (
    id         uuid        NOT NULL PRIMARY KEY,
    account_id uuid        NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    ended_at   timestamptz
);
CREATE INDEX sessions_by_account ON sessions (account_id);

-- A chain of single-use tokens per session; only their SHA-256 is kept.
CREATE TABLE refresh_tokens (
    id         uuid        NOT NULL PRIMARY KEY,
    session_id uuid        NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    digest     bytea       NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at    timestamptz
);
CREATE INDEX refresh_tokens_by_session ON refresh_tokens (session_id);

CREATE TABLE api_keys (
    id           uuid        NOT NULL PRIMARY KEY,
    account_id   uuid        NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    name         text        NOT NULL,
    prefix       text        NOT NULL,
    digest       bytea       NOT NULL,
    scopes       jsonb,
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz
);
CREATE INDEX api_keys_by_account ON api_keys (account_id);
