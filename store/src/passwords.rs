//! Passwords of accounts: their hashes, made anew or replaced.

use chrono::{DateTime, Utc};
use identity::{AccountId, PasswordHash, SessionId};

use crate::{
    Account, NewMail, Store, StoreError, Subject,
    db::{on, on_tx, stored},
};

// === impl Store ===

impl Store {
    /// The hash of an account's password.
    pub async fn password_hash(&self, id: AccountId) -> Result<Option<PasswordHash>, StoreError> {
        const Q: &str = "SELECT password_hash FROM accounts WHERE id = $1";
        let hash: Option<String> = self
            .bounded(async { on!(self, |pool| sqlx::query_scalar(Q).bind(id.uuid()).fetch_optional(pool).await) })
            .await?;
        Ok(hash.map(PasswordHash::from))
    }

    /// Stores the hash of the same password made anew. Nobody needs to hear of it. Does nothing if the account is no longer
    /// what it was when the password was checked: a password changed in between must not be undone.
    pub async fn rehash_password(&self, checked: &Account, hash: PasswordHash) -> Result<(), StoreError> {
        const Q: &str = "UPDATE accounts SET password_hash = $2 WHERE id = $1 AND updated_at = $3";
        let (id, seen) = (checked.id.uuid(), stored(checked.updated_at));
        self.bounded(async {
            let mut tx = self.begin().await?;
            on_tx!(&mut tx, |c| sqlx::query(Q).bind(id).bind(hash.as_str()).bind(seen).execute(c).await.map(drop))?;
            self.commit(tx).await
        })
        .await
    }

    /// Stores a new password, tells its owner by mail, and ends the account's sessions, all but one perhaps, and what was sent to
    /// buy another password, unless it is changed too often to be told of; [`StoreError::Conflict`] if the password
    /// is no longer the one that was checked: of two who change it at once, one knows the old one no more.
    pub async fn set_password(
        &self,
        id: AccountId,
        checked: &PasswordHash,
        hash: PasswordHash,
        keep: Option<SessionId>,
        notice: &NewMail,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        const Q: &str = "UPDATE accounts SET password_hash = $2, updated_at = $3 WHERE id = $1 AND password_hash = $4";
        self.bounded(async {
            let mut tx = self.begin().await?;
            let changed = on_tx!(&mut tx, |c| sqlx::query(Q)
                .bind(id.uuid())
                .bind(hash.as_str())
                .bind(stored(now))
                .bind(checked.as_str())
                .execute(c)
                .await
                .map(|done| done.rows_affected()))?;
            if changed == 0 {
                tx.account(id).await?.ok_or(StoreError::NotFound)?;
                return Err(StoreError::Conflict("the password was changed at the same moment; try again"));
            }
            tx.void_and_tell(id, notice, now).await?;
            let mut heard = vec![Subject::Account(id)];
            heard.extend(tx.end_sessions_of(id, keep, now).await?.into_iter().map(Subject::Session));
            self.commit_and_tell(tx, &heard, now).await
        })
        .await
    }
}
