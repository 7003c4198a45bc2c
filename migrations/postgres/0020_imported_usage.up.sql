-- Which lines of older systems' usage have come. Kept for good: to import a file again counts nothing, in whatever year.
CREATE TABLE imported_usage (
    id uuid NOT NULL PRIMARY KEY
);

-- Totals of days that are kept no longer are found by their day.
CREATE INDEX usage_days_by_day ON usage_days (day);
