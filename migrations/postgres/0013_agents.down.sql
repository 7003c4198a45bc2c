DROP TABLE agent_instances;
DROP TABLE agents;
