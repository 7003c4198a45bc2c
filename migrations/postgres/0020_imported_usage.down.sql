DROP INDEX usage_days_by_day;
DROP TABLE imported_usage;
