-- Keys at providers, sealed with the master key together with the row's id, owner and service: one that is altered or moved does not open.
-- Each belongs to an account or to a whole tenant.
CREATE TABLE integrations (
    id         uuid        NOT NULL PRIMARY KEY,
    account_id uuid        REFERENCES accounts (id) ON DELETE CASCADE,
    tenant_id  uuid        REFERENCES tenants (id) ON DELETE CASCADE,
    service    text        NOT NULL,
    name       text,
    sealed     bytea       NOT NULL,
    last_four  text        NOT NULL,
    status     text        NOT NULL CHECK (status IN ('active', 'disabled')),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CHECK ((account_id IS NULL) <> (tenant_id IS NULL))
);
CREATE UNIQUE INDEX integrations_by_account ON integrations (account_id, service) WHERE account_id IS NOT NULL;
CREATE UNIQUE INDEX integrations_by_tenant ON integrations (tenant_id, service) WHERE tenant_id IS NOT NULL;
ALTER TABLE integrations ENABLE ROW LEVEL SECURITY;
ALTER TABLE integrations FORCE ROW LEVEL SECURITY;
-- An account's own go with it from tenant to tenant.
CREATE POLICY of_tenant ON integrations
    USING (tenant_id IS NULL OR COALESCE(current_setting('portcullis.tenant', true), '') IN ('', tenant_id::text));

-- Which master keys each running gateway has, so that none is asked to open what was sealed with a key it does not have yet.
CREATE TABLE seal_nodes (
    id         uuid        NOT NULL PRIMARY KEY,
    seals_with text        NOT NULL,
    opens      text        NOT NULL,
    seen_at    timestamptz NOT NULL
);
