-- Keys at providers, sealed with the master key together with the row's id, owner and service: one that is altered or moved does not open.
-- Each belongs to an account or to a whole tenant.
CREATE TABLE integrations (
    id         BLOB NOT NULL PRIMARY KEY,
    account_id BLOB REFERENCES accounts (id) ON DELETE CASCADE,
    tenant_id  BLOB REFERENCES tenants (id) ON DELETE CASCADE,
    service    TEXT NOT NULL,
    name       TEXT,
    sealed     BLOB NOT NULL,
    last_four  TEXT NOT NULL,
    status     TEXT NOT NULL CHECK (status IN ('active', 'disabled')),
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    CHECK ((account_id IS NULL) <> (tenant_id IS NULL))
) STRICT;
CREATE UNIQUE INDEX integrations_by_account ON integrations (account_id, service) WHERE account_id IS NOT NULL;
CREATE UNIQUE INDEX integrations_by_tenant ON integrations (tenant_id, service) WHERE tenant_id IS NOT NULL;

-- Which master keys each running gateway has, so that none is asked to open what was sealed with a key it does not have yet.
CREATE TABLE seal_nodes (
    id         BLOB NOT NULL PRIMARY KEY,
    seals_with TEXT NOT NULL,
    opens      TEXT NOT NULL,
    seen_at    TEXT NOT NULL
) STRICT;
