DROP TABLE usage_months;
DROP TABLE usage_days;
DROP TABLE usage_events;
