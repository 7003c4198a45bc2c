-- Agents that people of every tenant see and have instances of. Gateways of the version before know nothing of it: there such an agent is its own
-- tenant's alone.
ALTER TABLE agents ADD COLUMN on_platform INTEGER NOT NULL DEFAULT FALSE;
CREATE INDEX agents_on_platform ON agents (id) WHERE is_published AND on_platform;

-- An instance of another tenant's agent outlives it, as it outlives its being published: nobody loses what is theirs when somebody else's
-- organisation goes, and nobody is kept from going. An agent of the instance's own tenant stays as long as the instance does.
-- Contracts: made anew with all that it had, for SQLite changes no key of a table.
CREATE TABLE agent_instances_anywhere (
    id           BLOB    NOT NULL PRIMARY KEY,
    tenant_id    BLOB    NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    agent_id     BLOB    NOT NULL,
    account_id   BLOB    NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    name         TEXT    NOT NULL,
    sealed       BLOB    NOT NULL,
    created_at   TEXT    NOT NULL,
    updated_at   TEXT    NOT NULL,
    is_foreign   INTEGER NOT NULL DEFAULT FALSE,
    own_agent_id BLOB    GENERATED ALWAYS AS (CASE WHEN is_foreign THEN NULL ELSE agent_id END) STORED,
    FOREIGN KEY (tenant_id, own_agent_id) REFERENCES agents (tenant_id, id)
) STRICT;
INSERT INTO agent_instances_anywhere (id, tenant_id, agent_id, account_id, name, sealed, created_at, updated_at)
SELECT id, tenant_id, agent_id, account_id, name, sealed, created_at, updated_at FROM agent_instances;
DROP TABLE agent_instances;
ALTER TABLE agent_instances_anywhere RENAME TO agent_instances;
CREATE INDEX agent_instances_by_tenant ON agent_instances (tenant_id, id);
CREATE INDEX agent_instances_by_account ON agent_instances (tenant_id, account_id, id);
CREATE INDEX agent_instances_by_agent ON agent_instances (tenant_id, own_agent_id);
CREATE INDEX agent_instances_elsewhere ON agent_instances (agent_id) WHERE is_foreign;
CREATE INDEX agent_instances_of_account ON agent_instances (account_id);
