//! What is heard of payments: each event once, and of two about a tenant's tier the later one counts.

use chrono::{DateTime, Utc};
use identity::TenantId;
use uuid::Uuid;

use crate::{
    Store, StoreError, Subject,
    db::{on_tx, stored},
};

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
    /// There is no such tenant or statement, something later was said, or there is nothing to do.
    Nothing,
}

// === impl Store ===

impl Store {
    /// Does what somebody who takes payments says, once for each event. Events come in any order: what was said of a tenant's tier before
    /// what is in force (`said_at`, in Unix seconds) changes nothing.
    pub async fn hear_payment(
        &self,
        event: &str,
        said_at: i64,
        payment: &Payment,
        now: DateTime<Utc>,
    ) -> Result<Heard, StoreError> {
        const SEEN: &str = "INSERT INTO billing_events (id, received_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING";
        // Of two in one second the one that comes later counts.
        const TIER: &str =
            "UPDATE tenants SET tier = $2, tier_said_at = $3 WHERE id = $1 AND COALESCE(tier_said_at, 0) <= $3";
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
                    tx.note_tier(*tenant, now).await?;
                    let done = on_tx!(&mut tx, |c| sqlx::query(TIER)
                        .bind(tenant.uuid())
                        .bind(tier)
                        .bind(said_at)
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
