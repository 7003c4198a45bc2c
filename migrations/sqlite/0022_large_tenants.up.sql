-- The days of usage added up over accounts and keys, so that a tenant's are read in as many rows as it has kinds of usage, however many
-- people use it. A gateway of the version before does not add to them: a month whose sums are not its total is read by its days.
CREATE TABLE usage_sums (
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
INSERT INTO usage_sums (tenant_id, day, route, service, model, request_type, requests, tokens, cost)
SELECT tenant_id, day, route, service, model, request_type, SUM(requests), SUM(tokens), SUM(cost) FROM usage_days
GROUP BY tenant_id, day, route, service, model, request_type;
