ALTER TABLE sessions DROP COLUMN last_seen_at;
ALTER TABLE sessions DROP COLUMN method;
ALTER TABLE sessions DROP COLUMN user_agent;
ALTER TABLE sessions DROP COLUMN device;
ALTER TABLE sessions DROP COLUMN network;
ALTER TABLE sessions DROP COLUMN address;
DROP TABLE login_failures;
DROP TABLE one_time_tokens;
DROP TABLE outbox;
