-- What happened to accounts, keys, sessions and the configuration. Rows are only added, each with the digest of the one before it in its
-- chain; every process has a chain of its own.
CREATE TABLE audit_events (
    id         BLOB    NOT NULL PRIMARY KEY,
    chain      BLOB    NOT NULL,
    position   INTEGER NOT NULL,
    at         TEXT    NOT NULL,
    event      TEXT    NOT NULL,
    outcome    TEXT    NOT NULL,
    actor      BLOB,
    subject    BLOB,
    address    TEXT,
    request_id TEXT,
    details    TEXT,
    digest     BLOB    NOT NULL,
    UNIQUE (chain, position)
) STRICT;
CREATE INDEX audit_events_by_time ON audit_events (at);
CREATE INDEX audit_events_by_subject ON audit_events (subject, id);
CREATE INDEX audit_events_by_actor ON audit_events (actor, id);

-- Where each chain begins, since old rows are deleted from its beginning, and how far it has come; sealed with the master key.
CREATE TABLE audit_chains (
    id       BLOB NOT NULL PRIMARY KEY,
    began_at TEXT NOT NULL,
    base     BLOB NOT NULL,
    head     BLOB NOT NULL
) STRICT;
