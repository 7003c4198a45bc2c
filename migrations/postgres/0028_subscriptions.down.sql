ALTER TABLE tenants DROP COLUMN tier_from;
DROP TABLE billing_subscriptions;
