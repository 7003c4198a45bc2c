-- At whose asking letters were made: else whoever asks five times for somebody else's leaves nothing for the owner.
ALTER TABLE outbox ADD COLUMN place BLOB;
ALTER TABLE outbox ADD COLUMN is_familiar INTEGER NOT NULL DEFAULT FALSE;
