-- When a key was given a successor: its life was shortened by that, so it is no measure for another one.
ALTER TABLE api_keys ADD COLUMN rotated_at TIMESTAMPTZ;
