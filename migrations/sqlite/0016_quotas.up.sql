-- What tenants hold of what their tier limits. A row of `quota_totals` is the lock under which a quota is counted.
CREATE TABLE quota_totals (
    tenant_id BLOB    NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    resource  TEXT    NOT NULL,
    used      INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, resource)
) STRICT;

-- Asked for by a service (`account_id`), then given or not. What is given stays, so that it can be given back.
CREATE TABLE quota_reservations (
    id         BLOB    NOT NULL PRIMARY KEY,
    tenant_id  BLOB    NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    resource   TEXT    NOT NULL,
    amount     INTEGER NOT NULL,
    state      TEXT    NOT NULL CHECK (state IN ('reserved', 'committed', 'released')),
    account_id BLOB    NOT NULL,
    created_at TEXT    NOT NULL,
    expires_at TEXT    NOT NULL
) STRICT;
CREATE INDEX quota_reservations_by_tenant ON quota_reservations (tenant_id, resource) WHERE state = 'reserved';
CREATE INDEX quota_reservations_by_expiry ON quota_reservations (expires_at) WHERE state <> 'committed';
