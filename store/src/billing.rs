//! What tenants owe: a statement for each month, made once by whichever node comes first, and what becomes of it.
//!
//! A statement takes in the usage that is not on an earlier one, so that what comes late is on the next. Of two that are made at once for a
//! month the second finds the first. What is owed never changes afterwards, nor goes with whoever owes it; only whether it is paid changes.
//! For whom one is to be made is `due`'s, what is heard of payments `payments`'.

use chrono::{DateTime, Utc};
use identity::TenantId;
use sqlx_macros::FromRow;
use uuid::Uuid;

use crate::{
    Cursor, Page, Store, StoreError,
    db::{Tx, on, on_tx, stored},
};

mod due;
mod payments;

pub use self::{
    due::{BillingMonth, Unbilled},
    payments::{Heard, Paid, Payment, Subscription},
};

/// What a tenant owes for a month. Money is in millionths.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Statement {
    /// Its id.
    pub id: Uuid,
    /// Who owes it: a tenant, or an account that has used something in no tenant's name.
    pub tenant_id: Uuid,
    /// What the tenant was called when it was made.
    pub tenant_name: Option<String>,
    /// As `2026-01`.
    pub month: String,
    /// The tier that was charged for.
    pub tier: String,
    /// ISO 4217.
    pub currency: String,
    /// For the tier.
    pub price: i64,
    /// For what was used of services.
    pub usage: i64,
    /// Requests in the month, as far as they were counted.
    pub requests: i64,
    /// Tokens in the month.
    pub tokens: i64,
    /// `open`, `paid`, `overdue` or `void`.
    pub status: String,
    /// When it was made.
    pub closed_at: DateTime<Utc>,
    /// When it should be paid.
    pub due_at: DateTime<Utc>,
    /// When it was.
    pub paid_at: Option<DateTime<Utc>>,
}

/// What to charge.
#[derive(Clone, Debug)]
pub struct Charge {
    /// Whom.
    pub tenant: TenantId,
    /// What they are called.
    pub name: Option<String>,
    /// For which month, as `2026-01`.
    pub month: String,
    /// For which tier.
    pub tier: String,
    /// ISO 4217.
    pub currency: String,
    /// For the tier, in millionths.
    pub price: i64,
    /// When it should be paid.
    pub due_at: DateTime<Utc>,
    /// The time.
    pub now: DateTime<Utc>,
}

#[derive(FromRow)]
struct UsedIn {
    month: String,
    requests: i64,
    tokens: i64,
    cost: i64,
    billed: i64,
}

macro_rules! statements {
    ($rest:literal) => {
        concat!(
            "SELECT id, tenant_id, tenant_name, month, tier, currency, price, usage, requests, tokens, status, closed_at, due_at, paid_at \
             FROM billing_statements WHERE ",
            $rest
        )
    };
}

// === impl Store ===

impl Store {
    /// Makes a statement, unless there is one for that month; `tell` says what others shall be told of it.
    pub async fn bill(
        &self,
        charge: &Charge,
        tell: impl Fn(&Statement) -> Option<String>,
    ) -> Result<Option<Statement>, StoreError> {
        let scoped = self.of_tenant(charge.tenant);
        scoped
            .bounded(async {
                let mut tx = scoped.begin().await?;
                let months = tx.take_months(charge.tenant, &charge.month).await?;
                let statement = charge.statement(&months);
                if !tx.insert_statement(&statement).await? {
                    return Ok(None);
                }
                if let Some(body) = tell(&statement) {
                    tx.post_webhook(&body, charge.now).await?;
                }
                scoped.commit(tx).await?;
                Ok::<_, StoreError>(Some(statement))
            })
            .await
    }

    /// A page of a tenant's statements, or of everybody's, in the order of their making.
    pub async fn list_statements(
        &self,
        tenant: Option<TenantId>,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Page<Statement>, StoreError> {
        const ALL: &str = statements!("id > $1 ORDER BY id LIMIT $2");
        const OF: &str = statements!("id > $1 AND tenant_id = $3 ORDER BY id LIMIT $2");
        let after = after.map_or(Uuid::nil(), Cursor::uuid);
        let most = i64::from(limit) + 1;
        let rows: Vec<Statement> = self
            .bounded(async {
                let Some(tenant) = tenant else {
                    return on!(self, |pool| sqlx::query_as(ALL).bind(after).bind(most).fetch_all(pool).await);
                };
                let scoped = self.of_tenant(tenant);
                on!(scoped, |pool| sqlx::query_as(OF).bind(after).bind(most).bind(tenant.uuid()).fetch_all(pool).await)
            })
            .await?;
        Ok(Page::cut(rows, limit, |statement| statement.id))
    }

    /// One statement, of `tenant` if it is said.
    pub async fn statement(&self, id: Uuid, tenant: Option<TenantId>) -> Result<Option<Statement>, StoreError> {
        const Q: &str = statements!("id = $1 AND ($2 OR tenant_id = $3)");
        let scoped = tenant.map_or_else(|| self.clone(), |tenant| self.of_tenant(tenant));
        let of = tenant.map_or(Uuid::nil(), |tenant| tenant.uuid());
        self.bounded(async {
            on!(scoped, |pool| sqlx::query_as(Q).bind(id).bind(tenant.is_none()).bind(of).fetch_optional(pool).await)
        })
        .await
    }

    /// Says that a statement is paid, or void. Again is as once; what is paid is not voided, nor the other way.
    pub async fn settle(&self, id: Uuid, status: &str, now: DateTime<Utc>) -> Result<Statement, StoreError> {
        self.bounded(async {
            let mut tx = self.begin().await?;
            tx.settle(id, status, now).await?;
            self.commit(tx).await
        })
        .await?;
        let statement = self.statement(id, None).await?.ok_or(StoreError::NotFound)?;
        if statement.status == status {
            return Ok(statement);
        }
        Err(StoreError::Conflict("What is paid is not voided, and what is void is not paid."))
    }

    /// Notes which statements should have been paid by now; says which those are.
    pub async fn note_overdue(&self, now: DateTime<Utc>) -> Result<Vec<Uuid>, StoreError> {
        const Q: &str =
            "UPDATE billing_statements SET status = 'overdue' WHERE status = 'open' AND due_at < $1 RETURNING id";
        self.bounded(async {
            let mut tx = self.begin().await?;
            let noted: Vec<Uuid> = on_tx!(&mut tx, |c| sqlx::query_scalar(Q).bind(stored(now)).fetch_all(c).await)?;
            self.commit(tx).await?;
            Ok::<_, StoreError>(noted)
        })
        .await
    }
}

// === impl Tx ===

impl Tx {
    /// What was used up to a month, marked as billed. Only as much as was read: what is counted meanwhile is for the next statement. In the
    /// order in which whoever counts goes through months: two that met halfway would wait for each other.
    async fn take_months(&mut self, tenant: TenantId, month: &str) -> Result<Vec<UsedIn>, StoreError> {
        const LITE: &str = "SELECT month, requests, tokens, cost, billed FROM usage_months \
                            WHERE tenant_id = $1 AND month <= $2 ORDER BY month";
        const PG: &str = "SELECT month, requests, tokens, cost, billed FROM usage_months \
                          WHERE tenant_id = $1 AND month <= $2 ORDER BY month FOR UPDATE";
        const TAKE: &str = "UPDATE usage_months SET billed = $3 WHERE tenant_id = $1 AND month = $2";
        let read = if matches!(self, Self::Pg(_)) { PG } else { LITE };
        let months: Vec<UsedIn> =
            on_tx!(&mut *self, |c| sqlx::query_as(read).bind(tenant.uuid()).bind(month).fetch_all(c).await)?;
        for month in months.iter().filter(|month| month.billed < month.cost) {
            on_tx!(&mut *self, |c| sqlx::query(TAKE)
                .bind(tenant.uuid())
                .bind(&month.month)
                .bind(month.cost)
                .execute(c)
                .await
                .map(drop))?;
        }
        Ok(months)
    }

    /// Is it the first for its tenant and month? Whoever comes at the same time is waited for.
    async fn insert_statement(&mut self, new: &Statement) -> Result<bool, StoreError> {
        const Q: &str = "INSERT INTO billing_statements (id, tenant_id, month, tier, currency, price, usage, requests, tokens, status, \
                         closed_at, due_at, paid_at, tenant_name) \
                         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT DO NOTHING";
        Ok(on_tx!(self, |c| sqlx::query(Q)
            .bind(new.id)
            .bind(new.tenant_id)
            .bind(&new.month)
            .bind(&new.tier)
            .bind(&new.currency)
            .bind(new.price)
            .bind(new.usage)
            .bind(new.requests)
            .bind(new.tokens)
            .bind(&new.status)
            .bind(new.closed_at)
            .bind(new.due_at)
            .bind(new.paid_at)
            .bind(&new.tenant_name)
            .execute(c)
            .await
            .map(|done| done.rows_affected() > 0))?)
    }

    async fn settle(&mut self, id: Uuid, status: &str, now: DateTime<Utc>) -> Result<u64, StoreError> {
        const Q: &str = "UPDATE billing_statements SET status = $2, paid_at = CASE WHEN $2 = 'paid' THEN $3 END \
                         WHERE id = $1 AND status IN ('open', 'overdue')";
        Ok(on_tx!(self, |c| sqlx::query(Q)
            .bind(id)
            .bind(status)
            .bind(stored(now))
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?)
    }
}

// === impl Charge ===

impl Charge {
    fn statement(&self, months: &[UsedIn]) -> Statement {
        let usage = months.iter().fold(0_i64, |sum, month| sum.saturating_add(month.cost - month.billed));
        let own = months.iter().find(|month| month.month == self.month);
        let is_nothing = usage == 0 && self.price == 0;
        Statement {
            id: Uuid::now_v7(),
            tenant_id: self.tenant.uuid(),
            tenant_name: self.name.clone(),
            month: self.month.clone(),
            tier: self.tier.clone(),
            currency: self.currency.clone(),
            price: self.price,
            usage,
            requests: own.map_or(0, |month| month.requests),
            tokens: own.map_or(0, |month| month.tokens),
            // Nothing is owed, so nothing is waited for.
            status: if is_nothing { "paid" } else { "open" }.to_owned(),
            closed_at: stored(self.now),
            due_at: stored(self.due_at),
            paid_at: is_nothing.then(|| stored(self.now)),
        }
    }
}
