DROP TABLE billing_tiers;
DROP TABLE billing_left;
ALTER TABLE tenants DROP COLUMN billed_from;
ALTER TABLE billing_statements DROP COLUMN tenant_name;
-- Statements of tenants that are gone cannot stay.
DELETE FROM billing_statements WHERE NOT EXISTS (SELECT 1 FROM tenants t WHERE t.id = billing_statements.tenant_id);
ALTER TABLE billing_statements ADD CONSTRAINT billing_statements_tenant_id_fkey
    FOREIGN KEY (tenant_id) REFERENCES tenants (id) ON DELETE CASCADE;
