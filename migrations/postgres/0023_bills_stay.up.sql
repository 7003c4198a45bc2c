-- What is owed outlives who owes it: no reference to the tenant, and its name is kept.
ALTER TABLE billing_statements DROP CONSTRAINT billing_statements_tenant_id_fkey;
ALTER TABLE billing_statements ADD COLUMN tenant_name text;
UPDATE billing_statements SET tenant_name = (SELECT name FROM tenants t WHERE t.id = billing_statements.tenant_id);

-- From when on a tenant is billed; NULL: since it was made. Nobody is billed for what was before there were bills, or before it came here.
ALTER TABLE tenants ADD COLUMN billed_from timestamptz;
UPDATE tenants SET billed_from = now()
WHERE NOT EXISTS (SELECT 1 FROM billing_statements b WHERE b.tenant_id = tenants.id);

-- Tenants that were deleted, until their last months are billed.
CREATE TABLE billing_left (
    tenant_id   uuid        NOT NULL PRIMARY KEY,
    name        text        NOT NULL,
    billed_from timestamptz NOT NULL,
    left_at     timestamptz NOT NULL
);
CREATE INDEX billing_left_by_time ON billing_left (left_at);

-- Which tier a tenant had until it had another one; an empty text stands for none.
CREATE TABLE billing_tiers (
    tenant_id uuid        NOT NULL,
    until     timestamptz NOT NULL,
    tier      text        NOT NULL,
    PRIMARY KEY (tenant_id, until, tier)
);
CREATE INDEX billing_tiers_by_time ON billing_tiers (until);

ALTER TABLE billing_left ENABLE ROW LEVEL SECURITY;
ALTER TABLE billing_left FORCE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON billing_left USING (COALESCE(current_setting('portcullis.tenant', true), '') IN ('', tenant_id::text));
ALTER TABLE billing_tiers ENABLE ROW LEVEL SECURITY;
ALTER TABLE billing_tiers FORCE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON billing_tiers USING (COALESCE(current_setting('portcullis.tenant', true), '') IN ('', tenant_id::text));
