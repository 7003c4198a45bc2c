//! Session cookies: what a browser shows of a session in the place of tokens.
//!
//! One for each session that has one. It is good for as long as it is used now and then, and at last ends; the value is
//! changed where the session's rights change, so that nobody who had the old one has the new one.

use chrono::{DateTime, Utc};
use identity::{AccountId, SecretDigest, SessionId};

use crate::{
    Store, StoreError, Subject,
    db::{Tx, on_tx, stored},
};

/// A session's cookie.
#[derive(Clone, Copy)]
pub struct CookieTerms {
    /// The SHA-256 of its value.
    pub digest: SecretDigest,
    /// Until when it is good if it is not used before.
    pub idle_until: DateTime<Utc>,
    /// Until when it is good however often it is used.
    pub ends_at: DateTime<Utc>,
}

// === impl Store ===

impl Store {
    /// Gives a session another cookie; from then on the old one is worth nothing, and the last end stays where it is.
    /// [`StoreError::NotFound`] if the session has no cookie, or has ended.
    pub async fn change_cookie(
        &self,
        session: SessionId,
        digest: &SecretDigest,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.bounded(async {
            let mut tx = self.begin().await?;
            tx.change_cookie(session, digest).await?;
            self.commit_and_tell(tx, &[Subject::Session(session)], now).await
        })
        .await
    }

    /// Ends the session of a cookie that is left behind; one that is not, or no longer, good changes nothing.
    pub async fn leave_cookie(
        &self,
        session: SessionId,
        digest: &SecretDigest,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        const Q: &str = "UPDATE sessions SET ended_at = $3 WHERE id = $1 AND ended_at IS NULL \
                         AND EXISTS (SELECT 1 FROM session_cookies WHERE session_id = $1 AND digest = $2)";
        self.bounded(async {
            let mut tx = self.begin().await?;
            let ended = on_tx!(&mut tx, |c| sqlx::query(Q)
                .bind(session.uuid())
                .bind(digest.as_bytes().as_slice())
                .bind(stored(now))
                .execute(c)
                .await
                .map(|done| done.rows_affected()))?;
            let heard = (ended > 0).then_some(Subject::Session(session));
            self.commit_and_tell(tx, heard.as_slice(), now).await
        })
        .await
    }
}

// === impl Tx ===

impl Tx {
    pub(crate) async fn add_cookie(&mut self, session: SessionId, cookie: &CookieTerms) -> Result<(), StoreError> {
        const Q: &str = "INSERT INTO session_cookies (session_id, digest, idle_until, ends_at) VALUES ($1, $2, $3, $4)";
        Ok(on_tx!(self, |c| sqlx::query(Q)
            .bind(session.uuid())
            .bind(cookie.digest.as_bytes().as_slice())
            .bind(stored(cookie.idle_until))
            .bind(stored(cookie.ends_at))
            .execute(c)
            .await
            .map(drop))?)
    }

    /// [`StoreError::NotFound`] if the session has no cookie, or has ended.
    pub(crate) async fn change_cookie(&mut self, session: SessionId, digest: &SecretDigest) -> Result<(), StoreError> {
        const Q: &str = "UPDATE session_cookies SET digest = $2 WHERE session_id = $1 \
                         AND EXISTS (SELECT 1 FROM sessions WHERE id = $1 AND ended_at IS NULL)";
        let changed = on_tx!(self, |c| sqlx::query(Q)
            .bind(session.uuid())
            .bind(digest.as_bytes().as_slice())
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        if changed == 0 { Err(StoreError::NotFound) } else { Ok(()) }
    }

    /// Ends those of an account's sessions that have cookies.
    pub(crate) async fn end_cookies_of(
        &mut self,
        account: AccountId,
        now: DateTime<Utc>,
    ) -> Result<Vec<SessionId>, StoreError> {
        const Q: &str = "UPDATE sessions SET ended_at = $2 WHERE account_id = $1 AND ended_at IS NULL \
                         AND EXISTS (SELECT 1 FROM session_cookies WHERE session_id = sessions.id) RETURNING id";
        let ended: Vec<uuid::Uuid> =
            on_tx!(self, |c| sqlx::query_scalar(Q).bind(account.uuid()).bind(stored(now)).fetch_all(c).await)?;
        Ok(ended.into_iter().map(SessionId::new).collect())
    }
}
