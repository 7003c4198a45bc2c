//! A month's statement as answers show it.

use chrono::{DateTime, Utc};
use policies::Micros;
use serde::Serialize;
use store::Statement;
use utoipa::ToSchema;
use uuid::Uuid;

/// What a tenant owes for a month. Amounts are decimal numbers as text: money is never a float.
#[derive(Serialize, ToSchema)]
pub(crate) struct Bill {
    id: Uuid,
    /// Who owes it: an organisation, which may be gone by now, or an account that has used something in no organisation's name.
    tenant_id: Uuid,
    /// What the organisation was called when the statement was made; `null`: it had gone before that, or there was none.
    tenant_name: Option<String>,
    /// Such as `2026-01` (UTC).
    month: String,
    /// The tier that is charged for.
    tier: String,
    /// ISO 4217.
    currency: String,
    /// For the tier.
    price: String,
    /// For what was used of services, and is on no statement before.
    usage: String,
    total: String,
    requests: i64,
    tokens_used: i64,
    /// `open`, `paid`, `overdue` or `void`.
    payment_status: String,
    closed_at: DateTime<Utc>,
    due_at: DateTime<Utc>,
    paid_at: Option<DateTime<Utc>>,
}

impl From<Statement> for Bill {
    fn from(statement: Statement) -> Self {
        let money = |micros| Micros::new(micros).unwrap_or_default().to_string();
        Self {
            id: statement.id,
            tenant_id: statement.tenant_id,
            tenant_name: statement.tenant_name,
            month: statement.month,
            tier: statement.tier,
            currency: statement.currency,
            price: money(statement.price),
            usage: money(statement.usage),
            total: money(statement.price.saturating_add(statement.usage)),
            requests: statement.requests,
            tokens_used: statement.tokens,
            payment_status: statement.status,
            closed_at: statement.closed_at,
            due_at: statement.due_at,
            paid_at: statement.paid_at,
        }
    }
}
