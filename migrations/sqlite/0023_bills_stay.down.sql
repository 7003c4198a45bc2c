DROP TABLE billing_tiers;
DROP TABLE billing_left;
ALTER TABLE tenants DROP COLUMN billed_from;
CREATE TABLE billing_statements_bound (
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
-- Statements of tenants that are gone cannot stay.
INSERT INTO billing_statements_bound
SELECT id, tenant_id, month, tier, currency, price, usage, requests, tokens, status, closed_at, due_at, paid_at
FROM billing_statements WHERE tenant_id IN (SELECT id FROM tenants);
DROP TABLE billing_statements;
ALTER TABLE billing_statements_bound RENAME TO billing_statements;
CREATE UNIQUE INDEX billing_statements_by_tenant ON billing_statements (tenant_id, month);
CREATE INDEX billing_statements_by_due ON billing_statements (due_at) WHERE status = 'open';
