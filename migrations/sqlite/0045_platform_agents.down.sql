CREATE TABLE agent_instances_within (
    id         BLOB NOT NULL PRIMARY KEY,
    tenant_id  BLOB NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    agent_id   BLOB NOT NULL,
    account_id BLOB NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    name       TEXT NOT NULL,
    sealed     BLOB NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    FOREIGN KEY (tenant_id, agent_id) REFERENCES agents (tenant_id, id)
) STRICT;
-- Instances of other tenants' agents cannot stay.
INSERT INTO agent_instances_within
SELECT id, tenant_id, agent_id, account_id, name, sealed, created_at, updated_at FROM agent_instances WHERE NOT is_foreign;
DROP TABLE agent_instances;
ALTER TABLE agent_instances_within RENAME TO agent_instances;
CREATE INDEX agent_instances_by_tenant ON agent_instances (tenant_id, id);
CREATE INDEX agent_instances_by_account ON agent_instances (tenant_id, account_id, id);
CREATE INDEX agent_instances_by_agent ON agent_instances (tenant_id, agent_id);
CREATE INDEX agent_instances_of_account ON agent_instances (account_id);
DROP INDEX agents_on_platform;
ALTER TABLE agents DROP COLUMN on_platform;
