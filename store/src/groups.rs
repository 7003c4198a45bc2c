//! The teams and domains to which an account belongs, and what those who change them share.

use identity::{AccountId, TenantId};
use uuid::Uuid;

use crate::{
    Domain, Store, StoreError, Team,
    db::{Tx, on, on_tx},
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

// === impl Store ===

impl Store {
    /// The teams and domains of an account in a tenant.
    pub async fn groups_of(&self, tenant: TenantId, account: AccountId) -> Result<Groups, StoreError> {
        const TEAMS: &str = "SELECT t.id, t.name, t.external_ref, t.is_active, m.role FROM team_memberships m \
                             JOIN teams t ON t.tenant_id = m.tenant_id AND t.id = m.team_id \
                             WHERE m.tenant_id = $1 AND m.account_id = $2 ORDER BY m.team_id";
        const DOMAINS: &str = "SELECT d.id, d.key, d.name, d.parent_domain_id, d.is_active FROM account_domains m \
                               JOIN domains d ON d.tenant_id = m.tenant_id AND d.id = m.domain_id \
                               WHERE m.tenant_id = $1 AND m.account_id = $2 ORDER BY m.domain_id";
        let scoped = self.of_tenant(tenant);
        let (tenant, account) = (tenant.uuid(), account.uuid());
        self.bounded(async {
            let teams: Vec<Team> =
                on!(scoped, |pool| sqlx::query_as(TEAMS).bind(tenant).bind(account).fetch_all(pool).await)?;
            let domains: Vec<Domain> =
                on!(scoped, |pool| sqlx::query_as(DOMAINS).bind(tenant).bind(account).fetch_all(pool).await)?;
            Ok::<_, StoreError>(Groups { teams, domains })
        })
        .await
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
