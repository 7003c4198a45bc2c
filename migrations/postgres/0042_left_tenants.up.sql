-- To which tenants an account has belonged: what it has used in their names is its owner's to have. Of those that were left before, the ones
-- in which it has used something.
CREATE TABLE left_tenants (
    account_id uuid NOT NULL,
    tenant_id  uuid NOT NULL,
    PRIMARY KEY (account_id, tenant_id)
);
INSERT INTO left_tenants (account_id, tenant_id)
SELECT DISTINCT u.account_id, u.tenant_id FROM usage_days u JOIN accounts a ON a.id = u.account_id
WHERE u.tenant_id <> '00000000-0000-0000-0000-000000000000'
AND NOT EXISTS (SELECT 1 FROM tenant_members m WHERE m.tenant_id = u.tenant_id AND m.account_id = u.account_id);

-- A reference keeps everybody from writing to accounts until all steps are done, so it comes after whatever takes long. Accounts that were deleted
-- meanwhile have left nothing, and refuse nobody.
LOCK TABLE accounts IN SHARE ROW EXCLUSIVE MODE;
DELETE FROM left_tenants l WHERE NOT EXISTS (SELECT 1 FROM accounts a WHERE a.id = l.account_id);
DELETE FROM refused_issuers r WHERE NOT EXISTS (SELECT 1 FROM accounts a WHERE a.id = r.account_id);
ALTER TABLE refused_issuers ADD FOREIGN KEY (account_id) REFERENCES accounts (id) ON DELETE CASCADE;
ALTER TABLE left_tenants ADD FOREIGN KEY (account_id) REFERENCES accounts (id) ON DELETE CASCADE;

ALTER TABLE left_tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE left_tenants FORCE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON left_tenants USING (COALESCE(current_setting('portcullis.tenant', true), '') IN ('', tenant_id::text));
