DROP TABLE webhooks;
DROP TABLE billing_events;
DROP TABLE billing_statements;
ALTER TABLE usage_months DROP COLUMN billed;
