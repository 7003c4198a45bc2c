//! Sessions behind which their owner is not: what machines buy with keys, and what administrators do as somebody else. They end with what
//! gave the right to them.

use chrono::{DateTime, Utc};
use identity::{AccountId, KeyId, SessionId};
use uuid::Uuid;

use crate::{
    NewSession, Store, StoreError, Subject,
    db::{Tx, on_tx, stored},
};

/// By what a session has begun that a machine has bought with a key.
pub const MACHINE: &str = "client_credentials";

// === impl Store ===

impl Store {
    /// Opens a session for a machine that has shown this key; [`StoreError::NotFound`] if the key has just been revoked: whoever revokes it
    /// ends what it has bought, and waits for this one or is waited for.
    pub async fn open_bought_session(&self, new: NewSession<'_>, key: KeyId) -> Result<(), StoreError> {
        const LITE: &str = "SELECT id FROM api_keys WHERE id = $1 AND revoked_at IS NULL";
        const PG: &str = "SELECT id FROM api_keys WHERE id = $1 AND revoked_at IS NULL FOR SHARE";
        self.bounded(async {
            let mut tx = self.begin().await?;
            let statement = if matches!(tx, Tx::Pg(_)) { PG } else { LITE };
            let key: Option<Uuid> =
                on_tx!(&mut tx, |c| sqlx::query_scalar(statement).bind(key.uuid()).fetch_optional(c).await)?;
            key.ok_or(StoreError::NotFound)?;
            tx.insert_session(&new).await?;
            self.commit(tx, &[], new.now).await
        })
        .await
    }
}

// === impl Tx ===

impl Tx {
    /// Ends the sessions in which somebody acts as others, and those in which others act as them: the rights of both were weighed when they
    /// began.
    pub(crate) async fn end_impersonations(
        &mut self,
        account: AccountId,
        now: DateTime<Utc>,
    ) -> Result<Vec<SessionId>, StoreError> {
        const Q: &str = "UPDATE sessions SET ended_at = $2 WHERE ended_at IS NULL \
                         AND (actor_id = $1 OR (account_id = $1 AND actor_id IS NOT NULL)) RETURNING id";
        let ended: Vec<Uuid> =
            on_tx!(self, |c| sqlx::query_scalar(Q).bind(account.uuid()).bind(stored(now)).fetch_all(c).await)?;
        Ok(ended.into_iter().map(SessionId::new).collect())
    }

    /// Ends what a machine has bought with its keys: which key it was is not kept, and with the next one it buys anew.
    pub(crate) async fn end_bought_with_keys(
        &mut self,
        account: AccountId,
        now: DateTime<Utc>,
    ) -> Result<Vec<Subject>, StoreError> {
        // What has expired needs no end: there may be many of them.
        const Q: &str = "UPDATE sessions SET ended_at = $2 WHERE account_id = $1 AND method = $3 AND ended_at IS NULL AND EXISTS \
                         (SELECT 1 FROM refresh_tokens WHERE session_id = sessions.id AND expires_at > $2) RETURNING id";
        let ended: Vec<Uuid> = on_tx!(self, |c| sqlx::query_scalar(Q)
            .bind(account.uuid())
            .bind(stored(now))
            .bind(MACHINE)
            .fetch_all(c)
            .await)?;
        Ok(ended.into_iter().map(|id| Subject::Session(SessionId::new(id))).collect())
    }
}
