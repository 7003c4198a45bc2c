-- What tenants hold of what their tier limits. A row of `quota_totals` is the lock under which a quota is counted.
CREATE TABLE quota_totals (
    tenant_id uuid   NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    resource  text   NOT NULL,
    used      bigint NOT NULL,
    PRIMARY KEY (tenant_id, resource)
);

-- Asked for by a service (`account_id`), then given or not. What is given stays, so that it can be given back.
CREATE TABLE quota_reservations (
    id         uuid        NOT NULL PRIMARY KEY,
    tenant_id  uuid        NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    resource   text        NOT NULL,
    amount     bigint      NOT NULL,
    state      text        NOT NULL CHECK (state IN ('reserved', 'committed', 'released')),
    account_id uuid        NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX quota_reservations_by_tenant ON quota_reservations (tenant_id, resource) WHERE state = 'reserved';
CREATE INDEX quota_reservations_by_expiry ON quota_reservations (expires_at) WHERE state <> 'committed';

ALTER TABLE quota_totals ENABLE ROW LEVEL SECURITY;
ALTER TABLE quota_totals FORCE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON quota_totals USING (COALESCE(current_setting('portcullis.tenant', true), '') IN ('', tenant_id::text));
ALTER TABLE quota_reservations ENABLE ROW LEVEL SECURITY;
ALTER TABLE quota_reservations FORCE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON quota_reservations USING (COALESCE(current_setting('portcullis.tenant', true), '') IN ('', tenant_id::text));
