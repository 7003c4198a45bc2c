DROP TABLE seal_nodes;
DROP TABLE integrations;
