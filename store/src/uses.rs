//! When API keys and cookies were last used: written down many at once, in the midst of whoever revokes and ends them.
//!
//! Whoever ends several of an account's at once takes them in whatever order they are found, and would wait for a batch that holds one of
//! them and waits for another. So a batch waits for nobody: what somebody else holds is written down after it, each by itself. That is for
//! Postgres, where rows are locked one by one; SQLite's transaction is alone anyway.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use identity::{KeyId, SessionId};
use uuid::Uuid;

use crate::{
    Store, StoreError,
    db::{Tx, on_tx, stored},
};

// === impl Store ===

impl Store {
    /// Notes when keys were last used, many at once.
    pub async fn touch_keys(&self, used: &[(KeyId, DateTime<Utc>)]) -> Result<(), StoreError> {
        const FREE: &str = "SELECT id FROM api_keys WHERE id = ANY($1) FOR NO KEY UPDATE SKIP LOCKED";
        let ids = used.iter().map(|(id, _)| id.uuid()).collect();
        self.bounded(async {
            let mut tx = self.begin().await?;
            let free = tx.hold_free(FREE, ids).await?;
            let (free, held): (Vec<_>, Vec<_>) = used.iter().partition(|(id, _)| free.contains(&id.uuid()));
            for one in free {
                tx.touch_key(one).await?;
            }
            self.commit(tx).await?;
            for one in held {
                let mut tx = self.begin().await?;
                tx.touch_key(one).await?;
                self.commit(tx).await?;
            }
            Ok::<_, StoreError>(())
        })
        .await
    }

    /// Notes that cookies were used: until when each is good now if it is not used again. Many at once.
    pub async fn touch_cookies(
        &self,
        used: &[(SessionId, DateTime<Utc>)],
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        const FREE: &str = "SELECT id FROM sessions WHERE id = ANY($1) FOR NO KEY UPDATE SKIP LOCKED";
        let ids = used.iter().map(|(id, _)| id.uuid()).collect();
        self.bounded(async {
            let mut tx = self.begin().await?;
            let free = tx.hold_free(FREE, ids).await?;
            let (free, held): (Vec<_>, Vec<_>) = used.iter().partition(|(id, _)| free.contains(&id.uuid()));
            for one in free {
                tx.touch_cookie(one, now).await?;
            }
            self.commit(tx).await?;
            for one in held {
                let mut tx = self.begin().await?;
                tx.touch_cookie(one, now).await?;
                self.commit(tx).await?;
            }
            Ok::<_, StoreError>(())
        })
        .await
    }
}

// === impl Tx ===

impl Tx {
    /// Those of these rows that nobody else holds. They are held until the commit.
    async fn hold_free(&mut self, free: &'static str, ids: Vec<Uuid>) -> Result<BTreeSet<Uuid>, StoreError> {
        let Self::Pg(tx) = self else { return Ok(ids.into_iter().collect()) };
        let free: Vec<Uuid> = sqlx::query_scalar(free).bind(ids).fetch_all(tx.within()).await?;
        Ok(free.into_iter().collect())
    }

    async fn touch_key(&mut self, (id, at): &(KeyId, DateTime<Utc>)) -> Result<(), StoreError> {
        const Q: &str =
            "UPDATE api_keys SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)";
        Ok(on_tx!(self, |c| sqlx::query(Q).bind(id.uuid()).bind(stored(*at)).execute(c).await.map(drop))?)
    }

    /// The session before its cookie, as whoever deletes it.
    async fn touch_cookie(
        &mut self,
        (id, until): &(SessionId, DateTime<Utc>),
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        const SEEN: &str = "UPDATE sessions SET last_seen_at = $2 WHERE id = $1";
        const Q: &str = "UPDATE session_cookies SET idle_until = $2 WHERE session_id = $1 AND idle_until < $2";
        on_tx!(&mut *self, |c| sqlx::query(SEEN).bind(id.uuid()).bind(stored(now)).execute(c).await.map(drop))?;
        Ok(on_tx!(self, |c| sqlx::query(Q).bind(id.uuid()).bind(stored(*until)).execute(c).await.map(drop))?)
    }
}
