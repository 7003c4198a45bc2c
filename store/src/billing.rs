//! What tenants owe: a statement for each month, made once by whichever node comes first, and what becomes of it.
//!
//! A statement takes in the usage that is not on an earlier one, so that what comes late is on the next. Whoever makes one holds the lock of its
//! tenant. What is owed never changes afterwards; only whether it is paid does.

use chrono::{DateTime, Utc};
use identity::TenantId;
use sqlx::FromRow;
use uuid::Uuid;

use crate::{
    Cursor, Page, Store, StoreError, Subject,
    db::{Tx, on, on_tx, stored},
};

/// What a tenant owes for a month. Money is in millionths.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Statement {
    /// Its id.
    pub id: Uuid,
    /// Who owes it.
    pub tenant_id: Uuid,
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

/// A tenant that has no statement for a month.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Unbilled {
    /// Its id.
    pub tenant_id: Uuid,
    /// Its tier, or its first owner's.
    pub tier: Option<String>,
    /// Was it there in that month? Else it only used something.
    pub was_there: bool,
}

/// What to charge.
#[derive(Clone, Debug)]
pub struct Charge {
    /// Whom.
    pub tenant: TenantId,
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

/// What somebody who takes payments says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payment {
    /// This tenant is in this tier now, or in none of its own.
    Tier(TenantId, Option<String>),
    /// This statement is paid.
    Paid(Uuid),
    /// Something that does not concern us.
    Nothing,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It is done.
    Done,
    /// It was done before.
    Again,
    /// There is no such tenant or statement, or nothing to do.
    Nothing,
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
            "SELECT id, tenant_id, month, tier, currency, price, usage, requests, tokens, status, closed_at, due_at, paid_at \
             FROM billing_statements WHERE ",
            $rest
        )
    };
}

// === impl Store ===

impl Store {
    /// Tenants that were there before `end`, or used something of which no statement speaks, and have no statement for `month`.
    pub async fn unbilled(&self, month: &str, end: DateTime<Utc>, most: u32) -> Result<Vec<Unbilled>, StoreError> {
        const Q: &str = "SELECT t.id AS tenant_id, t.created_at < $2 AS was_there, COALESCE(t.tier, (SELECT a.tier FROM tenant_members m \
                         JOIN accounts a ON a.id = m.account_id WHERE m.tenant_id = t.id AND m.role = 'owner' \
                         ORDER BY m.created_at, m.account_id LIMIT 1)) AS tier FROM tenants t \
                         WHERE NOT EXISTS (SELECT 1 FROM billing_statements b WHERE b.tenant_id = t.id AND b.month = $1) \
                         AND (t.created_at < $2 OR EXISTS (SELECT 1 FROM usage_months u WHERE u.tenant_id = t.id \
                         AND u.month <= $1 AND u.billed < u.cost)) ORDER BY t.id LIMIT $3";
        self.bounded(async {
            on!(self, |pool| sqlx::query_as(Q)
                .bind(month)
                .bind(stored(end))
                .bind(i64::from(most))
                .fetch_all(pool)
                .await)
        })
        .await
    }

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
                tx.lock_tenant(charge.tenant).await?;
                if tx.statement_of(charge.tenant, &charge.month).await?.is_some() {
                    return Ok(None);
                }
                let months = tx.take_months(charge.tenant, &charge.month).await?;
                let statement = charge.statement(&months);
                tx.insert_statement(&statement).await?;
                if let Some(body) = tell(&statement) {
                    tx.post_webhook(&body, charge.now).await?;
                }
                scoped.commit(tx, &[], charge.now).await?;
                Ok::<_, StoreError>(Some(statement))
            })
            .await
    }

    /// A page of a tenant's statements, in the order of their making.
    pub async fn list_statements(
        &self,
        tenant: TenantId,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Page<Statement>, StoreError> {
        const Q: &str = statements!("tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3");
        let scoped = self.of_tenant(tenant);
        let after = after.map_or(Uuid::nil(), Cursor::uuid);
        let rows: Vec<Statement> = self
            .bounded(async {
                on!(scoped, |pool| sqlx::query_as(Q)
                    .bind(tenant.uuid())
                    .bind(after)
                    .bind(i64::from(limit) + 1)
                    .fetch_all(pool)
                    .await)
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
            self.commit(tx, &[], now).await
        })
        .await?;
        let statement = self.statement(id, None).await?.ok_or(StoreError::NotFound)?;
        if statement.status == status {
            return Ok(statement);
        }
        Err(StoreError::Conflict("What is paid is not voided, and what is void is not paid."))
    }

    /// Notes which statements should have been paid by now; says how many.
    pub async fn note_overdue(&self, now: DateTime<Utc>) -> Result<u64, StoreError> {
        const Q: &str = "UPDATE billing_statements SET status = 'overdue' WHERE status = 'open' AND due_at < $1";
        self.bounded(async {
            let mut tx = self.begin().await?;
            let noted = on_tx!(&mut tx, |c| sqlx::query(Q)
                .bind(stored(now))
                .execute(c)
                .await
                .map(|done| done.rows_affected()))?;
            self.commit(tx, &[], now).await?;
            Ok::<_, StoreError>(noted)
        })
        .await
    }

    /// Does what somebody who takes payments says, once for each event.
    pub async fn hear_payment(&self, event: &str, payment: &Payment, now: DateTime<Utc>) -> Result<Heard, StoreError> {
        const SEEN: &str = "INSERT INTO billing_events (id, received_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING";
        const TIER: &str = "UPDATE tenants SET tier = $2 WHERE id = $1";
        self.bounded(async {
            let mut tx = self.begin().await?;
            let is_new = on_tx!(&mut tx, |c| sqlx::query(SEEN)
                .bind(event)
                .bind(stored(now))
                .execute(c)
                .await
                .map(|done| done.rows_affected()))?;
            if is_new == 0 {
                return Ok(Heard::Again);
            }
            let (done, changed) = match payment {
                Payment::Tier(tenant, tier) => {
                    let done = on_tx!(&mut tx, |c| sqlx::query(TIER)
                        .bind(tenant.uuid())
                        .bind(tier)
                        .execute(c)
                        .await
                        .map(|done| done.rows_affected()))?;
                    (done, vec![Subject::Tenant(*tenant)])
                }
                Payment::Paid(statement) => (tx.settle(*statement, "paid", now).await?, Vec::new()),
                Payment::Nothing => (0, Vec::new()),
            };
            self.commit(tx, if done == 0 { &[] } else { &changed }, now).await?;
            Ok::<_, StoreError>(if done == 0 { Heard::Nothing } else { Heard::Done })
        })
        .await
    }
}

// === impl Tx ===

impl Tx {
    async fn statement_of(&mut self, tenant: TenantId, month: &str) -> Result<Option<Uuid>, StoreError> {
        const Q: &str = "SELECT id FROM billing_statements WHERE tenant_id = $1 AND month = $2";
        Ok(on_tx!(self, |c| sqlx::query_scalar(Q).bind(tenant.uuid()).bind(month).fetch_optional(c).await)?)
    }

    /// What was used up to a month, marked as billed. Only as much as was read: what is counted meanwhile is for the next statement.
    async fn take_months(&mut self, tenant: TenantId, month: &str) -> Result<Vec<UsedIn>, StoreError> {
        const READ: &str =
            "SELECT month, requests, tokens, cost, billed FROM usage_months WHERE tenant_id = $1 AND month <= $2";
        const TAKE: &str = "UPDATE usage_months SET billed = $3 WHERE tenant_id = $1 AND month = $2";
        let months: Vec<UsedIn> =
            on_tx!(&mut *self, |c| sqlx::query_as(READ).bind(tenant.uuid()).bind(month).fetch_all(c).await)?;
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

    async fn insert_statement(&mut self, new: &Statement) -> Result<(), StoreError> {
        const Q: &str = "INSERT INTO billing_statements (id, tenant_id, month, tier, currency, price, usage, requests, tokens, status, \
                         closed_at, due_at, paid_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
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
            .execute(c)
            .await
            .map(drop))?)
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
