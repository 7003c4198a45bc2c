//! People's own instances of agents. What they are configured with is sealed before it comes here; nobody but the owner is given it.

use chrono::{DateTime, Utc};
use identity::{AccountId, RecordId, TenantId};
use sqlx_macros::FromRow;
use uuid::Uuid;

use crate::{
    Cursor, Page, Store, StoreError, Subject,
    agents::on_platform,
    db::{on, on_tx, stored},
};

/// That its agent is another tenant's is found out as it is written: whatever is no such agent any more has to be the tenant's own, or is
/// refused.
macro_rules! insert {
    () => {
        concat!(
            "INSERT INTO agent_instances (id, tenant_id, agent_id, account_id, name, sealed, created_at, updated_at, is_foreign) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $7, EXISTS (SELECT 1 FROM agents WHERE id = $3 AND tenant_id <> $2 AND ",
            $crate::agents::on_platform!(),
            "))"
        )
    };
}

pub(crate) use insert;

/// An instance of an agent.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Instance {
    /// Its id.
    pub id: Uuid,
    /// Of which agent.
    pub agent_id: Uuid,
    /// Whose it is.
    pub account_id: Uuid,
    /// What it is called.
    pub name: String,
    /// What it is configured with, sealed.
    pub sealed: Vec<u8>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

/// An instance to be made.
pub struct NewInstance {
    /// Its id, for which the configuration is sealed.
    pub id: Uuid,
    /// In which tenant.
    pub tenant: TenantId,
    /// Of which agent.
    pub agent: Uuid,
    /// Whose it is.
    pub account: AccountId,
    /// What it is called.
    pub name: String,
    /// What it is configured with, sealed.
    pub sealed: Vec<u8>,
    /// Instances that the tenant may have; `None`: any number.
    pub most: Option<u64>,
    /// The time.
    pub now: DateTime<Utc>,
}

/// Where a configuration belongs: in another row, or with another owner, it does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstancePlace {
    /// The instance's id.
    pub id: Uuid,
    /// In which tenant.
    pub tenant: Uuid,
    /// Of which agent.
    pub agent: Uuid,
    /// Whose it is.
    pub account: Uuid,
}

/// What of an instance is changed.
#[derive(Default)]
pub struct InstanceChange {
    /// A new name.
    pub name: Option<String>,
    /// A new configuration, sealed.
    pub sealed: Option<Vec<u8>>,
}

// === impl InstancePlace ===

impl InstancePlace {
    /// What its configuration is sealed for.
    #[must_use]
    pub fn record(&self) -> RecordId {
        let Self { id, tenant, agent, account } = self;
        RecordId { table: "agent_instances", column: "sealed", row: format!("{tenant}/{account}/{agent}/{id}") }
    }
}

// === impl Store ===

impl Store {
    /// A page of a tenant's instances in the order of their making: of one account, or of all.
    pub async fn list_instances(
        &self,
        tenant: TenantId,
        account: Option<AccountId>,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Page<Instance>, StoreError> {
        const OWN: &str = "SELECT id, agent_id, account_id, name, sealed, created_at, updated_at FROM agent_instances \
                           WHERE tenant_id = $1 AND account_id = $2 AND id > $3 ORDER BY id LIMIT $4";
        const ALL: &str = "SELECT id, agent_id, account_id, name, sealed, created_at, updated_at FROM agent_instances \
                           WHERE tenant_id = $1 AND $2 IS NOT NULL AND id > $3 ORDER BY id LIMIT $4";
        let query = if account.is_some() { OWN } else { ALL };
        let account = account.map_or(Uuid::nil(), |account| account.uuid());
        let after = after.map_or(Uuid::nil(), Cursor::uuid);
        let scoped = self.of_tenant(tenant);
        let instances: Vec<Instance> = self
            .bounded(async {
                on!(scoped, |pool| sqlx::query_as(query)
                    .bind(tenant.uuid())
                    .bind(account)
                    .bind(after)
                    .bind(i64::from(limit) + 1)
                    .fetch_all(pool)
                    .await)
            })
            .await?;
        Ok(Page::cut(instances, limit, |instance| instance.id))
    }

    /// An instance of the tenant's, whoever owns it.
    pub async fn instance(&self, tenant: TenantId, id: Uuid) -> Result<Option<Instance>, StoreError> {
        const Q: &str = "SELECT id, agent_id, account_id, name, sealed, created_at, updated_at FROM agent_instances \
                         WHERE tenant_id = $1 AND id = $2";
        let scoped = self.of_tenant(tenant);
        self.bounded(async {
            on!(scoped, |pool| sqlx::query_as(Q).bind(tenant.uuid()).bind(id).fetch_optional(pool).await)
        })
        .await
    }

    /// Whose an instance is, of whichever tenant; for the door.
    pub async fn owner_of_instance(&self, id: Uuid) -> Result<Option<(AccountId, TenantId)>, StoreError> {
        const Q: &str = "SELECT account_id, tenant_id FROM agent_instances WHERE id = $1";
        let row: Option<(Uuid, Uuid)> =
            self.bounded(async { on!(self, |pool| sqlx::query_as(Q).bind(id).fetch_optional(pool).await) }).await?;
        Ok(row.map(|(account, tenant)| (AccountId::new(account), TenantId::new(tenant))))
    }

    /// Makes an instance. [`StoreError::NotFound`] if the account sees no such agent: one of the tenant's that is published or its own, or any
    /// tenant's that is published to the platform; [`StoreError::QuotaReached`] if the tenant has as many as it may.
    pub async fn create_instance(&self, new: NewInstance) -> Result<Instance, StoreError> {
        const SEES: &str = concat!(
            "SELECT COUNT(*) FROM agents WHERE id = $2 AND ((tenant_id = $1 AND (is_published OR developer_id = $3)) OR ",
            on_platform!(),
            ")"
        );
        const COUNT: &str =
            "SELECT COUNT(*) FROM (SELECT 1 FROM agent_instances WHERE tenant_id = $1 LIMIT $2) AS counted";
        let (now, scoped) = (stored(new.now), self.of_tenant(new.tenant));
        self.bounded(async {
            let mut tx = scoped.begin().await?;
            let sees: i64 = on_tx!(&mut tx, |c| sqlx::query_scalar(SEES)
                .bind(new.tenant.uuid())
                .bind(new.agent)
                .bind(new.account.uuid())
                .fetch_one(c)
                .await)?;
            if sees == 0 {
                return Err(StoreError::NotFound);
            }
            tx.demand_room(new.tenant, COUNT, new.most, "instances").await?;
            on_tx!(&mut tx, |c| sqlx::query(insert!())
                .bind(new.id)
                .bind(new.tenant.uuid())
                .bind(new.agent)
                .bind(new.account.uuid())
                .bind(&new.name)
                .bind(&new.sealed)
                .bind(now)
                .execute(c)
                .await
                .map(drop))?;
            // That there is none of this id may be known somewhere.
            self.commit_and_tell(tx, &[Subject::Resource(new.id)], now).await
        })
        .await?;
        let NewInstance { id, agent, account, name, sealed, .. } = new;
        let account_id = account.uuid();
        Ok(Instance { id, agent_id: agent, account_id, name, sealed, created_at: now, updated_at: now })
    }

    /// Changes an instance of `account`; [`StoreError::NotFound`] if it has none of that id in the tenant.
    pub async fn change_instance(
        &self,
        tenant: TenantId,
        id: Uuid,
        account: AccountId,
        change: InstanceChange,
        now: DateTime<Utc>,
    ) -> Result<Instance, StoreError> {
        const Q: &str = "UPDATE agent_instances SET name = COALESCE($4, name), sealed = COALESCE($5, sealed), updated_at = $6 \
                         WHERE tenant_id = $1 AND id = $2 AND account_id = $3 \
                         RETURNING id, agent_id, account_id, name, sealed, created_at, updated_at";
        let scoped = self.of_tenant(tenant);
        self.bounded(async {
            let mut tx = scoped.begin().await?;
            let changed: Option<Instance> = on_tx!(&mut tx, |c| sqlx::query_as(Q)
                .bind(tenant.uuid())
                .bind(id)
                .bind(account.uuid())
                .bind(change.name)
                .bind(change.sealed)
                .bind(stored(now))
                .fetch_optional(c)
                .await)?;
            let changed = changed.ok_or(StoreError::NotFound)?;
            self.commit(tx).await?;
            Ok::<_, StoreError>(changed)
        })
        .await
    }

    /// Deletes an instance, of `account` alone if one is given; [`StoreError::NotFound`] if there is none.
    pub async fn delete_instance(
        &self,
        tenant: TenantId,
        id: Uuid,
        account: Option<AccountId>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        const Q: &str = "DELETE FROM agent_instances WHERE tenant_id = $1 AND id = $2 AND ($4 OR account_id = $3)";
        let scoped = self.of_tenant(tenant);
        self.bounded(async {
            let mut tx = scoped.begin().await?;
            let gone = on_tx!(&mut tx, |c| sqlx::query(Q)
                .bind(tenant.uuid())
                .bind(id)
                .bind(account.map(|account| account.uuid()))
                .bind(account.is_none())
                .execute(c)
                .await
                .map(|done| done.rows_affected()))?;
            if gone == 0 {
                return Err(StoreError::NotFound);
            }
            self.commit_and_tell(tx, &[Subject::Resource(id)], now).await
        })
        .await
    }
}
