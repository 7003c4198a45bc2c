ALTER TABLE outbox DROP COLUMN is_familiar;
ALTER TABLE outbox DROP COLUMN place;
