-- What browsers show of a session; only its SHA-256 is kept. It is good until it has not been used for a while, and at last ends.
CREATE TABLE session_cookies (
    session_id BLOB NOT NULL PRIMARY KEY REFERENCES sessions (id) ON DELETE CASCADE,
    digest     BLOB NOT NULL,
    idle_until TEXT NOT NULL,
    ends_at    TEXT NOT NULL
) STRICT;
CREATE INDEX session_cookies_by_end ON session_cookies (ends_at);
