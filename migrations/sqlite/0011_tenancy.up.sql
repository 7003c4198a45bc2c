-- Who belongs to a customer organisation and as what, what its members' tier is unless they have one of their own, and whether it may
-- be used.
ALTER TABLE tenants ADD COLUMN tier TEXT;
ALTER TABLE tenants ADD COLUMN status TEXT NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'disabled'));

CREATE TABLE tenant_members (
    tenant_id BLOB NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    account_id BLOB NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    role TEXT NOT NULL CHECK (role IN ('owner', 'admin', 'member')),
    created_at TEXT NOT NULL,
    PRIMARY KEY (tenant_id, account_id)
) STRICT;
CREATE INDEX tenant_members_by_account ON tenant_members (account_id);
INSERT INTO tenant_members (tenant_id, account_id, role, created_at)
SELECT tenant_id, id, 'owner', created_at FROM accounts WHERE tenant_id IS NOT NULL;

-- Who is asked to join. What accepts an invitation is to have the address, not to know a secret.
CREATE TABLE tenant_invitations (
    id BLOB NOT NULL PRIMARY KEY,
    tenant_id BLOB NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    address TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('owner', 'admin', 'member')),
    invited_by BLOB REFERENCES accounts (id) ON DELETE SET NULL,
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX tenant_invitations_by_tenant ON tenant_invitations (tenant_id, address);
CREATE INDEX tenant_invitations_by_address ON tenant_invitations (address);
CREATE INDEX tenant_invitations_by_expiry ON tenant_invitations (expires_at);

-- A tier that an administrator has given to the account itself; else `tier` counts only while its tenant has none. What was not the
-- shipped default was given by somebody.
ALTER TABLE accounts ADD COLUMN has_own_tier INTEGER NOT NULL DEFAULT FALSE;
UPDATE accounts SET has_own_tier = TRUE WHERE tier <> 'free';
-- A machine's account has keys and no password.
ALTER TABLE accounts ADD COLUMN kind TEXT NOT NULL DEFAULT 'person' CHECK (kind IN ('person', 'service'));

-- In which tenant somebody acts; without a membership there it is good for nothing. NULL: in the account's own. `actor_id`: the administrator who acts as its owner.
ALTER TABLE sessions ADD COLUMN tenant_id BLOB;
ALTER TABLE sessions ADD COLUMN actor_id BLOB;
ALTER TABLE api_keys ADD COLUMN tenant_id BLOB;
UPDATE sessions SET tenant_id = (SELECT tenant_id FROM accounts WHERE id = sessions.account_id) WHERE ended_at IS NULL;
UPDATE api_keys SET tenant_id = (SELECT tenant_id FROM accounts WHERE id = api_keys.account_id) WHERE revoked_at IS NULL;
CREATE INDEX accounts_by_tenant ON accounts (tenant_id) WHERE tenant_id IS NOT NULL;
CREATE INDEX sessions_by_actor ON sessions (actor_id) WHERE actor_id IS NOT NULL;
CREATE INDEX sessions_by_tenant ON sessions (tenant_id) WHERE tenant_id IS NOT NULL;
CREATE INDEX api_keys_by_tenant ON api_keys (tenant_id) WHERE tenant_id IS NOT NULL;
