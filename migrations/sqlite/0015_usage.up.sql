-- What was used. Each event is counted once, by its id, into the totals of its day and month, in the transaction that adds it; the events
-- themselves are kept for a while only, the totals for longer. No reference to tenants and accounts: what was used before they were
-- deleted is counted all the same, also if a spool brings it later. The nil UUID stands for none, an empty text too.
CREATE TABLE usage_events (
    id           BLOB    NOT NULL PRIMARY KEY,
    tenant_id    BLOB    NOT NULL,
    account_id   BLOB    NOT NULL,
    key_id       BLOB    NOT NULL,
    happened_at  TEXT    NOT NULL,
    counted_at   TEXT    NOT NULL,
    route        TEXT    NOT NULL,
    service      TEXT    NOT NULL,
    model        TEXT    NOT NULL,
    request_type TEXT    NOT NULL,
    requests     INTEGER NOT NULL,
    tokens       INTEGER NOT NULL,
    cost         INTEGER NOT NULL
) STRICT;
CREATE INDEX usage_events_by_count ON usage_events (counted_at);

CREATE TABLE usage_days (
    tenant_id    BLOB    NOT NULL,
    day          TEXT    NOT NULL,
    account_id   BLOB    NOT NULL,
    key_id       BLOB    NOT NULL,
    route        TEXT    NOT NULL,
    service      TEXT    NOT NULL,
    model        TEXT    NOT NULL,
    request_type TEXT    NOT NULL,
    requests     INTEGER NOT NULL,
    tokens       INTEGER NOT NULL,
    cost         INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, day, account_id, key_id, route, service, model, request_type)
) STRICT;
CREATE INDEX usage_days_by_account ON usage_days (tenant_id, account_id, day);

CREATE TABLE usage_months (
    tenant_id    BLOB    NOT NULL,
    month        TEXT    NOT NULL,
    requests     INTEGER NOT NULL,
    tokens       INTEGER NOT NULL,
    cost         INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, month)
) STRICT;
