ALTER TABLE usage_months DROP COLUMN summed_cost;
ALTER TABLE usage_months DROP COLUMN summed_tokens;
ALTER TABLE usage_months DROP COLUMN summed_requests;
DROP INDEX usage_days_by_key;
DROP TABLE usage_keyless;
