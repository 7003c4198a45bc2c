//! What people used of an older system, and what they were billed for it there. Neither is billed again: a month that was over when it
//! came is closed.

use chrono::{DateTime, Datelike, Months, NaiveDate, Utc};
use identity::{ExternalId, TenantId};
use uuid::{Builder, Uuid};

use super::things::{Batch, Done, imported_id, unless};
use crate::{
    StoreError, Used,
    db::{Tx, on_tx, stored},
};

/// What somebody has used of an older system: one request, or what it counted as one.
#[derive(Clone)]
pub struct ImportedUsage {
    /// In which tenant's name.
    pub tenant: TenantId,
    /// Its id.
    pub id: Uuid,
    /// Who.
    pub user: ExternalId,
    /// Of which service.
    pub service: String,
    /// Of which model; empty for none.
    pub model: String,
    /// What kind of request; empty for none in particular.
    pub request_type: String,
    /// How many tokens.
    pub tokens: i64,
    /// What it cost, in millionths.
    pub cost: i64,
}

/// What a tenant owed for a month there. When it was closed is when it was made.
#[derive(Clone)]
pub struct ImportedStatement {
    /// Who.
    pub tenant: TenantId,
    /// Its id; see [`statement_id`].
    pub id: Uuid,
    /// As `2026-01`.
    pub month: String,
    /// For which tier.
    pub tier: String,
    /// ISO 4217.
    pub currency: String,
    /// For the tier, in millionths.
    pub price: i64,
    /// For what was used, in millionths.
    pub usage: i64,
    /// Requests in the month.
    pub requests: i64,
    /// Tokens in the month.
    pub tokens: i64,
    /// `open`, `paid`, `overdue` or `void`.
    pub status: String,
    /// When it should have been paid.
    pub due_at: DateTime<Utc>,
    /// When it was.
    pub paid_at: Option<DateTime<Utc>>,
}

/// The id here of a statement that was closed then: as ours, it stands among others in the order in which they were closed.
#[must_use]
pub fn statement_id(system: &str, id: &str, closed_at: DateTime<Utc>) -> Uuid {
    let mut rest = [0; 10];
    rest.copy_from_slice(&imported_id(system, "statements", id).as_bytes()[..10]);
    Builder::from_unix_timestamp_millis(closed_at.timestamp_millis().unsigned_abs(), &rest).into_uuid()
}

/// When a month, such as `2026-01`, is over; `None`: it is no month.
#[must_use]
pub fn end_of_month(month: &str) -> Option<DateTime<Utc>> {
    let first = NaiveDate::parse_from_str(&format!("{month}-01"), "%Y-%m-%d").ok();
    let first = first.filter(|first| (1..=9999).contains(&first.year()) && month.len() == 7)?;
    Some(first.checked_add_months(Months::new(1))?.and_hms_opt(0, 0, 0)?.and_utc())
}

// === impl Tx ===

impl Tx {
    pub(super) async fn import_usage(
        &mut self,
        new: &ImportedUsage,
        at: DateTime<Utc>,
        batch: &mut Batch<'_>,
    ) -> Result<Done, StoreError> {
        const Q: &str = "INSERT INTO imported_usage (id) VALUES ($1) ON CONFLICT (id) DO NOTHING";
        let account = self.imported_account(new.user).await?;
        let made = on_tx!(self, |c| sqlx::query(Q).bind(new.id).execute(c).await.map(|done| done.rows_affected()))?;
        if made > 0 {
            let used = Used {
                tenant: Some(new.tenant),
                account,
                key: None,
                at,
                route: String::new(),
                service: new.service.clone(),
                model: new.model.clone(),
                request_type: new.request_type.clone(),
                requests: 1,
                tokens: new.tokens,
                cost: new.cost,
            };
            let is_over = (at.year(), at.month()) < (batch.now.year(), batch.now.month());
            batch.used.add(&used, is_over);
        }
        Ok(unless(made == 0, "it stands twice in the file"))
    }

    pub(super) async fn import_statement(
        &mut self,
        new: &ImportedStatement,
        at: DateTime<Utc>,
    ) -> Result<Done, StoreError> {
        const Q: &str = "INSERT INTO billing_statements (id, tenant_id, month, tier, currency, price, usage, requests, tokens, status, \
                         closed_at, due_at, paid_at, tenant_name) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, \
                         (SELECT name FROM tenants WHERE id = $2)) ON CONFLICT DO NOTHING";
        let made = on_tx!(self, |c| sqlx::query(Q)
            .bind(new.id)
            .bind(new.tenant.uuid())
            .bind(&new.month)
            .bind(&new.tier)
            .bind(&new.currency)
            .bind(new.price)
            .bind(new.usage)
            .bind(new.requests)
            .bind(new.tokens)
            .bind(&new.status)
            .bind(at)
            .bind(stored(new.due_at))
            .bind(new.paid_at.map(stored))
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(unless(made == 0, "the tenant has another statement of this month"))
    }
}
