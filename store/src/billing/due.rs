//! Who is to be billed for which month, and for which tiers: what is remembered of tenants, so that nobody gets out of a bill.
//!
//! Whoever changes what a tenant's tier depends on notes first which one it has had until then ([`Tx::note_tier`]); so a month's tiers are
//! those that were had in it, whatever comes after. Whoever deletes a tenant notes that it was there ([`Tx::leave_bill`]).

use chrono::{DateTime, Utc};
use identity::{AccountId, TenantId};
use sqlx_macros::FromRow;
use uuid::Uuid;

use crate::{
    Store, StoreError,
    db::{Tx, on, on_tx, stored},
    quotas::tier_of,
    sums::sum_of,
};

/// A month (UTC) that is billed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BillingMonth {
    /// As `2026-01`.
    pub name: String,
    /// Its first moment.
    pub begins: DateTime<Utc>,
    /// The first moment after it.
    pub ends: DateTime<Utc>,
}

/// Whoever has no statement for a month.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Unbilled {
    /// The tenant; or the account that has used something in no tenant's name.
    pub tenant_id: Uuid,
    /// What the tenant is or was called, as far as is known.
    pub name: Option<String>,
    /// Was it there in that month? Else it only used something.
    pub was_there: bool,
}

// === impl Store ===

impl Store {
    /// Tenants that are there and were before the month's end, or used something of which no statement speaks, and have no statement for
    /// the month. By their ids, those after `after`.
    pub async fn unbilled(&self, month: &BillingMonth, after: Uuid, most: u32) -> Result<Vec<Unbilled>, StoreError> {
        const Q: &str = "SELECT t.id AS tenant_id, t.name, COALESCE(t.billed_from, t.created_at) < $2 AS was_there FROM tenants t \
                         WHERE t.id > $3 AND NOT EXISTS (SELECT 1 FROM billing_statements b WHERE b.tenant_id = t.id AND b.month = $1) \
                         AND (COALESCE(t.billed_from, t.created_at) < $2 OR EXISTS (SELECT 1 FROM usage_months u \
                         WHERE u.tenant_id = t.id AND u.month <= $1 AND u.billed < u.cost)) ORDER BY t.id LIMIT $4";
        self.bounded(async {
            on!(self, |pool| sqlx::query_as(Q)
                .bind(&month.name)
                .bind(stored(month.ends))
                .bind(after)
                .bind(i64::from(most))
                .fetch_all(pool)
                .await)
        })
        .await
    }

    /// The same of tenants that are there no longer, and of accounts that have used something in no tenant's name.
    pub async fn unbilled_gone(
        &self,
        month: &BillingMonth,
        after: Uuid,
        most: u32,
    ) -> Result<Vec<Unbilled>, StoreError> {
        const Q: &str = "SELECT g.tenant_id, l.name, l.tenant_id IS NOT NULL AND l.billed_from < $2 AND l.left_at > $5 AS was_there \
                         FROM (SELECT tenant_id FROM billing_left WHERE billed_from < $2 AND left_at > $5 UNION \
                         SELECT tenant_id FROM usage_months WHERE month <= $1 AND billed < cost) g \
                         LEFT JOIN billing_left l ON l.tenant_id = g.tenant_id \
                         WHERE g.tenant_id > $3 AND NOT EXISTS (SELECT 1 FROM tenants t WHERE t.id = g.tenant_id) AND NOT EXISTS \
                         (SELECT 1 FROM billing_statements b WHERE b.tenant_id = g.tenant_id AND b.month = $1) \
                         ORDER BY g.tenant_id LIMIT $4";
        self.bounded(async {
            on!(self, |pool| sqlx::query_as(Q)
                .bind(&month.name)
                .bind(stored(month.ends))
                .bind(after)
                .bind(i64::from(most))
                .bind(stored(month.begins))
                .fetch_all(pool)
                .await)
        })
        .await
    }

    /// The tiers that a tenant had in a month; an empty text stands for none of its own.
    pub async fn tiers_within(&self, tenant: TenantId, month: &BillingMonth) -> Result<Vec<String>, StoreError> {
        // Those that ended in the month, the one that lasted beyond it, and if none has ended since, the one of now.
        const Q: &str = concat!(
            "SELECT h.tier FROM billing_tiers h WHERE h.tenant_id = $1 AND h.until > $2 AND NOT EXISTS \
             (SELECT 1 FROM billing_tiers e WHERE e.tenant_id = $1 AND e.until >= $3 AND e.until < h.until) UNION SELECT COALESCE(",
            tier_of!(),
            ", '') FROM tenants t WHERE t.id = $1 AND NOT EXISTS \
             (SELECT 1 FROM billing_tiers e WHERE e.tenant_id = $1 AND e.until >= $3)"
        );
        self.bounded(async {
            on!(self, |pool| sqlx::query_scalar(Q)
                .bind(tenant.uuid())
                .bind(stored(month.begins))
                .bind(stored(month.ends))
                .fetch_all(pool)
                .await)
        })
        .await
    }

    /// Puts what was used in no tenant's name down to its accounts, as if each were a tenant: else whoever leaves their tenants would use
    /// for nothing what others pay for.
    pub async fn charge_accounts(&self) -> Result<(), StoreError> {
        const LITE: &str = "SELECT month FROM usage_months WHERE tenant_id = $1 AND billed < cost ORDER BY month";
        const PG: &str =
            "SELECT month FROM usage_months WHERE tenant_id = $1 AND billed < cost ORDER BY month FOR UPDATE";
        // Days are added up anew and not added to, so that nothing counts twice.
        const MOVE: &str = concat!(
            "INSERT INTO usage_months (tenant_id, month, requests, tokens, cost) SELECT account_id, $2, ",
            sum_of!("requests"),
            ", ",
            sum_of!("tokens"),
            ", ",
            sum_of!("cost"),
            " FROM usage_days WHERE tenant_id = $1 AND day >= $2 || '-01' AND day <= $2 || '-31' \
             GROUP BY account_id HAVING MAX(cost) > 0 ORDER BY account_id ON CONFLICT (tenant_id, month) DO UPDATE \
             SET requests = excluded.requests, tokens = excluded.tokens, cost = excluded.cost"
        );
        const DONE: &str = "UPDATE usage_months SET billed = cost WHERE tenant_id = $1 AND month = $2";
        self.bounded(async {
            let mut tx = self.begin().await?;
            let open = if matches!(tx, Tx::Pg(_)) { PG } else { LITE };
            // Held before the days are read: what is counted after that leaves its month open again.
            let months: Vec<String> =
                on_tx!(&mut tx, |c| sqlx::query_scalar(open).bind(Uuid::nil()).fetch_all(c).await)?;
            for month in &months {
                for statement in [MOVE, DONE] {
                    on_tx!(&mut tx, |c| sqlx::query(statement)
                        .bind(Uuid::nil())
                        .bind(month)
                        .execute(c)
                        .await
                        .map(drop))?;
                }
            }
            self.commit(tx).await
        })
        .await
    }
}

// === impl Tx ===

impl Tx {
    /// Notes which tier a tenant has had until now. To be called before what it depends on changes.
    pub(crate) async fn note_tier(&mut self, tenant: TenantId, now: DateTime<Utc>) -> Result<(), StoreError> {
        const Q: &str = concat!(
            "INSERT INTO billing_tiers (tenant_id, until, tier) SELECT t.id, $2, COALESCE(",
            tier_of!(),
            ", '') FROM tenants t WHERE t.id = $1 ON CONFLICT DO NOTHING"
        );
        self.lock_tenant(tenant).await?;
        Ok(on_tx!(self, |c| sqlx::query(Q).bind(tenant.uuid()).bind(stored(now)).execute(c).await.map(drop))?)
    }

    /// The same of every tenant that an account answers for, and so may have its tier of it; says which those are.
    pub(crate) async fn note_tiers_by(
        &mut self,
        owner: AccountId,
        now: DateTime<Utc>,
    ) -> Result<Vec<TenantId>, StoreError> {
        const OWNED: &str =
            "SELECT tenant_id FROM tenant_members WHERE account_id = $1 AND role = 'owner' ORDER BY tenant_id";
        let ids: Vec<Uuid> = on_tx!(&mut *self, |c| sqlx::query_scalar(OWNED).bind(owner.uuid()).fetch_all(c).await)?;
        let tenants: Vec<TenantId> = ids.into_iter().map(TenantId::new).collect();
        for tenant in &tenants {
            self.note_tier(*tenant, now).await?;
        }
        Ok(tenants)
    }

    /// A tenant is about to be deleted: what is not billed yet is billed all the same.
    pub(crate) async fn leave_bill(&mut self, tenant: TenantId, now: DateTime<Utc>) -> Result<(), StoreError> {
        const Q: &str = "INSERT INTO billing_left (tenant_id, name, billed_from, left_at) \
                         SELECT id, name, COALESCE(billed_from, created_at), $2 FROM tenants WHERE id = $1 \
                         ON CONFLICT (tenant_id) DO UPDATE SET name = excluded.name, left_at = excluded.left_at";
        self.note_tier(tenant, now).await?;
        Ok(on_tx!(self, |c| sqlx::query(Q).bind(tenant.uuid()).bind(stored(now)).execute(c).await.map(drop))?)
    }
}
