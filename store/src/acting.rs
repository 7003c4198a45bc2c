//! Sessions behind which their owner is not: what machines buy with keys, and what administrators do as somebody else. They end with what
//! gave the right to them.

use chrono::{DateTime, Utc};
use identity::{AccountId, KeyId, SessionId};
use uuid::Uuid;

use crate::{
    Account, NewSession, Store, StoreError, Subject,
    accounts::CHANGED_MEANWHILE,
    db::{Tx, on_tx, stored},
};

/// By what a session has begun that a machine has bought with a key.
pub const MACHINE: &str = "client_credentials";

/// The key $1, if it may be used for as long as what was bought with it, the session $2.
macro_rules! paying_key {
    () => {
        "SELECT id FROM api_keys WHERE id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at >= \
         (SELECT MAX(t.expires_at) FROM refresh_tokens t WHERE t.session_id = $2))"
    };
}

// === impl Store ===

impl Store {
    /// Opens a session for a machine that has shown this key; [`StoreError::NotFound`] if the key has just been revoked, or rotated and ends
    /// before the session: whoever does that ends or shortens what it has bought, and waits for this one or is waited for.
    pub async fn open_bought_session(&self, new: NewSession<'_>, key: KeyId) -> Result<(), StoreError> {
        const LITE: &str = paying_key!();
        const PG: &str = concat!(paying_key!(), " FOR SHARE");
        self.bounded(async {
            let mut tx = self.begin().await?;
            // The account before its keys, as whoever revokes one that is somebody else's takes them: a session that no key has bought is not
            // committed.
            tx.insert_session(&new).await?;
            let statement = if matches!(tx, Tx::Pg(_)) { PG } else { LITE };
            let key: Option<Uuid> = on_tx!(&mut tx, |c| sqlx::query_scalar(statement)
                .bind(key.uuid())
                .bind(new.id.uuid())
                .fetch_optional(c)
                .await)?;
            key.ok_or(StoreError::NotFound)?;
            self.commit(tx).await
        })
        .await
    }
}

// === impl Tx ===

impl Tx {
    /// Ends an account's sessions but perhaps one, those too in which it acts as others; gives those that it ended. Of the latter the door
    /// hears by the account as well.
    pub(crate) async fn end_sessions_of(
        &mut self,
        account: AccountId,
        keep: Option<SessionId>,
        now: DateTime<Utc>,
    ) -> Result<Vec<SessionId>, StoreError> {
        const Q: &str = "UPDATE sessions SET ended_at = $3 WHERE (account_id = $1 OR actor_id = $1) AND id <> $2 \
                         AND ended_at IS NULL RETURNING id";
        let keep = keep.map_or(Uuid::nil(), |keep| keep.uuid());
        let ended: Vec<Uuid> = on_tx!(self, |c| sqlx::query_scalar(Q)
            .bind(account.uuid())
            .bind(keep)
            .bind(stored(now))
            .fetch_all(c)
            .await)?;
        Ok(ended.into_iter().map(SessionId::new).collect())
    }

    /// Whoever begins to act as somebody still has the right that was weighed: whoever takes it away waits for this one, or is waited for. Whom
    /// they act as is held with them, both in one order: so does whoever deletes an organisation of both.
    pub(crate) async fn hold_actor(&mut self, actor: &Account, owner: AccountId) -> Result<(), StoreError> {
        const LITE: &str =
            "SELECT id FROM accounts WHERE id = $3 OR (id = $1 AND status = 'active' AND updated_at = $2)";
        const PG: &str = "SELECT id FROM accounts WHERE id = $3 OR (id = $1 AND status = 'active' AND updated_at = $2) \
                          ORDER BY id FOR SHARE";
        let statement = if matches!(self, Self::Pg(_)) { PG } else { LITE };
        let held: Vec<Uuid> = on_tx!(self, |c| sqlx::query_scalar(statement)
            .bind(actor.id.uuid())
            .bind(stored(actor.updated_at))
            .bind(owner.uuid())
            .fetch_all(c)
            .await)?;
        if held.contains(&actor.id.uuid()) { Ok(()) } else { Err(CHANGED_MEANWHILE) }
    }

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

    /// Lets what a machine has bought with its keys end no later than `until`, when one of them does; gives what is to be heard of it.
    pub(crate) async fn shorten_bought_with_keys(
        &mut self,
        account: AccountId,
        until: DateTime<Utc>,
    ) -> Result<Vec<Subject>, StoreError> {
        const Q: &str = "UPDATE refresh_tokens SET expires_at = $2 WHERE expires_at > $2 AND session_id IN \
                         (SELECT id FROM sessions WHERE account_id = $1 AND method = $3 AND ended_at IS NULL) RETURNING session_id";
        let shortened: Vec<Uuid> = on_tx!(self, |c| sqlx::query_scalar(Q)
            .bind(account.uuid())
            .bind(stored(until))
            .bind(MACHINE)
            .fetch_all(c)
            .await)?;
        Ok(shortened.into_iter().map(|id| Subject::Session(SessionId::new(id))).collect())
    }
}
