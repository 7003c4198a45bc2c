-- Agents that developers make, and people's own instances of them. An agent outlives its developer's account: others may have instances.
CREATE TABLE agents (
    id           uuid        NOT NULL PRIMARY KEY,
    tenant_id    uuid        NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    developer_id uuid        REFERENCES accounts (id) ON DELETE SET NULL,
    name         text        NOT NULL,
    description  text        NOT NULL,
    is_published boolean     NOT NULL,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    UNIQUE (tenant_id, id)
);
CREATE INDEX agents_published ON agents (tenant_id, id) WHERE is_published;
CREATE INDEX agents_by_developer ON agents (tenant_id, developer_id, id);
CREATE INDEX agents_of_account ON agents (developer_id) WHERE developer_id IS NOT NULL;

-- `sealed`: the configuration, which opens in this row and for this owner alone.
CREATE TABLE agent_instances (
    id         uuid        NOT NULL PRIMARY KEY,
    tenant_id  uuid        NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    agent_id   uuid        NOT NULL,
    account_id uuid        NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    name       text        NOT NULL,
    sealed     bytea       NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    FOREIGN KEY (tenant_id, agent_id) REFERENCES agents (tenant_id, id)
);
CREATE INDEX agent_instances_by_tenant ON agent_instances (tenant_id, id);
CREATE INDEX agent_instances_by_account ON agent_instances (tenant_id, account_id, id);
CREATE INDEX agent_instances_by_agent ON agent_instances (tenant_id, agent_id);
CREATE INDEX agent_instances_of_account ON agent_instances (account_id);

ALTER TABLE agents ENABLE ROW LEVEL SECURITY;
ALTER TABLE agents FORCE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON agents USING (COALESCE(current_setting('portcullis.tenant', true), '') IN ('', tenant_id::text));
ALTER TABLE agent_instances ENABLE ROW LEVEL SECURITY;
ALTER TABLE agent_instances FORCE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON agent_instances USING (COALESCE(current_setting('portcullis.tenant', true), '') IN ('', tenant_id::text));
