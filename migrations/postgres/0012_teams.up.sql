-- Groupings inside a customer organisation: teams, and business domains that may lie within one another. Who belongs to one belongs to the
-- organisation: the membership there is what theirs hangs on, so whoever leaves it leaves them too. A name or key is its organisation's
-- once, however it is written.
CREATE TABLE teams (
    tenant_id    uuid        NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    id           uuid        NOT NULL,
    name         text        NOT NULL,
    name_folded  text        NOT NULL,
    external_ref text,
    is_active    boolean     NOT NULL,
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX teams_by_name ON teams (tenant_id, name_folded);

CREATE TABLE team_memberships (
    tenant_id  uuid        NOT NULL,
    team_id    uuid        NOT NULL,
    account_id uuid        NOT NULL,
    role       text        NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, team_id, account_id),
    FOREIGN KEY (tenant_id, team_id) REFERENCES teams (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, account_id) REFERENCES tenant_members (tenant_id, account_id) ON DELETE CASCADE
);
CREATE INDEX team_memberships_by_account ON team_memberships (tenant_id, account_id, team_id);

CREATE TABLE domains (
    tenant_id        uuid        NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    id               uuid        NOT NULL,
    key              text        NOT NULL,
    key_folded       text        NOT NULL,
    name             text        NOT NULL,
    parent_domain_id uuid,
    is_active        boolean     NOT NULL,
    created_at       timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, parent_domain_id) REFERENCES domains (tenant_id, id)
);
CREATE UNIQUE INDEX domains_by_key ON domains (tenant_id, key_folded);
CREATE INDEX domains_by_parent ON domains (tenant_id, parent_domain_id);

CREATE TABLE account_domains (
    tenant_id  uuid        NOT NULL,
    domain_id  uuid        NOT NULL,
    account_id uuid        NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, domain_id, account_id),
    FOREIGN KEY (tenant_id, domain_id) REFERENCES domains (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, account_id) REFERENCES tenant_members (tenant_id, account_id) ON DELETE CASCADE
);
CREATE INDEX account_domains_by_account ON account_domains (tenant_id, account_id, domain_id);

ALTER TABLE teams ENABLE ROW LEVEL SECURITY;
ALTER TABLE teams FORCE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON teams USING (COALESCE(current_setting('portcullis.tenant', true), '') IN ('', tenant_id::text));
ALTER TABLE team_memberships ENABLE ROW LEVEL SECURITY;
ALTER TABLE team_memberships FORCE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON team_memberships USING (COALESCE(current_setting('portcullis.tenant', true), '') IN ('', tenant_id::text));
ALTER TABLE domains ENABLE ROW LEVEL SECURITY;
ALTER TABLE domains FORCE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON domains USING (COALESCE(current_setting('portcullis.tenant', true), '') IN ('', tenant_id::text));
ALTER TABLE account_domains ENABLE ROW LEVEL SECURITY;
ALTER TABLE account_domains FORCE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON account_domains USING (COALESCE(current_setting('portcullis.tenant', true), '') IN ('', tenant_id::text));
