//! What is heard of payments: each event once, and of two about a subscription the later one counts. A tenant that has several is in the tier of
//! the latest that is paid: what becomes of an older one takes nothing away, and when the latest ends the one before it counts again. A
//! subscription is one tenant's, the one that was said last: when it changes hands it is over for whose it was before. In the hands of nobody
//! who is here it does not come: whoever pays does not lose a tier by a slip.

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
    /// A statement is paid.
    Paid(Paid),
    /// Something that does not concern us.
    Nothing,
}

/// What was paid for a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paid {
    /// Which one.
    pub statement: Uuid,
    /// In which currency (ISO 4217), in capitals or not.
    pub currency: String,
    /// The most that this pays, in millionths: what is less than a coin cannot be asked for.
    pub covers: i64,
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
    /// The statement is still waited for: this is less than is owed, or another currency.
    Short,
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
            let (heard, changed): (_, Vec<Subject>) = match payment {
                Payment::Subscribed(said) => {
                    let moved = tx.follow_subscription(said, said_at, now).await?;
                    let heard = if moved.is_empty() { Heard::Nothing } else { Heard::Done };
                    (heard, moved.into_iter().map(Subject::Tenant).collect())
                }
                Payment::Paid(paid) => (tx.take_payment(paid, now).await?, vec![]),
                Payment::Nothing => (Heard::Nothing, vec![]),
            };
            self.commit_and_tell(tx, &changed, now).await?;
            Ok::<_, StoreError>(heard)
        })
        .await
    }
}

// === impl Tx ===

impl Tx {
    /// Follows what is said of a subscription, also for those whose it was before; says whom that has moved.
    async fn follow_subscription(
        &mut self,
        said: &Subscription,
        said_at: i64,
        now: DateTime<Utc>,
    ) -> Result<Vec<TenantId>, StoreError> {
        const BEFORE: &str = "SELECT tenant_id FROM billing_subscriptions \
                              WHERE id = $1 AND tenant_id <> $2 AND tier IS NOT NULL AND said_at <= $3 \
                              AND EXISTS (SELECT 1 FROM tenants t WHERE t.id = $2)";
        // Two events that move it at once would each see it where it was.
        self.take_turn("subscription", &said.id).await?;
        let before: Vec<Uuid> = on_tx!(&mut *self, |c| sqlx::query_scalar(BEFORE)
            .bind(&said.id)
            .bind(said.tenant.uuid())
            .bind(said_at)
            .fetch_all(c)
            .await)?;
        let over = |id| Subscription { tenant: TenantId::new(id), tier: None, ..said.clone() };
        let mut sayings: Vec<Subscription> = before.into_iter().map(over).chain([said.clone()]).collect();
        // Whoever locks several tenants does it in this order.
        sayings.sort_unstable_by_key(|said| said.tenant);
        let mut moved = Vec::new();
        for said in &sayings {
            if self.note_subscription(said, said_at, now).await? {
                moved.push(said.tenant);
            }
        }
        Ok(moved)
    }

    /// Notes what is said of a subscription, and moves its tenant if the tier depends on it; did it?
    async fn note_subscription(
        &mut self,
        said: &Subscription,
        said_at: i64,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        // Of two in one second the one that comes later counts.
        const SAY: &str = "INSERT INTO billing_subscriptions (tenant_id, id, tier, began_at, said_at) \
                           SELECT t.id, $2, $3, $4, $5 FROM tenants t WHERE t.id = $1 AND NOT EXISTS (SELECT 1 \
                           FROM billing_subscriptions b WHERE b.id = $2 AND b.tenant_id <> $1 AND b.said_at > $5) \
                           ON CONFLICT (tenant_id, id) DO UPDATE \
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

    /// Marks a statement paid if this pays all of it.
    async fn take_payment(&mut self, paid: &Paid, now: DateTime<Utc>) -> Result<Heard, StoreError> {
        // No sum that could be too large for either engine: neither side is below zero.
        const PAY: &str = "UPDATE billing_statements SET status = 'paid', paid_at = $2 \
                           WHERE id = $1 AND status IN ('open', 'overdue') AND LOWER(currency) = $3 AND price <= $4 - usage";
        const OPEN: &str = "SELECT COUNT(*) FROM billing_statements WHERE id = $1 AND status IN ('open', 'overdue')";
        let done = on_tx!(&mut *self, |c| sqlx::query(PAY)
            .bind(paid.statement)
            .bind(stored(now))
            .bind(paid.currency.to_ascii_lowercase())
            .bind(paid.covers)
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        if done > 0 {
            return Ok(Heard::Done);
        }
        let open: i64 = on_tx!(self, |c| sqlx::query_scalar(OPEN).bind(paid.statement).fetch_one(c).await)?;
        Ok(if open > 0 { Heard::Short } else { Heard::Nothing })
    }

    /// The latest subscription that a tenant pays for, and its tier.
    async fn paid_subscription(&mut self, tenant: TenantId) -> Result<Option<(String, String)>, StoreError> {
        const Q: &str = "SELECT id, tier FROM billing_subscriptions WHERE tenant_id = $1 AND tier IS NOT NULL \
                         ORDER BY began_at DESC, id DESC LIMIT 1";
        Ok(on_tx!(self, |c| sqlx::query_as(Q).bind(tenant.uuid()).fetch_optional(c).await)?)
    }
}
