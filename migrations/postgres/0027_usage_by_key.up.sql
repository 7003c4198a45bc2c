-- What came by no key, added up over accounts: of the lines by key this one would else be read as many rows as a tenant has people. Lines of
-- keys are read by their index. Whoever counts at this moment waits: all that is counted is in the sums of these statements or of its own.
LOCK TABLE usage_days IN SHARE MODE;
CREATE TABLE usage_keyless (
    tenant_id    uuid   NOT NULL,
    day          text   NOT NULL,
    route        text   NOT NULL,
    service      text   NOT NULL,
    model        text   NOT NULL,
    request_type text   NOT NULL,
    requests     bigint NOT NULL,
    tokens       bigint NOT NULL,
    cost         bigint NOT NULL,
    PRIMARY KEY (tenant_id, day, route, service, model, request_type)
);
INSERT INTO usage_keyless (tenant_id, day, route, service, model, request_type, requests, tokens, cost)
SELECT tenant_id, day, route, service, model, request_type, SUM(requests), SUM(tokens), SUM(cost) FROM usage_days
WHERE key_id = '00000000-0000-0000-0000-000000000000' GROUP BY tenant_id, day, route, service, model, request_type;
CREATE INDEX usage_days_by_key ON usage_days (tenant_id, key_id, day);

ALTER TABLE usage_keyless ENABLE ROW LEVEL SECURITY;
ALTER TABLE usage_keyless FORCE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON usage_keyless USING (CASE COALESCE(current_setting('portcullis.tenant', true), '')
    WHEN '' THEN TRUE WHEN tenant_id::text THEN TRUE ELSE FALSE END);

-- How much of a month's total is in all of its sums: a gateway of the version before adds to the total alone, and what is not all in the sums is
-- read by its days. What such gateways have left out of the sums so far is put into them here.
INSERT INTO usage_sums (tenant_id, day, route, service, model, request_type, requests, tokens, cost)
SELECT tenant_id, day, route, service, model, request_type, SUM(requests), SUM(tokens), SUM(cost) FROM usage_days
WHERE TRUE GROUP BY tenant_id, day, route, service, model, request_type
ON CONFLICT (tenant_id, day, route, service, model, request_type)
DO UPDATE SET requests = excluded.requests, tokens = excluded.tokens, cost = excluded.cost;
ALTER TABLE usage_months ADD COLUMN summed_requests bigint NOT NULL DEFAULT 0;
ALTER TABLE usage_months ADD COLUMN summed_tokens bigint NOT NULL DEFAULT 0;
ALTER TABLE usage_months ADD COLUMN summed_cost bigint NOT NULL DEFAULT 0;
UPDATE usage_months SET summed_requests = requests, summed_tokens = tokens, summed_cost = cost;
