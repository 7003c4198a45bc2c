//! Agents of a tenant: what developers make and publish. Others of the tenant see those that are published, its administrators all; and
//! people of every tenant what is published to the platform, which they can neither change nor end.

use chrono::{DateTime, Utc};
use identity::{AccountId, TenantId};
use sqlx_macros::FromRow;
use uuid::Uuid;

use crate::{
    Cursor, Page, Store, StoreError, Subject,
    db::{Tx, on, on_tx, stored},
    groups::Held,
};

/// An agent.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Agent {
    /// Its id.
    pub id: Uuid,
    /// Who has made it; `None`: that account is gone.
    pub developer_id: Option<Uuid>,
    /// What it is called.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Can others of the tenant see it?
    pub is_published: bool,
    /// Can people of every tenant see it, while it is published?
    pub on_platform: bool,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

/// An agent to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAgent {
    /// Whose it is.
    pub tenant: TenantId,
    /// Who makes it.
    pub developer: AccountId,
    /// What it is called.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Agents that the tenant may have; `None`: any number.
    pub most: Option<u64>,
    /// The time.
    pub now: DateTime<Utc>,
}

/// What of an agent is changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentChange {
    /// A new name.
    pub name: Option<String>,
    /// A new description.
    pub description: Option<String>,
    /// Who else can see it.
    pub audience: Option<Audience>,
}

/// Who sees an agent besides its developer, and who administers its tenant or the platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Nobody.
    Nobody,
    /// Whoever belongs to its tenant.
    Tenant,
    /// People of every tenant.
    Platform,
}

/// Which agents of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentsWanted {
    /// Those that an account has made.
    Of(AccountId),
    /// Those that an account sees: its own, and what is published.
    SeenBy(AccountId),
    /// All.
    All,
}

/// The columns of an [`Agent`].
macro_rules! columns {
    () => {
        "id, developer_id, name, description, is_published, on_platform, created_at, updated_at"
    };
}

/// What holds of agents that people of every tenant see. The tenant is looked up for each row that is read: joined, all of them could be read.
/// A question of which the planner expects half of the rows (`clause_selectivity`); of `(…) = 'active'` it expects so few that it reads all
/// agents of the platform and sorts them.
macro_rules! on_platform {
    () => {
        "(is_published AND on_platform AND (SELECT t.status = 'active' FROM tenants t WHERE t.id = agents.tenant_id))"
    };
}

/// The part of a list that is the platform's.
macro_rules! offered {
    () => {
        concat!(
            " UNION SELECT * FROM (SELECT * FROM agents WHERE $5 AND ",
            on_platform!(),
            " AND id > $3 ORDER BY id LIMIT $4) AS offered"
        )
    };
}

pub(crate) use on_platform;

// === impl Audience ===

impl Audience {
    /// As columns.
    pub(crate) const fn flags(self) -> (bool, bool) {
        match self {
            Self::Nobody => (false, false),
            Self::Tenant => (true, false),
            Self::Platform => (true, true),
        }
    }
}

// === impl Store ===

impl Store {
    /// A page of a tenant's agents in the order of their making, between those that other tenants have published to the platform if these are
    /// wanted too; none of these is somebody's own.
    pub async fn list_agents(
        &self,
        tenant: TenantId,
        wanted: AgentsWanted,
        with_platform: bool,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Page<Agent>, StoreError> {
        // $2 is an account in each, and $5 whether the platform's are wanted. Each part reads no more rows than the page has, by an index of its own.
        const OWN: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM agents WHERE tenant_id = $1 AND developer_id = $2 AND id > $3 AND $5 IS NOT NULL ORDER BY id LIMIT $4"
        );
        const ALL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM (SELECT * FROM (SELECT * FROM agents WHERE tenant_id = $1 AND id > $3 AND $2 IS NOT NULL ORDER BY id LIMIT $4) AS own",
            offered!(),
            ") AS seen ORDER BY id LIMIT $4"
        );
        const SEEN: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM (SELECT * FROM (SELECT * FROM agents WHERE tenant_id = $1 AND is_published AND id > $3 ORDER BY id LIMIT $4) AS published \
             UNION SELECT * FROM (SELECT * FROM agents WHERE tenant_id = $1 AND developer_id = $2 AND id > $3 ORDER BY id LIMIT $4) AS own",
            offered!(),
            ") AS seen ORDER BY id LIMIT $4"
        );
        let (query, account) = match wanted {
            AgentsWanted::Of(account) => (OWN, account.uuid()),
            AgentsWanted::SeenBy(account) => (SEEN, account.uuid()),
            AgentsWanted::All => (ALL, Uuid::nil()),
        };
        let after = after.map_or(Uuid::nil(), Cursor::uuid);
        let scoped = self.of_tenant(tenant);
        let agents: Vec<Agent> = self
            .bounded(async {
                on!(scoped, |pool| sqlx::query_as(query)
                    .bind(tenant.uuid())
                    .bind(account)
                    .bind(after)
                    .bind(i64::from(limit) + 1)
                    .bind(with_platform)
                    .fetch_all(pool)
                    .await)
            })
            .await?;
        Ok(Page::cut(agents, limit, |agent| agent.id))
    }

    /// An agent of the tenant's, published or not, or another's that is published to the platform.
    pub async fn agent(&self, tenant: TenantId, id: Uuid) -> Result<Option<Agent>, StoreError> {
        const Q: &str =
            concat!("SELECT ", columns!(), " FROM agents WHERE id = $2 AND (tenant_id = $1 OR ", on_platform!(), ")");
        let scoped = self.of_tenant(tenant);
        self.bounded(async {
            on!(scoped, |pool| sqlx::query_as(Q).bind(tenant.uuid()).bind(id).fetch_optional(pool).await)
        })
        .await
    }

    /// Whose an agent is, of whichever tenant; for the door. One without a developer is nobody's.
    pub async fn owner_of_agent(&self, id: Uuid) -> Result<Option<(AccountId, TenantId)>, StoreError> {
        const Q: &str = "SELECT developer_id, tenant_id FROM agents WHERE id = $1";
        let row: Option<(Option<Uuid>, Uuid)> =
            self.bounded(async { on!(self, |pool| sqlx::query_as(Q).bind(id).fetch_optional(pool).await) }).await?;
        Ok(row.map(|(account, tenant)| (AccountId::new(account.unwrap_or_default()), TenantId::new(tenant))))
    }

    /// Makes an agent, which nobody else sees yet; [`StoreError::QuotaReached`] if the tenant has as many as it may.
    pub async fn create_agent(&self, new: NewAgent) -> Result<Agent, StoreError> {
        const COUNT: &str = "SELECT COUNT(*) FROM (SELECT 1 FROM agents WHERE tenant_id = $1 LIMIT $2) AS counted";
        const Q: &str = "INSERT INTO agents (id, tenant_id, developer_id, name, description, is_published, created_at, updated_at) \
                         VALUES ($1, $2, $3, $4, $5, FALSE, $6, $6)";
        let (id, now, scoped) = (Uuid::now_v7(), stored(new.now), self.of_tenant(new.tenant));
        self.bounded(async {
            let mut tx = scoped.begin().await?;
            tx.demand_room(new.tenant, COUNT, new.most, "agents").await?;
            on_tx!(&mut tx, |c| sqlx::query(Q)
                .bind(id)
                .bind(new.tenant.uuid())
                .bind(new.developer.uuid())
                .bind(&new.name)
                .bind(&new.description)
                .bind(now)
                .execute(c)
                .await
                .map(drop))?;
            // That there is none of this id may be known somewhere.
            self.commit_and_tell(tx, &[Subject::Resource(id)], now).await
        })
        .await?;
        let NewAgent { name, description, developer, .. } = new;
        let developer_id = Some(developer.uuid());
        let (is_published, on_platform) = Audience::Nobody.flags();
        Ok(Agent { id, developer_id, name, description, is_published, on_platform, created_at: now, updated_at: now })
    }

    /// Changes an agent, of `developer` alone if one is given; [`StoreError::NotFound`] if there is none.
    pub async fn change_agent(
        &self,
        tenant: TenantId,
        id: Uuid,
        developer: Option<AccountId>,
        change: AgentChange,
        now: DateTime<Utc>,
    ) -> Result<Agent, StoreError> {
        const Q: &str = concat!(
            "UPDATE agents SET name = COALESCE($4, name), description = COALESCE($5, description), \
             is_published = COALESCE($6, is_published), on_platform = COALESCE($9, on_platform), updated_at = $7 \
             WHERE tenant_id = $1 AND id = $2 AND ($8 OR developer_id = $3) RETURNING ",
            columns!()
        );
        let (is_published, on_platform) = change.audience.map(Audience::flags).unzip();
        let scoped = self.of_tenant(tenant);
        self.bounded(async {
            let mut tx = scoped.begin().await?;
            let changed: Option<Agent> = on_tx!(&mut tx, |c| sqlx::query_as(Q)
                .bind(tenant.uuid())
                .bind(id)
                .bind(developer.map(|developer| developer.uuid()))
                .bind(change.name)
                .bind(change.description)
                .bind(is_published)
                .bind(stored(now))
                .bind(developer.is_none())
                .bind(on_platform)
                .fetch_optional(c)
                .await)?;
            let changed = changed.ok_or(StoreError::NotFound)?;
            self.commit(tx).await?;
            Ok::<_, StoreError>(changed)
        })
        .await
    }

    /// Deletes an agent, of `developer` alone if one is given. [`StoreError::NotFound`] if there is none; [`StoreError::Conflict`] if somebody
    /// has an instance of it.
    pub async fn delete_agent(
        &self,
        tenant: TenantId,
        id: Uuid,
        developer: Option<AccountId>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        const HOLD: Held = Held {
            postgres: "SELECT COALESCE(developer_id, '00000000-0000-0000-0000-000000000000'::uuid) FROM agents \
                       WHERE tenant_id = $1 AND id = $2 FOR UPDATE",
            sqlite: "SELECT COALESCE(developer_id, zeroblob(16)) FROM agents WHERE tenant_id = $1 AND id = $2",
        };
        const USED: &str = "SELECT COUNT(*) FROM (SELECT 1 FROM agent_instances WHERE tenant_id = $1 AND own_agent_id = $2 LIMIT 1) AS found";
        const ELSEWHERE: &str =
            "SELECT COUNT(*) FROM (SELECT 1 FROM agent_instances WHERE agent_id = $1 AND is_foreign LIMIT 1) AS found";
        const Q: &str = "DELETE FROM agents WHERE tenant_id = $1 AND id = $2";
        let scoped = self.of_tenant(tenant);
        self.bounded(async {
            // On behalf of the tenant nothing of another one is there. Whoever of those makes an instance from here on has it without its agent.
            let elsewhere: i64 = on!(self, |pool| sqlx::query_scalar(ELSEWHERE).bind(id).fetch_one(pool).await)?;
            let mut tx = scoped.begin().await?;
            // Whoever makes an instance meanwhile waits, and then finds no agent.
            let held = tx.hold(&HOLD, tenant, id).await?;
            if held.is_empty() || developer.is_some_and(|developer| held != [developer.uuid()]) {
                return Err(StoreError::NotFound);
            }
            let used: i64 =
                on_tx!(&mut tx, |c| sqlx::query_scalar(USED).bind(tenant.uuid()).bind(id).fetch_one(c).await)?;
            if used + elsewhere > 0 {
                return Err(StoreError::Conflict(
                    "there are instances of the agent; it can be taken back by /unpublish",
                ));
            }
            on_tx!(&mut tx, |c| sqlx::query(Q).bind(tenant.uuid()).bind(id).execute(c).await.map(drop))?;
            self.commit_and_tell(tx, &[Subject::Resource(id)], now).await
        })
        .await
    }
}

// === impl Tx ===

impl Tx {
    /// The tenant has to have less than `most` of something, and nobody else adds to it until the commit. `count` counts as far as $2.
    pub(crate) async fn demand_room(
        &mut self,
        tenant: TenantId,
        count: &'static str,
        most: Option<u64>,
        what: &'static str,
    ) -> Result<(), StoreError> {
        let Some(most) = most else { return Ok(()) };
        self.lock_tenant(tenant).await?;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let there: i64 = on_tx!(self, |c| sqlx::query_scalar(count).bind(tenant.uuid()).bind(most).fetch_one(c).await)?;
        if there < most { Ok(()) } else { Err(StoreError::QuotaReached(what)) }
    }
}
