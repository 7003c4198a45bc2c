ALTER TABLE tenants DROP COLUMN tier_said_at;
