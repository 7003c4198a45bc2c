-- Agents that developers make, and people's own instances of them. An agent outlives its developer's account: others may have instances.
CREATE TABLE agents (
    id BLOB NOT NULL PRIMARY KEY,
    tenant_id BLOB NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    developer_id BLOB REFERENCES accounts (id) ON DELETE SET NULL,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    is_published INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    UNIQUE (tenant_id, id)
) STRICT;
CREATE INDEX agents_published ON agents (tenant_id, id) WHERE is_published;
CREATE INDEX agents_by_developer ON agents (tenant_id, developer_id, id);
CREATE INDEX agents_of_account ON agents (developer_id) WHERE developer_id IS NOT NULL;

-- `sealed`: the configuration, which opens in this row and for this owner alone.
CREATE TABLE agent_instances (
    id BLOB NOT NULL PRIMARY KEY,
    tenant_id BLOB NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    agent_id BLOB NOT NULL,
    account_id BLOB NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    sealed BLOB NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    FOREIGN KEY (tenant_id, agent_id) REFERENCES agents (tenant_id, id)
) STRICT;
CREATE INDEX agent_instances_by_tenant ON agent_instances (tenant_id, id);
CREATE INDEX agent_instances_by_account ON agent_instances (tenant_id, account_id, id);
CREATE INDEX agent_instances_by_agent ON agent_instances (tenant_id, agent_id);
CREATE INDEX agent_instances_of_account ON agent_instances (account_id);
