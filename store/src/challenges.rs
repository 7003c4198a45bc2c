//! Log-ins that have yet to show a second factor: a token that says so, attempts counted, and the session that token and code buy; and
//! how sure it is who sits in a session.

use chrono::{DateTime, Utc};
use identity::{AccountId, OneTimePurpose, SecretDigest, SessionId};
use uuid::Uuid;

use crate::{
    Account, FactorProof, Groups, NewSession, OneTime, RefreshTerms, SessionSeed, ShownOneTime, Store, StoreError,
    Subject,
    db::{Tx, later, on, on_tx, stored},
};

/// A token for whoever has yet to show a second factor.
#[derive(Clone, Debug)]
pub struct ChallengeSeed {
    /// Its id.
    pub id: Uuid,
    /// Its digest.
    pub digest: SecretDigest,
    /// By what its owner has been known so far.
    pub sealed: Vec<u8>,
    /// When it is over.
    pub expires_at: DateTime<Utc>,
}

/// What a session is to be gone on with once its owner has shown more: whoever has a copy of what it was gone on with before is not to be
/// raised with them.
#[derive(Clone, Copy, Debug)]
pub struct Renewal {
    /// Id and digest of the next refresh token, where there may be one.
    pub refresh: Option<(Uuid, SecretDigest)>,
    /// The digest of the next cookie, where a browser has one.
    pub cookie: Option<SecretDigest>,
    /// How long the refresh token serves.
    pub terms: RefreshTerms,
}

/// What it is gone on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renewed {
    /// The generation of the access tokens to come.
    pub generation: u32,
    /// Is the next refresh token in force? Not in a session that had none.
    pub refreshes: bool,
}

/// What came of a second factor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FactorLogin {
    /// The session is open.
    Opened(Groups),
    /// The code had been used.
    Used,
    /// The token is no good any more.
    TokenGone,
}

macro_rules! add_challenge {
    () => {
        "INSERT INTO one_time_tokens (id, purpose, account_id, address, digest, sealed, created_at, expires_at) \
         SELECT $1, $2, id, $4, $5, $6, $7, $8 FROM accounts WHERE id = $3 AND status = 'active' AND updated_at = $9"
    };
}

// === impl Store ===

impl Store {
    /// Notes that the person behind a session has shown anew who they are, and how. Its access and refresh tokens end with that. Whoever keeps
    /// what is known of the session hears of it; [`StoreError::NotFound`] if it is not this account's, or has ended.
    pub async fn reauthenticate(
        &self,
        account: AccountId,
        id: SessionId,
        amr: &str,
        renewal: Renewal,
        now: DateTime<Utc>,
    ) -> Result<Renewed, StoreError> {
        self.bounded(async {
            let mut tx = self.begin().await?;
            tx.authenticate_session(id, account, amr, now).await?;
            let renewed = tx.renew(id, renewal, now).await?;
            self.commit_and_tell(tx, &[Subject::Session(id)], now).await?;
            Ok::<_, StoreError>(renewed)
        })
        .await
    }

    /// When, if that is known, and how the person behind a session has last shown who they are; `None` if it has ended: what was shown in it
    /// proves nobody any more.
    pub async fn authentication(&self, id: SessionId) -> Result<Option<(Option<DateTime<Utc>>, String)>, StoreError> {
        const Q: &str = "SELECT auth_time, amr FROM sessions WHERE id = $1 AND ended_at IS NULL";
        let row: Option<(Option<DateTime<Utc>>, Option<String>)> = self
            .bounded(async { on!(self, |pool| sqlx::query_as(Q).bind(id.uuid()).fetch_optional(pool).await) })
            .await?;
        Ok(row.map(|(at, amr)| (at, amr.unwrap_or_default())))
    }

    /// Notes that somebody has yet to show a second factor; [`StoreError::Conflict`] if the account has changed since they have shown the first.
    pub async fn challenge(
        &self,
        account: &Account,
        address: &str,
        seed: &ChallengeSeed,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.bounded(async {
            let mut tx = self.begin().await?;
            tx.challenge(account, address, seed, now).await?;
            self.commit(tx).await
        })
        .await
    }

    /// Counts one attempt of whoever shows a token, before what is shown beside it is looked at; `None` if it is no good, or was shown
    /// `most` times.
    pub async fn take_attempt(
        &self,
        shown: &ShownOneTime,
        most: i64,
        now: DateTime<Utc>,
    ) -> Result<Option<OneTime>, StoreError> {
        const Q: &str = "UPDATE one_time_tokens SET attempts = attempts + 1 WHERE id = $1 AND purpose = $2 AND digest = $3 \
                         AND used_at IS NULL AND expires_at > $4 AND attempts < $5 RETURNING account_id, address, sealed";
        self.bounded(async {
            let mut tx = self.begin().await?;
            let found: Option<OneTime> = on_tx!(&mut tx, |c| sqlx::query_as(Q)
                .bind(shown.id)
                .bind(shown.purpose.word())
                .bind(shown.digest.as_bytes().as_slice())
                .bind(stored(now))
                .bind(most)
                .fetch_optional(c)
                .await)?;
            self.commit(tx).await?;
            Ok::<_, StoreError>(found)
        })
        .await
    }

    /// Uses a token and a proof to open a session: both are used, or neither.
    pub async fn log_in_with_factor(
        &self,
        shown: &ShownOneTime,
        account: &Account,
        proof: &FactorProof,
        seed: SessionSeed<'_>,
        now: DateTime<Utc>,
    ) -> Result<FactorLogin, StoreError> {
        self.bounded(async {
            let mut tx = self.begin().await?;
            // The account before its tokens, as whoever ends those takes them.
            tx.lock_account(account.id).await?;
            let token = tx.use_one_time(shown, now).await?;
            if token.and_then(|token| token.account()) != Some(account.id) {
                return Ok(FactorLogin::TokenGone);
            }
            // The account before its factors, as whoever removes one takes them.
            let SessionSeed { id, proof: session, origin } = seed;
            let groups = tx.insert_session(&NewSession { id, account, proof: session, now, origin }).await?;
            if !tx.use_factor(account.id, proof, now).await? {
                return Ok(FactorLogin::Used);
            }
            self.commit(tx).await?;
            Ok::<_, StoreError>(FactorLogin::Opened(groups))
        })
        .await
    }
}

// === impl Tx ===

impl Tx {
    /// Notes how the person behind a session is known now.
    pub(crate) async fn authenticate_session(
        &mut self,
        id: SessionId,
        account: AccountId,
        amr: &str,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        const Q: &str =
            "UPDATE sessions SET auth_time = $3, amr = $4 WHERE id = $1 AND account_id = $2 AND ended_at IS NULL";
        let found = on_tx!(self, |c| sqlx::query(Q)
            .bind(id.uuid())
            .bind(account.uuid())
            .bind(stored(now))
            .bind(amr)
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        if found == 0 { Err(StoreError::NotFound) } else { Ok(()) }
    }

    /// Ends the tokens of a session, or its cookie, and puts the next refresh token in force if it had one, or the next cookie. The session is
    /// held, as by whoever refreshes it: what that has put in force ends too.
    pub(crate) async fn renew(
        &mut self,
        id: SessionId,
        renewal: Renewal,
        now: DateTime<Utc>,
    ) -> Result<Renewed, StoreError> {
        const NEXT: &str =
            "UPDATE sessions SET generation = generation + 1 WHERE id = $1 RETURNING generation, created_at";
        const END: &str = "UPDATE refresh_tokens SET expires_at = $2 WHERE session_id = $1 AND expires_at > $2";
        let (generation, since): (i64, DateTime<Utc>) =
            on_tx!(&mut *self, |c| sqlx::query_as(NEXT).bind(id.uuid()).fetch_one(c).await)?;
        let ended = on_tx!(&mut *self, |c| sqlx::query(END)
            .bind(id.uuid())
            .bind(stored(now))
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        let next = renewal.refresh.filter(|_| ended > 0);
        if let Some(next) = &next {
            let RefreshTerms { ttl, session_life, .. } = renewal.terms;
            let until = later(now, ttl).min(later(since, session_life));
            self.add_refresh_token(id, next, now, until).await?;
        }
        if let Some(next) = &renewal.cookie {
            self.change_cookie(id, next).await?;
        }
        Ok(Renewed { generation: u32::try_from(generation).unwrap_or(u32::MAX), refreshes: next.is_some() })
    }

    /// What a factor has shown that is none any more counts no longer in a session.
    pub(crate) async fn forget_second_factor(&mut self, id: SessionId) -> Result<(), StoreError> {
        const AMR: &str = "SELECT amr FROM sessions WHERE id = $1";
        const Q: &str = "UPDATE sessions SET amr = $2 WHERE id = $1";
        let amr: Option<Option<String>> =
            on_tx!(&mut *self, |c| sqlx::query_scalar(AMR).bind(id.uuid()).fetch_optional(c).await)?;
        let Some(amr) = amr.flatten() else { return Ok(()) };
        let is_left = |word: &&str| !matches!(*word, "otp" | "hwk" | "mfa");
        let left = amr.split(' ').filter(is_left).collect::<Vec<_>>().join(" ");
        Ok(on_tx!(self, |c| sqlx::query(Q).bind(id.uuid()).bind(left).execute(c).await.map(drop))?)
    }

    /// As a session is begun: whoever has shown a password that is another one now is asked for nothing more, and gets nothing.
    pub(crate) async fn challenge(
        &mut self,
        account: &Account,
        address: &str,
        seed: &ChallengeSeed,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        const LITE: &str = add_challenge!();
        const PG: &str = concat!(add_challenge!(), " FOR SHARE");
        let statement = if matches!(self, Self::Pg(_)) { PG } else { LITE };
        let added = on_tx!(&mut *self, |c| sqlx::query(statement)
            .bind(seed.id)
            .bind(OneTimePurpose::SecondFactor.word())
            .bind(account.id.uuid())
            .bind(address)
            .bind(seed.digest.as_bytes().as_slice())
            .bind(seed.sealed.as_slice())
            .bind(stored(now))
            .bind(stored(seed.expires_at))
            .bind(stored(account.updated_at))
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        if added == 0 { Err(self.changed_meanwhile(account.id).await?) } else { Ok(()) }
    }
}
