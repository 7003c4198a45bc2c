//! What others are to be told of, until they have heard it: claimed as mail is ([`crate::outbox`]), so that a node that dies with one leaves it
//! to the others.

use chrono::{DateTime, Utc};
use sqlx_macros::FromRow;
use uuid::Uuid;

use crate::{
    Store, StoreError,
    db::{Tx, on_tx, stored},
};

/// Something that is due, claimed by whoever holds this.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct DueWebhook {
    /// Its id, by which the receiver knows it again.
    pub id: Uuid,
    /// What it says: JSON.
    pub body: String,
    /// When it was put there.
    pub created_at: DateTime<Utc>,
    /// How often it was claimed, this time included.
    pub attempts: i64,
}

// === impl Store ===

impl Store {
    /// Takes what has been due for longest; it is due again at `until`, unless it is over by then.
    pub async fn claim_webhook(
        &self,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Option<DueWebhook>, StoreError> {
        const Q: &str = "UPDATE webhooks SET due_at = $2, attempts = attempts + 1 \
                         WHERE id = (SELECT id FROM webhooks WHERE ended_at IS NULL AND due_at <= $1 ORDER BY due_at LIMIT 1) \
                         AND due_at <= $1 AND ended_at IS NULL RETURNING id, body, created_at, attempts";
        self.bounded(async {
            let mut tx = self.begin().await?;
            let due =
                on_tx!(&mut tx, |c| sqlx::query_as(Q).bind(stored(now)).bind(stored(until)).fetch_optional(c).await)?;
            self.commit(tx).await?;
            Ok::<_, StoreError>(due)
        })
        .await
    }

    /// It is over: it was heard, or is given up.
    pub async fn end_webhook(&self, id: Uuid, outcome: &'static str, now: DateTime<Utc>) -> Result<(), StoreError> {
        const Q: &str = "UPDATE webhooks SET ended_at = $2, outcome = $3 WHERE id = $1";
        self.bounded(async {
            let mut tx = self.begin().await?;
            on_tx!(&mut tx, |c| sqlx::query(Q).bind(id).bind(stored(now)).bind(outcome).execute(c).await.map(drop))?;
            self.commit(tx).await
        })
        .await
    }

    /// It is tried again then.
    pub async fn retry_webhook(&self, id: Uuid, at: DateTime<Utc>) -> Result<(), StoreError> {
        const Q: &str = "UPDATE webhooks SET due_at = $2 WHERE id = $1 AND ended_at IS NULL";
        self.bounded(async {
            let mut tx = self.begin().await?;
            on_tx!(&mut tx, |c| sqlx::query(Q).bind(id).bind(stored(at)).execute(c).await.map(drop))?;
            self.commit(tx).await
        })
        .await
    }
}

// === impl Tx ===

impl Tx {
    pub(crate) async fn post_webhook(&mut self, body: &str, now: DateTime<Utc>) -> Result<(), StoreError> {
        const Q: &str = "INSERT INTO webhooks (id, body, created_at, due_at, attempts) VALUES ($1, $2, $3, $3, 0)";
        let id = Uuid::now_v7();
        Ok(on_tx!(self, |c| sqlx::query(Q).bind(id).bind(body).bind(stored(now)).execute(c).await.map(drop))?)
    }
}
