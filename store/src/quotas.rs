//! Quotas of tenants: what is reserved, given and given back, and never more than there is, however many ask at once.
//!
//! Whoever reserves holds the lock of its tenant and resource: on Postgres that of the row in `quota_totals`, on SQLite that of the database.
//! A reservation that is not committed in time counts no longer; one that is committed counts until it is released.

use chrono::{DateTime, Utc};
use identity::{AccountId, TenantId};
use sqlx_macros::FromRow;
use uuid::Uuid;

use crate::{
    Store, StoreError,
    db::{Tx, on, on_tx, stored},
    sums::sum_of,
};

/// Something to be reserved.
#[derive(Clone, Debug)]
pub struct NewReservation {
    /// Its id.
    pub id: Uuid,
    /// Whose quota it is of.
    pub tenant: TenantId,
    /// Which quota.
    pub resource: String,
    /// How much of it.
    pub amount: i64,
    /// How much there is; `None`: without end.
    pub limit: Option<i64>,
    /// The service that asks; while its account is there only it may commit, and no other service release.
    pub service: AccountId,
    /// Until when it has to be committed.
    pub expires_at: DateTime<Utc>,
    /// The time.
    pub now: DateTime<Utc>,
}

/// How much of a quota is spoken for.
#[derive(Clone, Debug, Default, PartialEq, Eq, FromRow)]
pub struct QuotaUse {
    /// Which quota.
    pub resource: String,
    /// Given.
    pub used: i64,
    /// Asked for and not yet given.
    pub reserved: i64,
}

/// Who commits or gives back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaKeeper {
    /// A service: what it has reserved itself, and what one has whose account is gone; of this tenant alone, if it acts in one.
    Service(AccountId, Option<TenantId>),
    /// Who administers the platform: whatever anybody has reserved.
    Platform,
}

/// How much a tenant has of what is counted here: nobody reserves it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromRow)]
pub struct CountedHere {
    /// Agents of the tenant's.
    pub agents: i64,
    /// Its people's instances of agents.
    pub instances: i64,
    /// Keys at providers that are the tenant's own.
    pub integrations: i64,
    /// API keys of the account that asks, which are limited for each account.
    pub api_keys: i64,
}

/// What became of an attempt to reserve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// It is reserved.
    Yes,
    /// It would be more than there is; this much is spoken for.
    Exceeds(QuotaUse),
}

#[derive(FromRow)]
struct Row {
    tenant_id: Uuid,
    resource: String,
    amount: i64,
    state: String,
    expires_at: DateTime<Utc>,
}

/// The tier of `tenants t`: its own, else that of the first of its owners, else none.
macro_rules! tier_of {
    () => {
        "COALESCE(t.tier, (SELECT a.tier FROM tenant_members m JOIN accounts a ON a.id = m.account_id \
         WHERE m.tenant_id = t.id AND m.role = 'owner' ORDER BY m.created_at, m.account_id LIMIT 1))"
    };
}

pub(crate) use tier_of;

// === impl Store ===

impl Store {
    /// Reserves, unless it would be more than the limit together with all that is given and reserved.
    pub async fn reserve_quota(&self, new: &NewReservation) -> Result<Reserved, StoreError> {
        const Q: &str = "INSERT INTO quota_reservations (id, tenant_id, resource, amount, state, account_id, created_at, expires_at) \
             VALUES ($1, $2, $3, $4, 'reserved', $5, $6, $7)";
        let scoped = self.of_tenant(new.tenant);
        scoped
            .bounded(async {
                let mut tx = scoped.begin().await?;
                let used = tx.lock_quota(new.tenant.uuid(), &new.resource).await?;
                let reserved = tx.reserved(new.tenant.uuid(), &new.resource, new.now).await?;
                let sum = used.saturating_add(reserved).saturating_add(new.amount);
                if new.limit.is_some_and(|limit| sum > limit) {
                    return Ok(Reserved::Exceeds(QuotaUse { resource: new.resource.clone(), used, reserved }));
                }
                on_tx!(&mut tx, |c| sqlx::query(Q)
                    .bind(new.id)
                    .bind(new.tenant.uuid())
                    .bind(&new.resource)
                    .bind(new.amount)
                    .bind(new.service.uuid())
                    .bind(stored(new.now))
                    .bind(stored(new.expires_at))
                    .execute(c)
                    .await
                    .map(drop))?;
                scoped.commit(tx).await?;
                Ok::<_, StoreError>(Reserved::Yes)
            })
            .await
    }

    /// Gives what a service has reserved. Again is as once; what was not committed in time is a conflict.
    pub async fn commit_quota(&self, id: Uuid, by: QuotaKeeper, now: DateTime<Utc>) -> Result<(), StoreError> {
        self.bounded(async {
            let mut tx = self.begin().await?;
            let row = tx.lock_reservation(id, by).await?;
            match row.state.as_str() {
                "committed" => return Ok(()),
                "reserved" if row.expires_at > now => {}
                _ => return Err(StoreError::Conflict("The reservation has expired or was released; reserve anew.")),
            }
            tx.add_to_quota(row.tenant_id, &row.resource, row.amount).await?;
            tx.mark_reservation(id, "committed").await?;
            self.commit(tx).await
        })
        .await
    }

    /// Gives back what a service has reserved or been given. Again is as once.
    pub async fn release_quota(&self, id: Uuid, by: QuotaKeeper) -> Result<(), StoreError> {
        self.bounded(async {
            let mut tx = self.begin().await?;
            let row = tx.lock_reservation(id, by).await?;
            if row.state == "released" {
                return Ok(());
            }
            if row.state == "committed" {
                tx.add_to_quota(row.tenant_id, &row.resource, -row.amount).await?;
            }
            tx.mark_reservation(id, "released").await?;
            self.commit(tx).await
        })
        .await
    }

    /// What of its quotas a tenant has or has asked for, by their names.
    pub async fn quota_use(&self, tenant: TenantId, now: DateTime<Utc>) -> Result<Vec<QuotaUse>, StoreError> {
        const Q: &str = concat!(
            "SELECT t.resource, t.used, COALESCE((SELECT ",
            sum_of!("r.amount"),
            " FROM quota_reservations r \
             WHERE r.tenant_id = t.tenant_id AND r.resource = t.resource AND r.state = 'reserved' AND r.expires_at > $2), 0) \
             AS reserved FROM quota_totals t WHERE t.tenant_id = $1 ORDER BY t.resource"
        );
        let scoped = self.of_tenant(tenant);
        self.bounded(async {
            on!(scoped, |pool| sqlx::query_as(Q).bind(tenant.uuid()).bind(stored(now)).fetch_all(pool).await)
        })
        .await
    }

    /// How much a tenant has of what is counted where it is kept.
    pub async fn counted_here(&self, tenant: TenantId, account: AccountId) -> Result<CountedHere, StoreError> {
        const Q: &str = "SELECT (SELECT COUNT(*) FROM agents WHERE tenant_id = $1) AS agents, \
                         (SELECT COUNT(*) FROM agent_instances WHERE tenant_id = $1) AS instances, \
                         (SELECT COUNT(*) FROM integrations WHERE tenant_id = $1) AS integrations, \
                         (SELECT COUNT(*) FROM api_keys WHERE account_id = $2 AND revoked_at IS NULL) AS api_keys";
        self.bounded(async {
            on!(self, |pool| sqlx::query_as(Q).bind(tenant.uuid()).bind(account.uuid()).fetch_one(pool).await)
        })
        .await
    }

    /// The tier of a tenant: its own, else that of the first of its owners; `None` if there is no such tenant.
    pub async fn tier_of_tenant(&self, tenant: TenantId) -> Result<Option<Option<String>>, StoreError> {
        const Q: &str = concat!("SELECT ", tier_of!(), " FROM tenants t WHERE t.id = $1");
        let scoped = self.of_tenant(tenant);
        self.bounded(async { on!(scoped, |pool| sqlx::query_scalar(Q).bind(tenant.uuid()).fetch_optional(pool).await) })
            .await
    }
}

// === impl Tx ===

impl Tx {
    /// How much is given, and nobody else changes it until this is over.
    async fn lock_quota(&mut self, tenant: Uuid, resource: &str) -> Result<i64, StoreError> {
        const Q: &str = "INSERT INTO quota_totals (tenant_id, resource, used) VALUES ($1, $2, 0) \
                         ON CONFLICT (tenant_id, resource) DO UPDATE SET used = quota_totals.used RETURNING used";
        Ok(on_tx!(self, |c| sqlx::query_scalar(Q).bind(tenant).bind(resource).fetch_one(c).await)?)
    }

    async fn reserved(&mut self, tenant: Uuid, resource: &str, now: DateTime<Utc>) -> Result<i64, StoreError> {
        const Q: &str = concat!(
            "SELECT COALESCE(",
            sum_of!("amount"),
            ", 0) FROM quota_reservations WHERE tenant_id = $1 AND resource = $2 AND state = 'reserved' AND expires_at > $3"
        );
        Ok(on_tx!(self, |c| sqlx::query_scalar(Q).bind(tenant).bind(resource).bind(stored(now)).fetch_one(c).await)?)
    }

    /// A reservation that `by` may end. The quota is locked before the reservation is read, in the order in which who reserves does it.
    async fn lock_reservation(&mut self, id: Uuid, by: QuotaKeeper) -> Result<Row, StoreError> {
        const Q: &str = "SELECT tenant_id, resource, amount, state, expires_at FROM quota_reservations WHERE id = $1 AND (account_id = $2 \
             OR ($3 AND ($4 OR tenant_id = $5) AND NOT EXISTS (SELECT 1 FROM accounts WHERE accounts.id = quota_reservations.account_id)) \
             OR NOT $3)";
        let (service, bound) = match by {
            QuotaKeeper::Service(service, bound) => (Some(service.uuid()), bound.map(|tenant| tenant.uuid())),
            QuotaKeeper::Platform => (None, None),
        };
        let read = async |tx: &mut Self| -> Result<Option<Row>, StoreError> {
            Ok(on_tx!(tx, |c| sqlx::query_as(Q)
                .bind(id)
                .bind(service)
                .bind(service.is_some())
                .bind(bound.is_none())
                .bind(bound)
                .fetch_optional(c)
                .await)?)
        };
        let row = read(self).await?.ok_or(StoreError::NotFound)?;
        self.lock_quota(row.tenant_id, &row.resource).await?;
        read(self).await?.ok_or(StoreError::NotFound)
    }

    async fn add_to_quota(&mut self, tenant: Uuid, resource: &str, amount: i64) -> Result<(), StoreError> {
        const Q: &str = "UPDATE quota_totals SET used = CASE WHEN $3 > 9223372036854775807 - used THEN 9223372036854775807 \
                         ELSE used + $3 END WHERE tenant_id = $1 AND resource = $2";
        Ok(on_tx!(self, |c| sqlx::query(Q).bind(tenant).bind(resource).bind(amount).execute(c).await.map(drop))?)
    }

    async fn mark_reservation(&mut self, id: Uuid, state: &str) -> Result<(), StoreError> {
        const Q: &str = "UPDATE quota_reservations SET state = $2 WHERE id = $1";
        Ok(on_tx!(self, |c| sqlx::query(Q).bind(id).bind(state).execute(c).await.map(drop))?)
    }
}
