-- What was used. Each event is counted once, by its id, into the totals of its day and month, in the transaction that adds it; the events
-- themselves are kept for a while only, the totals for longer. No reference to tenants and accounts: what was used before they were
-- deleted is counted all the same, also if a spool brings it later. The nil UUID stands for none, an empty text too.
CREATE TABLE usage_events (
    id           uuid        NOT NULL PRIMARY KEY,
    tenant_id    uuid        NOT NULL,
    account_id   uuid        NOT NULL,
    key_id       uuid        NOT NULL,
    happened_at  timestamptz NOT NULL,
    counted_at   timestamptz NOT NULL,
    route        text        NOT NULL,
    service      text        NOT NULL,
    model        text        NOT NULL,
    request_type text        NOT NULL,
    requests     bigint      NOT NULL,
    tokens       bigint      NOT NULL,
    cost         bigint      NOT NULL
);
CREATE INDEX usage_events_by_count ON usage_events (counted_at);

CREATE TABLE usage_days (
    tenant_id    uuid   NOT NULL,
    day          text   NOT NULL,
    account_id   uuid   NOT NULL,
    key_id       uuid   NOT NULL,
    route        text   NOT NULL,
    service      text   NOT NULL,
    model        text   NOT NULL,
    request_type text   NOT NULL,
    requests     bigint NOT NULL,
    tokens       bigint NOT NULL,
    cost         bigint NOT NULL,
    PRIMARY KEY (tenant_id, day, account_id, key_id, route, service, model, request_type)
);
CREATE INDEX usage_days_by_account ON usage_days (tenant_id, account_id, day);

CREATE TABLE usage_months (
    tenant_id uuid   NOT NULL,
    month     text   NOT NULL,
    requests  bigint NOT NULL,
    tokens    bigint NOT NULL,
    cost      bigint NOT NULL,
    PRIMARY KEY (tenant_id, month)
);

ALTER TABLE usage_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE usage_events FORCE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON usage_events USING (COALESCE(current_setting('portcullis.tenant', true), '') IN ('', tenant_id::text));
ALTER TABLE usage_days ENABLE ROW LEVEL SECURITY;
ALTER TABLE usage_days FORCE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON usage_days USING (COALESCE(current_setting('portcullis.tenant', true), '') IN ('', tenant_id::text));
ALTER TABLE usage_months ENABLE ROW LEVEL SECURITY;
ALTER TABLE usage_months FORCE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON usage_months USING (COALESCE(current_setting('portcullis.tenant', true), '') IN ('', tenant_id::text));
