-- What came by no key, added up over accounts: of the lines by key this one would else be read as many rows as a tenant has people. Lines of
-- keys are read by their index.
CREATE TABLE usage_keyless (
    tenant_id    BLOB    NOT NULL,
    day          TEXT    NOT NULL,
    route        TEXT    NOT NULL,
    service      TEXT    NOT NULL,
    model        TEXT    NOT NULL,
    request_type TEXT    NOT NULL,
    requests     INTEGER NOT NULL,
    tokens       INTEGER NOT NULL,
    cost         INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, day, route, service, model, request_type)
) STRICT;
INSERT INTO usage_keyless (tenant_id, day, route, service, model, request_type, requests, tokens, cost)
SELECT tenant_id, day, route, service, model, request_type, SUM(requests), SUM(tokens), SUM(cost) FROM usage_days
WHERE key_id = X'00000000000000000000000000000000' GROUP BY tenant_id, day, route, service, model, request_type;
CREATE INDEX usage_days_by_key ON usage_days (tenant_id, key_id, day);

-- How much of a month's total is in all of its sums: a gateway of the version before adds to the total alone, and what is not all in the sums is
-- read by its days. What such gateways have left out of the sums so far is put into them here.
INSERT INTO usage_sums (tenant_id, day, route, service, model, request_type, requests, tokens, cost)
SELECT tenant_id, day, route, service, model, request_type, SUM(requests), SUM(tokens), SUM(cost) FROM usage_days
WHERE TRUE GROUP BY tenant_id, day, route, service, model, request_type
ON CONFLICT (tenant_id, day, route, service, model, request_type)
DO UPDATE SET requests = excluded.requests, tokens = excluded.tokens, cost = excluded.cost;
ALTER TABLE usage_months ADD COLUMN summed_requests INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage_months ADD COLUMN summed_tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage_months ADD COLUMN summed_cost INTEGER NOT NULL DEFAULT 0;
UPDATE usage_months SET summed_requests = requests, summed_tokens = tokens, summed_cost = cost;
