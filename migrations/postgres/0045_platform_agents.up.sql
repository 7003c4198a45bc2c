-- Agents that people of every tenant see and have instances of. Gateways of the version before know nothing of it: there such an agent is its own
-- tenant's alone.
ALTER TABLE agents ADD COLUMN on_platform boolean NOT NULL DEFAULT FALSE;
CREATE INDEX agents_on_platform ON agents (id) WHERE is_published AND on_platform;
-- Beside `of_tenant`, which alone says what may be written.
CREATE POLICY on_platform ON agents FOR SELECT USING (is_published AND on_platform);

-- An instance of another tenant's agent outlives it, as it outlives its being published: nobody loses what is theirs when somebody else's
-- organisation goes, and nobody is kept from going. An agent of the instance's own tenant stays as long as the instance does.
ALTER TABLE agent_instances ADD COLUMN is_foreign boolean NOT NULL DEFAULT FALSE;
ALTER TABLE agent_instances ADD COLUMN own_agent_id uuid GENERATED ALWAYS AS (CASE WHEN is_foreign THEN NULL ELSE agent_id END) STORED;
-- Contracts: in their place come a key and an index that hold for all that gateways of the version before write, too.
ALTER TABLE agent_instances DROP CONSTRAINT agent_instances_tenant_id_agent_id_fkey;
ALTER TABLE agent_instances ADD FOREIGN KEY (tenant_id, own_agent_id) REFERENCES agents (tenant_id, id);
DROP INDEX agent_instances_by_agent;
CREATE INDEX agent_instances_by_agent ON agent_instances (tenant_id, own_agent_id);
CREATE INDEX agent_instances_elsewhere ON agent_instances (agent_id) WHERE is_foreign;
