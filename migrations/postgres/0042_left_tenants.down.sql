DROP TABLE left_tenants;
ALTER TABLE refused_issuers DROP CONSTRAINT refused_issuers_account_id_fkey;
