//! With whom people log in: subjects of login providers, and how they come to be an account's and cease to be.
//!
//! They are the same records as those of external issuers (`external`): who a subject is does not depend on the way it comes.

use chrono::{DateTime, Utc};
use identity::{AccountId, ExternalId, PasswordHash, SessionId};
use sqlx_macros::FromRow;
use uuid::Uuid;

use crate::{
    Account, ExternalSubject, NewAccount, NewMail, ShownOneTime, Store, StoreError, Subject,
    db::{Tx, on, on_tx, stored},
};

/// A subject that is an account's.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct IdentityRecord {
    id: Uuid,
    /// `iss`.
    pub issuer: String,
    /// `sub`.
    pub subject: String,
    /// The address that was said last.
    pub email: Option<String>,
    /// Since when it is the account's.
    pub created_at: DateTime<Utc>,
    /// When somebody last logged in so.
    pub last_used_at: Option<DateTime<Utc>>,
}

/// What a login provider says of somebody.
#[derive(Clone, Copy, Debug)]
pub struct NewIdentity<'a> {
    /// `iss`.
    pub issuer: &'a str,
    /// `sub`.
    pub subject: &'a str,
    /// The address that the provider has verified.
    pub email: &'a str,
}

/// By whose word people come in: the issuers of the providers at which they log in, and those whose tokens are believed.
#[derive(Clone, Copy, Debug)]
pub struct Believed<'a> {
    /// `iss` of login providers.
    pub providers: &'a [&'a str],
    /// `iss` of those who sign tokens.
    pub issuers: &'a [&'a str],
}

/// What has come of unlinking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unlinked {
    /// It is no way in any more.
    Done,
    /// It is the only way in that the account has; nothing has changed.
    LastWayIn,
}

// === impl Store ===

impl Store {
    /// Every subject that is an account's, the oldest first; those of issuers and old systems too.
    pub async fn identities(&self, account: AccountId) -> Result<Vec<IdentityRecord>, StoreError> {
        const Q: &str = "SELECT id, issuer, subject, email, created_at, last_used_at FROM external_identities \
                         WHERE account_id = $1 ORDER BY created_at, id";
        self.bounded(async { on!(self, |pool| sqlx::query_as(Q).bind(account.uuid()).fetch_all(pool).await) }).await
    }

    /// Notes that somebody has logged in so.
    pub async fn identity_used(
        &self,
        id: ExternalId,
        email: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        const Q: &str = "UPDATE external_identities SET last_used_at = $2, email = COALESCE($3, email) WHERE id = $1";
        self.bounded(async {
            let mut tx = self.begin().await?;
            on_tx!(&mut tx, |c| sqlx::query(Q)
                .bind(id.uuid())
                .bind(stored(now))
                .bind(email)
                .execute(c)
                .await
                .map(drop))?;
            self.commit(tx).await
        })
        .await
    }

    /// Makes an account for a subject that has none; [`StoreError::EmailTaken`] if the
    /// address has one, and [`StoreError::Conflict`] if somebody else has just done the same.
    pub async fn create_with_identity(
        &self,
        new: NewAccount<'_>,
        identity: NewIdentity<'_>,
    ) -> Result<Account, StoreError> {
        self.bounded(async {
            let (id, now) = (new.id, new.now);
            let mut tx = self.begin().await?;
            tx.insert_account(new).await?;
            let heard = tx.insert_identity(id, identity, None, now).await?;
            let account = tx.account(id).await?.ok_or(StoreError::NotFound)?;
            self.commit_and_tell(tx, &[heard], now).await?;
            Ok::<_, StoreError>(account)
        })
        .await
    }

    /// Uses a token to link a subject to an account whose owner has agreed in a session, and tells them. `false` if the token is no good,
    /// the session has ended or the account is disabled, and [`StoreError::Conflict`] if the subject is an account's already.
    pub async fn link_identity(
        &self,
        shown: &ShownOneTime,
        (account, session): (AccountId, SessionId),
        identity: NewIdentity<'_>,
        notice: &NewMail,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        self.bounded(async {
            let mut tx = self.begin().await?;
            // The account is held: nobody disables it, or ends the session, between the look and the deed.
            tx.touch_account(account, now).await?;
            if !tx.is_in(account, session).await? || tx.use_one_time(shown, now).await?.is_none() {
                return Ok(false);
            }
            let heard = tx.insert_identity(account, identity, Some(now), now).await?;
            // Who agrees has thought better of it.
            tx.allow_issuer(account, identity.issuer).await?;
            tx.post(notice).await?;
            self.commit_and_tell(tx, &[heard], now).await?;
            Ok::<_, StoreError>(true)
        })
        .await
    }

    /// Takes a subject away from an account, tells the owner, and ends every other session: whoever is that subject may sit in one. An issuer
    /// whose tokens are believed is refused from then on: else its next token could link the two again. Of an account without a password
    /// the last provider's stays, and whatever is the last of them all. [`StoreError::NotFound`] if the account has no such one.
    pub async fn unlink_identity(
        &self,
        (account, session): (AccountId, SessionId),
        id: ExternalId,
        believed: Believed<'_>,
        notice: &NewMail,
        now: DateTime<Utc>,
    ) -> Result<Unlinked, StoreError> {
        const LINKED: &str = "SELECT id, issuer FROM external_identities WHERE account_id = $1";
        const PASSWORD: &str = "SELECT password_hash FROM accounts WHERE id = $1";
        const Q: &str = "DELETE FROM external_identities WHERE id = $1 AND account_id = $2";
        self.bounded(async {
            let mut tx = self.begin().await?;
            // The account is held: of two who unlink its last two subjects at once, the second finds one left.
            tx.touch_account(account, now).await?;
            let linked: Vec<(Uuid, String)> =
                on_tx!(&mut tx, |c| sqlx::query_as(LINKED).bind(account.uuid()).fetch_all(c).await)?;
            let (ways, of_issuer) = believed.ways_beside(&linked, id).ok_or(StoreError::NotFound)?;
            let hash: String =
                on_tx!(&mut tx, |c| sqlx::query_scalar(PASSWORD).bind(account.uuid()).fetch_one(c).await)?;
            if ways == 0 && PasswordHash::from(hash).is_of_nothing() {
                return Ok(Unlinked::LastWayIn);
            }
            on_tx!(&mut tx, |c| sqlx::query(Q).bind(id.uuid()).bind(account.uuid()).execute(c).await.map(drop))?;
            if let Some(issuer) = of_issuer {
                tx.refuse_issuer(account, (issuer, id), now).await?;
            }
            // Who has come that way may be about to show a second factor.
            tx.void_and_tell(account, notice, now).await?;
            tx.end_sessions_of(account, Some(session), now).await?;
            self.commit_and_tell(tx, &[Subject::External(id), Subject::Account(account)], now).await?;
            Ok::<_, StoreError>(Unlinked::Done)
        })
        .await
    }
}

// === impl Tx ===

impl Tx {
    /// Is the account active, and somebody in it in this session?
    pub(crate) async fn is_in(&mut self, account: AccountId, session: SessionId) -> Result<bool, StoreError> {
        const Q: &str = "SELECT COUNT(*) FROM accounts a JOIN sessions s ON s.account_id = a.id \
                         WHERE a.id = $1 AND a.status = 'active' AND s.id = $2 AND s.ended_at IS NULL";
        let found: i64 =
            on_tx!(self, |c| sqlx::query_scalar(Q).bind(account.uuid()).bind(session.uuid()).fetch_one(c).await)?;
        Ok(found == 1)
    }

    async fn insert_identity(
        &mut self,
        account: AccountId,
        identity: NewIdentity<'_>,
        consented_at: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Result<Subject, StoreError> {
        const Q: &str = "UPDATE external_identities SET email = $2, consented_at = $3 WHERE id = $1";
        const LINKED: &str =
            "SELECT COUNT(*) FROM external_identities WHERE id = $1 AND account_id = $2 AND consented_at IS NULL";
        let NewIdentity { issuer, subject, email } = identity;
        let id = ExternalId::of(issuer, subject);
        // The owner agrees to what an issuer was allowed to do without.
        let linked: i64 =
            on_tx!(&mut *self, |c| sqlx::query_scalar(LINKED).bind(id.uuid()).bind(account.uuid()).fetch_one(c).await)?;
        let heard = match linked {
            0 => self.insert_external(account, ExternalSubject { issuer, subject, claims_at: None }, now).await?,
            _ => Subject::External(id),
        };
        on_tx!(self, |c| sqlx::query(Q)
            .bind(id.uuid())
            .bind(email)
            .bind(consented_at.map(stored))
            .execute(c)
            .await
            .map(drop))?;
        Ok(heard)
    }
}

// === impl Believed ===

impl<'a> Believed<'a> {
    /// How many of an account's subjects are ways in besides this one, and by which issuer's tokens it comes itself, if it does; `None` if it
    /// is none. Who comes by tokens alone is no match for who logs in at a provider: the last one of those may be all that opens the pages.
    fn ways_beside(&self, linked: &'a [(Uuid, String)], id: ExternalId) -> Option<(usize, Option<&'a str>)> {
        let (_, issuer) = linked.iter().find(|(own, _)| *own == id.uuid())?;
        let (by_login, by_token) = (self.providers.contains(&&**issuer), self.issuers.contains(&&**issuer));
        if !by_login && !by_token {
            return None;
        }
        let counts = |other: &str| self.providers.contains(&other) || !by_login && self.issuers.contains(&other);
        let beside = linked.iter().filter(|(own, other)| *own != id.uuid() && counts(other)).count();
        Some((beside, by_token.then_some(&**issuer)))
    }
}

// === impl IdentityRecord ===

impl IdentityRecord {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> ExternalId {
        self.id.into()
    }
}
