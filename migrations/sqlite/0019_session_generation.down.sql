ALTER TABLE sessions DROP COLUMN generation;
