-- What of a month's usage is on a statement already; the rest comes on the next one.
ALTER TABLE usage_months ADD COLUMN billed bigint NOT NULL DEFAULT 0;

-- What a tenant owes for a month. Nothing of it changes once it is there but whether it is paid. Money is in millionths of `currency`.
CREATE TABLE billing_statements (
    id        uuid        NOT NULL PRIMARY KEY,
    tenant_id uuid        NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    month     text        NOT NULL,
    tier      text        NOT NULL,
    currency  text        NOT NULL,
    price     bigint      NOT NULL,
    usage     bigint      NOT NULL,
    requests  bigint      NOT NULL,
    tokens    bigint      NOT NULL,
    status    text        NOT NULL CHECK (status IN ('open', 'paid', 'overdue', 'void')),
    closed_at timestamptz NOT NULL,
    due_at    timestamptz NOT NULL,
    paid_at   timestamptz
);
CREATE UNIQUE INDEX billing_statements_by_tenant ON billing_statements (tenant_id, month);
CREATE INDEX billing_statements_by_due ON billing_statements (due_at) WHERE status = 'open';

-- What a payment provider has told us, so that it counts once.
CREATE TABLE billing_events (
    id          text        NOT NULL PRIMARY KEY,
    received_at timestamptz NOT NULL
);
CREATE INDEX billing_events_by_time ON billing_events (received_at);

-- What others are still to be told of.
CREATE TABLE webhooks (
    id         uuid        NOT NULL PRIMARY KEY,
    body       text        NOT NULL,
    created_at timestamptz NOT NULL,
    due_at     timestamptz NOT NULL,
    attempts   bigint      NOT NULL,
    ended_at   timestamptz,
    outcome    text
);
CREATE INDEX webhooks_by_due ON webhooks (due_at) WHERE ended_at IS NULL;
CREATE INDEX webhooks_by_end ON webhooks (ended_at);

ALTER TABLE billing_statements ENABLE ROW LEVEL SECURITY;
ALTER TABLE billing_statements FORCE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON billing_statements USING (COALESCE(current_setting('portcullis.tenant', true), '') IN ('', tenant_id::text));
