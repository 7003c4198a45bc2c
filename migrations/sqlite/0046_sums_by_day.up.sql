-- Each hour every gateway looks for days that are kept no longer: without these it reads the sums of all tenants for it.
CREATE INDEX usage_sums_by_day ON usage_sums (day);
CREATE INDEX usage_keyless_by_day ON usage_keyless (day);
