-- What happened to accounts, keys, sessions and the configuration. Rows are only added, each with the digest of the one before it in its
-- chain; every process has a chain of its own.
CREATE TABLE audit_events (
    id         uuid        NOT NULL PRIMARY KEY,
    chain      uuid        NOT NULL,
    position   bigint      NOT NULL,
    at         timestamptz NOT NULL,
    event      text        NOT NULL,
    outcome    text        NOT NULL,
    actor      uuid,
    subject    uuid,
    address    text,
    request_id text,
    details    text,
    digest     bytea       NOT NULL,
    UNIQUE (chain, position)
);
CREATE INDEX audit_events_by_time ON audit_events (at);
CREATE INDEX audit_events_by_subject ON audit_events (subject, id);
CREATE INDEX audit_events_by_actor ON audit_events (actor, id);

-- Where each chain begins, since old rows are deleted from its beginning, and how far it has come; sealed with the master key.
CREATE TABLE audit_chains (
    id       uuid        NOT NULL PRIMARY KEY,
    began_at timestamptz NOT NULL,
    base     bytea       NOT NULL,
    head     bytea       NOT NULL
);
