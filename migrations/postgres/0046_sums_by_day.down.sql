DROP INDEX usage_keyless_by_day;
DROP INDEX usage_sums_by_day;
