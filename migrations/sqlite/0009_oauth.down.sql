ALTER TABLE external_identities DROP COLUMN email;
ALTER TABLE external_identities DROP COLUMN consented_at;
ALTER TABLE external_identities DROP COLUMN last_used_at;
