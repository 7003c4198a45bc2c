//! Passkeys: whose a credential is, that its count of signatures never goes back, and what one that is shown alone opens.
//!
//! What an authenticator has to sign waits in a one-time token, or in the token of a login that has shown its first factor. It is used up
//! before the signature is looked at. What is signed is read by `admin-api`; here a count is accepted by one statement, as a code is (`factors`).

use chrono::{DateTime, Utc};
use identity::{AccountId, FactorId};
use sqlx_macros::FromRow;
use uuid::Uuid;

use crate::{
    Account, FactorProof, FactorRecord, Groups, NewSession, SessionSeed, ShownOneTime, Store, StoreError,
    db::{Tx, on, on_tx, stored},
};

/// What is known of a passkey once it has been made.
#[derive(Clone, Copy)]
pub struct NewPasskey<'a> {
    /// By what its authenticator knows it. No two accounts have one of the same.
    pub credential: &'a [u8],
    /// What it is checked with.
    pub sealed: &'a [u8],
    /// What its owner calls it; `None`: as it was called when it was begun.
    pub name: Option<&'a str>,
}

#[derive(FromRow)]
struct Owned {
    account_id: Uuid,
    #[sqlx(flatten)]
    record: FactorRecord,
}

// === impl Store ===

impl Store {
    /// The passkey that an authenticator knows by `credential`, and whose it is.
    pub async fn passkey(&self, credential: &[u8]) -> Result<Option<(AccountId, FactorRecord)>, StoreError> {
        const Q: &str = "SELECT account_id, id, kind, name, sealed, created_at, last_used_at FROM factors \
                         WHERE credential = $1 AND kind = 'passkey' AND confirmed_at IS NOT NULL";
        let row: Option<Owned> = self
            .bounded(async { on!(self, |pool| sqlx::query_as(Q).bind(credential).fetch_optional(pool).await) })
            .await?;
        Ok(row.map(|row| (AccountId::new(row.account_id), row.record)))
    }

    /// Writes down what an authenticator has to sign beside the token of a login that has shown its first factor, in the place of what stood
    /// there; says whether the token is good, and has been shown less than `most` times.
    pub async fn ask_beside(
        &self,
        shown: &ShownOneTime,
        sealed: &[u8],
        most: i64,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        const Q: &str = "UPDATE one_time_tokens SET sealed = $6 WHERE id = $1 AND purpose = $2 AND digest = $3 \
                         AND used_at IS NULL AND expires_at > $4 AND attempts < $5";
        self.bounded(async {
            let mut tx = self.begin().await?;
            let found = on_tx!(&mut tx, |c| sqlx::query(Q)
                .bind(shown.id)
                .bind(shown.purpose.word())
                .bind(shown.digest.as_bytes().as_slice())
                .bind(stored(now))
                .bind(most)
                .bind(sealed)
                .execute(c)
                .await
                .map(|done| done.rows_affected()))?;
            self.commit(tx).await?;
            Ok::<_, StoreError>(found > 0)
        })
        .await
    }

    /// Opens a session for whoever has shown a passkey; `None` if its count could not be accepted.
    pub async fn log_in_with_passkey(
        &self,
        account: &Account,
        proof: &FactorProof,
        seed: SessionSeed<'_>,
        now: DateTime<Utc>,
    ) -> Result<Option<Groups>, StoreError> {
        self.bounded(async {
            let mut tx = self.begin().await?;
            // The account before its factors, as whoever removes one takes them.
            let SessionSeed { id, proof: session, origin } = seed;
            let groups = tx.insert_session(&NewSession { id, account, proof: session, now, origin }).await?;
            if !tx.use_factor(account.id, proof, now).await? {
                return Ok(None);
            }
            self.commit(tx).await?;
            Ok::<_, StoreError>(Some(groups))
        })
        .await
    }
}

// === impl Tx ===

impl Tx {
    /// Accepts a count that is more than the last one. One that does not count says 0 for ever (Web Authentication §6.1.1).
    pub(crate) async fn use_passkey(
        &mut self,
        account: AccountId,
        factor: FactorId,
        count: i64,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        const Q: &str = "UPDATE factors SET counter = $3, last_used_at = $4 WHERE id = $1 AND account_id = $2 \
                         AND kind = 'passkey' AND confirmed_at IS NOT NULL AND (counter < $3 OR (counter = 0 AND $3 = 0))";
        let used = on_tx!(self, |c| sqlx::query(Q)
            .bind(factor.uuid())
            .bind(account.uuid())
            .bind(count)
            .bind(stored(now))
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(used > 0)
    }
}
