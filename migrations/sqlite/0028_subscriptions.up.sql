-- What a payment provider has said of each of a tenant's subscriptions: a tenant that has several is in the tier of the latest that is paid.
-- `began_at` and `said_at` are Unix seconds; no tier: it is not paid, or over.
CREATE TABLE billing_subscriptions (
    tenant_id BLOB    NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    id        TEXT    NOT NULL,
    tier      TEXT,
    began_at  INTEGER NOT NULL,
    said_at   INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT;
CREATE INDEX billing_subscriptions_over ON billing_subscriptions (said_at) WHERE tier IS NULL;

-- The subscription of which the tenant's tier comes, or whose end took it away; none: somebody else has said the tier.
ALTER TABLE tenants ADD COLUMN tier_from TEXT;
