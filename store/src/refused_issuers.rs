//! Issuers whose link to an account its owner has taken away. An issuer that may link by its own word (`link_verified_email`) would do so again
//! with the next token; the owner's word counts more.

use chrono::{DateTime, Utc};
use identity::{AccountId, ExternalId};
use sqlx_macros::FromRow;
use uuid::Uuid;

use crate::{
    Store, StoreError, Subject,
    db::{Tx, on, on_tx, stored},
};

/// An issuer that an account's owner has refused.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct RefusedIssuer {
    identity: Uuid,
    /// `iss`.
    pub issuer: String,
    /// Since when.
    pub refused_at: DateTime<Utc>,
}

// === impl Store ===

impl Store {
    /// The issuers that an account's owner has refused, the first one first.
    pub async fn refused_issuers(&self, account: AccountId) -> Result<Vec<RefusedIssuer>, StoreError> {
        const Q: &str = "SELECT identity, issuer, refused_at FROM refused_issuers WHERE account_id = $1 ORDER BY refused_at, issuer";
        self.bounded(async { on!(self, |pool| sqlx::query_as(Q).bind(account.uuid()).fetch_all(pool).await) }).await
    }

    /// Takes back that an issuer is refused; [`StoreError::NotFound`] if the account's owner has taken no such link away. The door hears of it, which
    /// may have refused the subject a moment before.
    pub async fn allow_issuer(&self, account: AccountId, id: ExternalId, now: DateTime<Utc>) -> Result<(), StoreError> {
        const Q: &str = "DELETE FROM refused_issuers WHERE account_id = $1 AND identity = $2";
        self.bounded(async {
            let mut tx = self.begin().await?;
            let gone = on_tx!(&mut tx, |c| sqlx::query(Q)
                .bind(account.uuid())
                .bind(id.uuid())
                .execute(c)
                .await
                .map(|done| done.rows_affected()))?;
            if gone == 0 {
                return Err(StoreError::NotFound);
            }
            self.commit_and_tell(tx, &[Subject::External(id)], now).await
        })
        .await
    }
}

// === impl Tx ===

impl Tx {
    pub(crate) async fn refuse_issuer(
        &mut self,
        account: AccountId,
        (issuer, id): (&str, ExternalId),
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        const Q: &str = "INSERT INTO refused_issuers (account_id, issuer, identity, refused_at) VALUES ($1, $2, $3, $4) \
                         ON CONFLICT (account_id, issuer) DO UPDATE SET identity = excluded.identity, refused_at = excluded.refused_at";
        Ok(on_tx!(self, |c| sqlx::query(Q)
            .bind(account.uuid())
            .bind(issuer)
            .bind(id.uuid())
            .bind(stored(now))
            .execute(c)
            .await
            .map(drop))?)
    }

    pub(crate) async fn allow_issuer(&mut self, account: AccountId, issuer: &str) -> Result<(), StoreError> {
        const Q: &str = "DELETE FROM refused_issuers WHERE account_id = $1 AND issuer = $2";
        Ok(on_tx!(self, |c| sqlx::query(Q).bind(account.uuid()).bind(issuer).execute(c).await.map(drop))?)
    }
}

// === impl RefusedIssuer ===

impl RefusedIssuer {
    /// The link that was taken away.
    #[must_use]
    pub fn id(&self) -> ExternalId {
        self.identity.into()
    }
}
