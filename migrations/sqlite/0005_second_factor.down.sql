ALTER TABLE sessions DROP COLUMN amr;
ALTER TABLE sessions DROP COLUMN auth_time;
ALTER TABLE one_time_tokens DROP COLUMN attempts;
DROP TABLE recovery_codes;
DROP TABLE factors;
