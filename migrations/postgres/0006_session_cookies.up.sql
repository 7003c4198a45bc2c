-- What browsers show of a session; only its SHA-256 is kept. It is good until it has not been used for a while, and at last ends.
CREATE TABLE session_cookies (
    session_id uuid        NOT NULL PRIMARY KEY REFERENCES sessions (id) ON DELETE CASCADE,
    digest     bytea       NOT NULL,
    idle_until timestamptz NOT NULL,
    ends_at    timestamptz NOT NULL
);
CREATE INDEX session_cookies_by_end ON session_cookies (ends_at);
