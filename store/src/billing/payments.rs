//! What is heard of payments: each event once, and of two about a subscription the later one counts. A tenant that has several is in the tier of
//! the latest that is paid: what becomes of an older one takes nothing away, and when the latest ends the one before it counts again.

use chrono::{DateTime, Utc};
use identity::TenantId;
use uuid::Uuid;

use crate::{
    Store, StoreError, Subject,
    db::{Tx, on_tx, stored},
};

/// What somebody who takes payments says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payment {
    /// What becomes of a subscription.
    Subscribed(Subscription),
    /// This statement is paid.
    Paid(Uuid),
    /// Something that does not concern us.
    Nothing,
}

/// What a tenant pays for again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Who.
    pub tenant: TenantId,
    /// Its id at whoever takes the payments.
    pub id: String,
    /// For which tier; `None`: it is not paid, or over.
    pub tier: Option<String>,
    /// When it began, in Unix seconds. Of several the one that began last counts.
    pub began_at: i64,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It is done.
    Done,
    /// It was done before.
    Again,
    /// There is no such tenant or statement, something later was said, a later subscription counts, or there is nothing to do.
    Nothing,
}

// === impl Store ===

impl Store {
    /// Does what somebody who takes payments says, once for each event. Events come in any order: what was said (`said_at`, in Unix seconds)
    /// before what is known of a subscription, or before an administrator has said the tier, changes nothing.
    pub async fn hear_payment(
        &self,
        event: &str,
        said_at: i64,
        payment: &Payment,
        now: DateTime<Utc>,
    ) -> Result<Heard, StoreError> {
        const SEEN: &str = "INSERT INTO billing_events (id, received_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING";
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
                Payment::Subscribed(said) => {
                    let is_followed = tx.follow_subscription(said, said_at, now).await?;
                    (u64::from(is_followed), vec![Subject::Tenant(said.tenant)])
                }
                Payment::Paid(statement) => (tx.settle(*statement, "paid", now).await?, Vec::new()),
                Payment::Nothing => (0, Vec::new()),
            };
            self.commit_and_tell(tx, if done == 0 { &[] } else { &changed }, now).await?;
            Ok::<_, StoreError>(if done == 0 { Heard::Nothing } else { Heard::Done })
        })
        .await
    }
}

// === impl Tx ===

impl Tx {
    /// Notes what is said of a subscription, and moves its tenant if the tier depends on it; did it?
    async fn follow_subscription(
        &mut self,
        said: &Subscription,
        said_at: i64,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        // Of two in one second the one that comes later counts.
        const SAY: &str = "INSERT INTO billing_subscriptions (tenant_id, id, tier, began_at, said_at) \
                           SELECT t.id, $2, $3, $4, $5 FROM tenants t WHERE t.id = $1 ON CONFLICT (tenant_id, id) DO UPDATE \
                           SET tier = excluded.tier, began_at = excluded.began_at, said_at = excluded.said_at \
                           WHERE billing_subscriptions.said_at <= excluded.said_at";
        // What an administrator has said comes of no subscription. Older gateways go by the time alone.
        const MOVE: &str = "UPDATE tenants SET tier = $2, tier_from = $3, \
                            tier_said_at = CASE WHEN tier_said_at > $4 THEN tier_said_at ELSE $4 END \
                            WHERE id = $1 AND (tier_from IS NOT NULL OR COALESCE(tier_said_at, 0) <= $4)";
        self.lock_tenant(said.tenant).await?;
        let before = self.paid_subscription(said.tenant).await?;
        let noted = on_tx!(&mut *self, |c| sqlx::query(SAY)
            .bind(said.tenant.uuid())
            .bind(&said.id)
            .bind(&said.tier)
            .bind(said.began_at)
            .bind(said_at)
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        let after = self.paid_subscription(said.tenant).await?;
        let depends = before != after || after.as_ref().is_none_or(|(id, _)| *id == said.id);
        if noted == 0 || !depends {
            return Ok(false);
        }
        let (from, tier) = after.map_or_else(|| (said.id.clone(), None), |(id, tier)| (id, Some(tier)));
        self.note_tier(said.tenant, now).await?;
        Ok(on_tx!(self, |c| sqlx::query(MOVE)
            .bind(said.tenant.uuid())
            .bind(tier)
            .bind(from)
            .bind(said_at)
            .execute(c)
            .await
            .map(|done| done.rows_affected() > 0))?)
    }

    /// The latest subscription that a tenant pays for, and its tier.
    async fn paid_subscription(&mut self, tenant: TenantId) -> Result<Option<(String, String)>, StoreError> {
        const Q: &str = "SELECT id, tier FROM billing_subscriptions WHERE tenant_id = $1 AND tier IS NOT NULL \
                         ORDER BY began_at DESC, id DESC LIMIT 1";
        Ok(on_tx!(self, |c| sqlx::query_as(Q).bind(tenant.uuid()).fetch_optional(c).await)?)
    }
}
