-- What of a month's usage is on a statement already; the rest comes on the next one.
ALTER TABLE usage_months ADD COLUMN billed INTEGER NOT NULL DEFAULT 0;

-- What a tenant owes for a month. Nothing of it changes once it is there but whether it is paid. Money is in millionths of `currency`.
CREATE TABLE billing_statements (
    id        BLOB    NOT NULL PRIMARY KEY,
    tenant_id BLOB    NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    month     TEXT    NOT NULL,
    tier      TEXT    NOT NULL,
    currency  TEXT    NOT NULL,
    price     INTEGER NOT NULL,
    usage     INTEGER NOT NULL,
    requests  INTEGER NOT NULL,
    tokens    INTEGER NOT NULL,
    status    TEXT    NOT NULL CHECK (status IN ('open', 'paid', 'overdue', 'void')),
    closed_at TEXT    NOT NULL,
    due_at    TEXT    NOT NULL,
    paid_at   TEXT
) STRICT;
CREATE UNIQUE INDEX billing_statements_by_tenant ON billing_statements (tenant_id, month);
CREATE INDEX billing_statements_by_due ON billing_statements (due_at) WHERE status = 'open';

-- What a payment provider has told us, so that it counts once.
CREATE TABLE billing_events (
    id          TEXT    NOT NULL PRIMARY KEY,
    received_at TEXT    NOT NULL
) STRICT;
CREATE INDEX billing_events_by_time ON billing_events (received_at);

-- What others are still to be told of.
CREATE TABLE webhooks (
    id         BLOB    NOT NULL PRIMARY KEY,
    body       TEXT    NOT NULL,
    created_at TEXT    NOT NULL,
    due_at     TEXT    NOT NULL,
    attempts   INTEGER NOT NULL,
    ended_at   TEXT,
    outcome    TEXT
) STRICT;
CREATE INDEX webhooks_by_due ON webhooks (due_at) WHERE ended_at IS NULL;
CREATE INDEX webhooks_by_end ON webhooks (ended_at);
