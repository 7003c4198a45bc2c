-- Who belongs to a customer organisation and as what, what its members' tier is unless they have one of their own, and whether it may
-- be used.
ALTER TABLE tenants ADD COLUMN tier text;
ALTER TABLE tenants ADD COLUMN status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'disabled'));

CREATE TABLE tenant_members (
    tenant_id  uuid        NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    account_id uuid        NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    role       text        NOT NULL CHECK (role IN ('owner', 'admin', 'member')),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, account_id)
);
CREATE INDEX tenant_members_by_account ON tenant_members (account_id);
INSERT INTO tenant_members (tenant_id, account_id, role, created_at)
SELECT tenant_id, id, 'owner', created_at FROM accounts WHERE tenant_id IS NOT NULL;

-- Who is asked to join. What accepts an invitation is to have the address, not to know a secret.
CREATE TABLE tenant_invitations (
    id         uuid        NOT NULL PRIMARY KEY,
    tenant_id  uuid        NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    address    text        NOT NULL,
    role       text        NOT NULL CHECK (role IN ('owner', 'admin', 'member')),
    invited_by uuid        REFERENCES accounts (id) ON DELETE SET NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX tenant_invitations_by_tenant ON tenant_invitations (tenant_id, address);
CREATE INDEX tenant_invitations_by_address ON tenant_invitations (address);
CREATE INDEX tenant_invitations_by_expiry ON tenant_invitations (expires_at);

-- Behind the queries: whoever asks on behalf of a tenant sees nothing of another one, whatever the query forgets to say.
ALTER TABLE tenant_members ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_members FORCE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON tenant_members USING (COALESCE(current_setting('portcullis.tenant', true), '') IN ('', tenant_id::text));
ALTER TABLE tenant_invitations ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_invitations FORCE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON tenant_invitations USING (COALESCE(current_setting('portcullis.tenant', true), '') IN ('', tenant_id::text));

-- A tier that an administrator has given to the account itself; else `tier` counts only while its tenant has none. What was not the
-- shipped default was given by somebody.
ALTER TABLE accounts ADD COLUMN has_own_tier boolean NOT NULL DEFAULT FALSE;
UPDATE accounts SET has_own_tier = TRUE WHERE tier <> 'free';
-- A machine's account has keys and no password.
ALTER TABLE accounts ADD COLUMN kind text NOT NULL DEFAULT 'person' CHECK (kind IN ('person', 'service'));

-- In which tenant somebody acts; without a membership there it is good for nothing. NULL: in the account's own. `actor_id`: the administrator who acts as its owner.
ALTER TABLE sessions ADD COLUMN tenant_id uuid;
ALTER TABLE sessions ADD COLUMN actor_id uuid;
ALTER TABLE api_keys ADD COLUMN tenant_id uuid;
UPDATE sessions SET tenant_id = (SELECT tenant_id FROM accounts WHERE id = sessions.account_id) WHERE ended_at IS NULL;
UPDATE api_keys SET tenant_id = (SELECT tenant_id FROM accounts WHERE id = api_keys.account_id) WHERE revoked_at IS NULL;
CREATE INDEX accounts_by_tenant ON accounts (tenant_id) WHERE tenant_id IS NOT NULL;
CREATE INDEX sessions_by_actor ON sessions (actor_id) WHERE actor_id IS NOT NULL;
CREATE INDEX sessions_by_tenant ON sessions (tenant_id) WHERE tenant_id IS NOT NULL;
CREATE INDEX api_keys_by_tenant ON api_keys (tenant_id) WHERE tenant_id IS NOT NULL;
