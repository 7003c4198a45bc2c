-- Groupings inside a customer organisation: teams, and business domains that may lie within one another. Who belongs to one belongs to the
-- organisation: the membership there is what theirs hangs on, so whoever leaves it leaves them too. A name or key is its organisation's
-- once, however it is written.
CREATE TABLE teams (
    tenant_id BLOB NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    id BLOB NOT NULL,
    name TEXT NOT NULL,
    name_folded TEXT NOT NULL,
    external_ref TEXT,
    is_active INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT;
CREATE UNIQUE INDEX teams_by_name ON teams (tenant_id, name_folded);

CREATE TABLE team_memberships (
    tenant_id BLOB NOT NULL,
    team_id BLOB NOT NULL,
    account_id BLOB NOT NULL,
    role TEXT NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (tenant_id, team_id, account_id),
    FOREIGN KEY (tenant_id, team_id) REFERENCES teams (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, account_id) REFERENCES tenant_members (tenant_id, account_id) ON DELETE CASCADE
) STRICT;
CREATE INDEX team_memberships_by_account ON team_memberships (tenant_id, account_id, team_id);

CREATE TABLE domains (
    tenant_id BLOB NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    id BLOB NOT NULL,
    key TEXT NOT NULL,
    key_folded TEXT NOT NULL,
    name TEXT NOT NULL,
    parent_domain_id BLOB,
    is_active INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, parent_domain_id) REFERENCES domains (tenant_id, id)
) STRICT;
CREATE UNIQUE INDEX domains_by_key ON domains (tenant_id, key_folded);
CREATE INDEX domains_by_parent ON domains (tenant_id, parent_domain_id);

CREATE TABLE account_domains (
    tenant_id BLOB NOT NULL,
    domain_id BLOB NOT NULL,
    account_id BLOB NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (tenant_id, domain_id, account_id),
    FOREIGN KEY (tenant_id, domain_id) REFERENCES domains (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, account_id) REFERENCES tenant_members (tenant_id, account_id) ON DELETE CASCADE
) STRICT;
CREATE INDEX account_domains_by_account ON account_domains (tenant_id, account_id, domain_id);
