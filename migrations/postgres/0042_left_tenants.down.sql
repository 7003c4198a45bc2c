DROP TABLE left_tenants;
