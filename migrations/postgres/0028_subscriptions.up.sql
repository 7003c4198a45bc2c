-- What a payment provider has said of each of a tenant's subscriptions: a tenant that has several is in the tier of the latest that is paid.
-- `began_at` and `said_at` are Unix seconds; no tier: it is not paid, or over.
CREATE TABLE billing_subscriptions (
    tenant_id uuid   NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    id        text   NOT NULL,
    tier      text,
    began_at  bigint NOT NULL,
    said_at   bigint NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX billing_subscriptions_over ON billing_subscriptions (said_at) WHERE tier IS NULL;

ALTER TABLE billing_subscriptions ENABLE ROW LEVEL SECURITY;
ALTER TABLE billing_subscriptions FORCE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON billing_subscriptions USING (CASE COALESCE(current_setting('portcullis.tenant', true), '')
    WHEN '' THEN TRUE WHEN tenant_id::text THEN TRUE ELSE FALSE END);

-- The subscription of which the tenant's tier comes, or whose end took it away; none: somebody else has said the tier.
ALTER TABLE tenants ADD COLUMN tier_from text;
