DROP TABLE usage_sums;
