//! The teams and domains to which an account belongs, and what those who change them share.

use std::collections::HashMap;

use identity::{AccountId, TenantId};
use sqlx::types::Json;
use sqlx_macros::FromRow;
use uuid::Uuid;

use crate::{
    Account, Domain, Store, StoreError, Team,
    db::{Db, Tx, on, on_tx},
};

/// Teams of one tenant to which an account can belong, and domains: all of them are told with it.
pub(crate) const MOST: i64 = 100;

/// What an account belongs to in a tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    /// Teams, with what it is in each; in the order of their making.
    pub teams: Vec<Team>,
    /// Domains, in the order of their making.
    pub domains: Vec<Domain>,
}

/// A question whose rows nobody refers to anew, or changes, until the commit. SQLite's transaction is alone anyway.
pub(crate) struct Held {
    pub(crate) postgres: &'static str,
    pub(crate) sqlite: &'static str,
}

/// [`Groups`] as one row of any question.
#[derive(FromRow)]
pub(crate) struct GroupsRow {
    teams: Option<Json<Vec<TeamCells>>>,
    domains: Option<Json<Vec<DomainCells>>>,
}

/// The same of one account among others, in the tenant in which it acts.
#[derive(FromRow)]
struct AmongOthers {
    id: Uuid,
    tenant_id: Option<Uuid>,
    #[sqlx(flatten)]
    groups: GroupsRow,
}

type TeamCells = (Uuid, String, Option<String>, bool, Option<String>);
type DomainCells = (Uuid, String, String, Option<Uuid>, bool);

/// Two columns, `teams` and `domains`, of an account in a tenant, each parameter by its number.
macro_rules! groups_columns {
    (postgres, $tenant:literal, $account:literal) => {
        $crate::groups::groups_columns!(
            $tenant,
            $account,
            "json_agg(json_build_array(",
            "t.id",
            "t.is_active",
            "d.id",
            "d.parent_domain_id",
            "d.is_active"
        )
    };
    // Ids are bytes there, and truth is a number.
    (sqlite, $tenant:literal, $account:literal) => {
        $crate::groups::groups_columns!(
            $tenant,
            $account,
            "json_group_array(json_array(",
            "hex(t.id)",
            "json(CASE WHEN t.is_active THEN 'true' ELSE 'false' END)",
            "hex(d.id)",
            "NULLIF(hex(d.parent_domain_id), '')",
            "json(CASE WHEN d.is_active THEN 'true' ELSE 'false' END)"
        )
    };
    ($tenant:literal, $account:literal, $list:literal, $team:literal, $team_used:literal, $domain:literal, $parent:literal, $domain_used:literal) => {
        concat!(
            "(SELECT ",
            $list,
            $team,
            ", t.name, t.external_ref, ",
            $team_used,
            ", m.role) ORDER BY m.team_id) FROM team_memberships m \
             JOIN teams t ON t.tenant_id = m.tenant_id AND t.id = m.team_id \
             WHERE m.tenant_id = ",
            $tenant,
            " AND m.account_id = ",
            $account,
            ") AS teams, \
             (SELECT ",
            $list,
            $domain,
            ", d.key, d.name, ",
            $parent,
            ", ",
            $domain_used,
            ") ORDER BY m.domain_id) FROM account_domains m \
             JOIN domains d ON d.tenant_id = m.tenant_id AND d.id = m.domain_id \
             WHERE m.tenant_id = ",
            $tenant,
            " AND m.account_id = ",
            $account,
            ") AS domains"
        )
    };
}

pub(crate) use groups_columns;

// === impl Store ===

impl Store {
    /// The teams and domains of an account in a tenant.
    pub async fn groups_of(&self, tenant: TenantId, account: AccountId) -> Result<Groups, StoreError> {
        const PG: &str = concat!("SELECT ", groups_columns!(postgres, "$1", "$2"));
        const LITE: &str = concat!("SELECT ", groups_columns!(sqlite, "$1", "$2"));
        let scoped = self.of_tenant(tenant);
        let question = if matches!(scoped.db, Db::Pg(_)) { PG } else { LITE };
        let row: GroupsRow = self
            .bounded(async {
                on!(scoped, |pool| sqlx::query_as(question)
                    .bind(tenant.uuid())
                    .bind(account.uuid())
                    .fetch_one(pool)
                    .await)
            })
            .await?;
        Ok(row.into())
    }

    /// The same of each account of a page, which are in the order of their ids, in the tenant in which it acts: by one question, whatever
    /// tenants those are.
    pub async fn groups_of_page(&self, accounts: &[Account]) -> Result<Vec<Groups>, StoreError> {
        const PG: &str = concat!(
            "SELECT a.id, a.tenant_id, ",
            groups_columns!(postgres, "a.tenant_id", "a.id"),
            " FROM accounts a WHERE a.id BETWEEN $1 AND $2"
        );
        const LITE: &str = concat!(
            "SELECT a.id, a.tenant_id, ",
            groups_columns!(sqlite, "a.tenant_id", "a.id"),
            " FROM accounts a WHERE a.id BETWEEN $1 AND $2"
        );
        let (Some(first), Some(last)) = (accounts.first(), accounts.last()) else { return Ok(Vec::new()) };
        let question = if matches!(self.db, Db::Pg(_)) { PG } else { LITE };
        let rows: Vec<AmongOthers> = self
            .bounded(async {
                on!(self, |pool| sqlx::query_as(question)
                    .bind(first.id.uuid())
                    .bind(last.id.uuid())
                    .fetch_all(pool)
                    .await)
            })
            .await?;
        let mut found: HashMap<_, _> = rows.into_iter().map(|row| ((row.id, row.tenant_id), row.groups)).collect();
        let groups = accounts.iter().map(|account| {
            let tenant = account.tenant.map(|membership| membership.tenant.uuid());
            // Whoever has gone to another one meanwhile has nothing in this.
            let row = tenant.and_then(|tenant| found.remove(&(account.id.uuid(), Some(tenant))));
            row.map(Groups::from).unwrap_or_default()
        });
        Ok(groups.collect())
    }
}

// === impl Groups ===

impl From<GroupsRow> for Groups {
    fn from(row: GroupsRow) -> Self {
        let (teams, domains) =
            (row.teams.map_or_else(Vec::new, |list| list.0), row.domains.map_or_else(Vec::new, |list| list.0));
        let team = |(id, name, external_ref, is_active, role)| Team { id, name, external_ref, is_active, role };
        let domain =
            |(id, key, name, parent_domain_id, is_active)| Domain { id, key, name, parent_domain_id, is_active };
        Self { teams: teams.into_iter().map(team).collect(), domains: domains.into_iter().map(domain).collect() }
    }
}

// === impl Tx ===

impl Tx {
    /// Whoever changes what a tenant has only once, or what lies in what, does so alone.
    pub(crate) async fn lock_tenant(&mut self, tenant: TenantId) -> Result<(), StoreError> {
        if let Self::Pg(tx) = self {
            let lock = sqlx::query("SELECT 1 FROM tenants WHERE id = $1 FOR NO KEY UPDATE");
            lock.bind(tenant.uuid()).execute(tx.within()).await?;
        }
        Ok(())
    }

    /// The ids of rows of a tenant's, held until the commit.
    pub(crate) async fn hold(&mut self, held: &Held, tenant: TenantId, id: Uuid) -> Result<Vec<Uuid>, StoreError> {
        let question = if matches!(self, Self::Pg(_)) { held.postgres } else { held.sqlite };
        Ok(on_tx!(self, |c| sqlx::query_scalar(question).bind(tenant.uuid()).bind(id).fetch_all(c).await)?)
    }

    /// A member of a tenant stays one until the commit, and nobody else gives it anything meanwhile; [`StoreError::NotFound`] if it is none.
    pub(crate) async fn hold_member(&mut self, tenant: TenantId, account: AccountId) -> Result<(), StoreError> {
        const MEMBER: Held = Held {
            postgres: "SELECT account_id FROM tenant_members WHERE tenant_id = $1 AND account_id = $2 FOR NO KEY UPDATE",
            sqlite: "SELECT account_id FROM tenant_members WHERE tenant_id = $1 AND account_id = $2",
        };
        let found = self.hold(&MEMBER, tenant, account.uuid()).await?;
        if found.is_empty() { Err(StoreError::NotFound) } else { Ok(()) }
    }
}
