ALTER TABLE api_keys DROP COLUMN had_factor;
