-- At whose asking letters were made: else whoever asks five times for somebody else's leaves nothing for the owner.
ALTER TABLE outbox ADD COLUMN place bytea;
ALTER TABLE outbox ADD COLUMN is_familiar boolean NOT NULL DEFAULT FALSE;
