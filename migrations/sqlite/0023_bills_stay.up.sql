-- What is owed outlives who owes it: no reference to the tenant, and its name is kept.
CREATE TABLE billing_statements_kept (
    id          BLOB    NOT NULL PRIMARY KEY,
    tenant_id   BLOB    NOT NULL,
    month       TEXT    NOT NULL,
    tier        TEXT    NOT NULL,
    currency    TEXT    NOT NULL,
    price       INTEGER NOT NULL,
    usage       INTEGER NOT NULL,
    requests    INTEGER NOT NULL,
    tokens      INTEGER NOT NULL,
    status      TEXT    NOT NULL CHECK (status IN ('open', 'paid', 'overdue', 'void')),
    closed_at   TEXT    NOT NULL,
    due_at      TEXT    NOT NULL,
    paid_at     TEXT,
    tenant_name TEXT
) STRICT;
INSERT INTO billing_statements_kept
SELECT b.id, b.tenant_id, b.month, b.tier, b.currency, b.price, b.usage, b.requests, b.tokens, b.status, b.closed_at, b.due_at, b.paid_at, t.name
FROM billing_statements b JOIN tenants t ON t.id = b.tenant_id;
DROP TABLE billing_statements;
ALTER TABLE billing_statements_kept RENAME TO billing_statements;
CREATE UNIQUE INDEX billing_statements_by_tenant ON billing_statements (tenant_id, month);
CREATE INDEX billing_statements_by_due ON billing_statements (due_at) WHERE status = 'open';

-- From when on a tenant is billed; NULL: since it was made. Nobody is billed for what was before there were bills, or before it came here.
ALTER TABLE tenants ADD COLUMN billed_from TEXT;
UPDATE tenants SET billed_from = strftime('%Y-%m-%dT%H:%M:%S+00:00', 'now')
WHERE NOT EXISTS (SELECT 1 FROM billing_statements b WHERE b.tenant_id = tenants.id);

-- Tenants that were deleted, until their last months are billed.
CREATE TABLE billing_left (
    tenant_id   BLOB NOT NULL PRIMARY KEY,
    name        TEXT NOT NULL,
    billed_from TEXT NOT NULL,
    left_at     TEXT NOT NULL
) STRICT;
CREATE INDEX billing_left_by_time ON billing_left (left_at);

-- Which tier a tenant had until it had another one; an empty text stands for none.
CREATE TABLE billing_tiers (
    tenant_id BLOB NOT NULL,
    until     TEXT NOT NULL,
    tier      TEXT NOT NULL,
    PRIMARY KEY (tenant_id, until, tier)
) STRICT;
CREATE INDEX billing_tiers_by_time ON billing_tiers (until);
