-- Instances of other tenants' agents cannot stay.
DELETE FROM agent_instances WHERE is_foreign;
DROP INDEX agent_instances_elsewhere;
DROP INDEX agent_instances_by_agent;
ALTER TABLE agent_instances DROP COLUMN own_agent_id;
ALTER TABLE agent_instances DROP COLUMN is_foreign;
ALTER TABLE agent_instances ADD FOREIGN KEY (tenant_id, agent_id) REFERENCES agents (tenant_id, id);
CREATE INDEX agent_instances_by_agent ON agent_instances (tenant_id, agent_id);
DROP POLICY on_platform ON agents;
DROP INDEX agents_on_platform;
ALTER TABLE agents DROP COLUMN on_platform;
