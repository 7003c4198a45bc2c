//! Second factors and recovery codes: what somebody shows besides a password, and that each serves once.
//!
//! A code is used by one statement that finds a later step than the last one accepted, or does not find it: of two who show the same code,
//! on whatever nodes, one succeeds. What it buys is part of the same transaction (`challenges`). Which step a code is of is `identity`'s to say.

use chrono::{DateTime, Utc};
use identity::{AccountId, FactorId, SecretDigest, SessionId};
use sqlx_macros::FromRow;
use uuid::Uuid;

mod kind;
mod name;

pub use self::kind::FactorKind;
use crate::{
    NewMail, NewPasskey, Over, Renewal, Renewed, Store, StoreError, Subject,
    db::{Tx, on, on_tx, stored},
};

/// Factors that an account may have.
const MOST: i64 = 10;

/// A factor to be added.
pub struct NewFactor<'a> {
    /// Its id.
    pub id: FactorId,
    /// Whose.
    pub account: AccountId,
    /// What it is.
    pub kind: FactorKind,
    /// What its owner calls it.
    pub name: Option<&'a str>,
    /// What it is checked with.
    pub sealed: Vec<u8>,
    /// The time.
    pub now: DateTime<Utc>,
}

/// A factor.
#[derive(Clone, Debug, FromRow)]
pub struct FactorRecord {
    id: Uuid,
    /// What it is.
    pub kind: FactorKind,
    /// What its owner calls it.
    pub name: Option<String>,
    /// What it is checked with.
    pub sealed: Vec<u8>,
    /// When it was added.
    pub created_at: DateTime<Utc>,
    /// When it was last used.
    pub last_used_at: Option<DateTime<Utc>>,
}

/// What was shown, and found to be right as far as can be told without having kept count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FactorProof {
    /// A code of this step.
    Code {
        /// Which authenticator showed it.
        factor: FactorId,
        /// When.
        step: i64,
    },
    /// A signature of a passkey.
    Passkey {
        /// Which.
        factor: FactorId,
        /// How many it says it has made; 0 from one that does not count.
        count: i64,
    },
    /// A recovery code.
    Recovery(SecretDigest),
}

/// A factor that has shown its first code.
pub struct Confirmation<'a> {
    /// Which.
    pub factor: FactorId,
    /// Whose.
    pub account: AccountId,
    /// The step of the code, or the count of signatures.
    pub step: i64,
    /// What is known of it only now, if it is a passkey.
    pub passkey: Option<NewPasskey<'a>>,
    /// Digests of recovery codes, kept if the account has none that can be used.
    pub recovery: &'a [SecretDigest],
    /// The session in which it was shown, and by which methods its owner is known in it now.
    pub session: (SessionId, &'a str),
    /// What the session is gone on with.
    pub renewal: Renewal,
    /// What its owner is told.
    pub notice: &'a NewMail,
    /// The time.
    pub now: DateTime<Utc>,
}

// === impl Store ===

impl Store {
    /// Adds a factor that is none before it is confirmed, in the place of another one of its kind that never was.
    pub async fn begin_factor(&self, new: &NewFactor<'_>) -> Result<(), StoreError> {
        const FORGET: &str = "DELETE FROM factors WHERE account_id = $1 AND kind = $2 AND confirmed_at IS NULL";
        const COUNT: &str = "SELECT COUNT(*) FROM factors WHERE account_id = $1";
        const Q: &str = "INSERT INTO factors (id, account_id, kind, name, sealed, counter, created_at) \
                         VALUES ($1, $2, $3, $4, $5, 0, $6)";
        let account = new.account.uuid();
        self.bounded(async {
            let mut tx = self.begin().await?;
            tx.lock_account(new.account).await?;
            on_tx!(&mut tx, |c| sqlx::query(FORGET).bind(account).bind(new.kind.word()).execute(c).await.map(drop))?;
            let count: i64 = on_tx!(&mut tx, |c| sqlx::query_scalar(COUNT).bind(account).fetch_one(c).await)?;
            if count >= MOST {
                return Err(StoreError::Conflict("the account has ten second factors already; remove one first"));
            }
            on_tx!(&mut tx, |c| sqlx::query(Q)
                .bind(new.id.uuid())
                .bind(account)
                .bind(new.kind.word())
                .bind(new.name)
                .bind(&new.sealed)
                .bind(stored(new.now))
                .execute(c)
                .await
                .map(drop))?;
            self.commit(tx).await
        })
        .await
    }

    /// The factor that waits to be confirmed, if it was added after `since`.
    pub async fn pending_factor(
        &self,
        account: AccountId,
        kind: FactorKind,
        since: DateTime<Utc>,
    ) -> Result<Option<FactorRecord>, StoreError> {
        const Q: &str = "SELECT id, kind, name, sealed, created_at, last_used_at FROM factors \
                         WHERE account_id = $1 AND kind = $2 AND confirmed_at IS NULL AND created_at > $3";
        self.bounded(async {
            on!(self, |pool| sqlx::query_as(Q)
                .bind(account.uuid())
                .bind(kind.word())
                .bind(stored(since))
                .fetch_optional(pool)
                .await)
        })
        .await
    }

    /// Makes a factor one that counts, and with it a session one that has shown it, whose tokens of before end. Says whether the recovery codes
    /// were kept; [`StoreError::NotFound`] if there is nothing to confirm.
    pub async fn confirm_factor(&self, confirmation: Confirmation<'_>) -> Result<(bool, Renewed), StoreError> {
        const Q: &str = "UPDATE factors SET confirmed_at = $4, last_used_at = $4, counter = $3, credential = $5, \
                         sealed = COALESCE($6, sealed), name = COALESCE($7, name) \
                         WHERE id = $1 AND account_id = $2 AND confirmed_at IS NULL";
        let Confirmation { factor, account, step, passkey, recovery, session, renewal, notice, now } = confirmation;
        self.bounded(async {
            let mut tx = self.begin().await?;
            // The account is held: of two who confirm at once, the second finds the codes of the first.
            tx.touch_account(account, now).await?;
            let confirmed = on_tx!(&mut tx, |c| sqlx::query(Q)
                .bind(factor.uuid())
                .bind(account.uuid())
                .bind(step)
                .bind(stored(now))
                .bind(passkey.map(|passkey| passkey.credential))
                .bind(passkey.map(|passkey| passkey.sealed))
                .bind(passkey.and_then(|passkey| passkey.name))
                .execute(c)
                .await
                .map(|done| done.rows_affected()))?;
            if confirmed == 0 {
                return Err(StoreError::NotFound);
            }
            let keeps = tx.recovery_codes_left(account).await? == 0;
            if keeps {
                tx.set_recovery_codes(account, recovery, now).await?;
            }
            tx.authenticate_session(session.0, account, session.1, now).await?;
            let renewed = tx.renew(session.0, renewal, now).await?;
            tx.post(notice).await?;
            // Sessions that were begun without it may be somebody's who should be kept out by it. All of the account's are heard of.
            tx.end_sessions_of(account, Some(session.0), now).await?;
            self.commit_and_tell(tx, &[Subject::Account(account)], now).await?;
            Ok::<_, StoreError>((keeps, renewed))
        })
        .await
    }

    /// An account's factors, the oldest first.
    pub async fn factors(&self, account: AccountId) -> Result<Vec<FactorRecord>, StoreError> {
        const Q: &str = "SELECT id, kind, name, sealed, created_at, last_used_at FROM factors \
                         WHERE account_id = $1 AND confirmed_at IS NOT NULL ORDER BY id";
        self.bounded(async { on!(self, |pool| sqlx::query_as(Q).bind(account.uuid()).fetch_all(pool).await) }).await
    }

    /// Recovery codes that can still be used.
    pub async fn recovery_codes_left(&self, account: AccountId) -> Result<i64, StoreError> {
        self.bounded(async {
            on!(self, |pool| sqlx::query_scalar(CODES_LEFT).bind(account.uuid()).fetch_one(pool).await)
        })
        .await
    }

    /// Puts new recovery codes in the place of all others; [`StoreError::NotFound`] if the account has no factor that they could stand
    /// in for.
    pub async fn renew_recovery_codes(
        &self,
        account: AccountId,
        digests: &[SecretDigest],
        notice: &NewMail,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.bounded(async {
            let mut tx = self.begin().await?;
            tx.touch_account(account, now).await?;
            if !tx.has_factor(account).await? {
                return Err(StoreError::NotFound);
            }
            tx.set_recovery_codes(account, digests, now).await?;
            tx.post(notice).await?;
            self.commit(tx).await
        })
        .await
    }

    /// Removes a factor, and with the last one the recovery codes, and ends the account's sessions but `keep`, which is one of a single
    /// factor when there is none any more; [`StoreError::NotFound`] if the account has no such factor.
    pub async fn remove_factor(
        &self,
        account: AccountId,
        id: FactorId,
        keep: SessionId,
        notice: &NewMail,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        const Q: &str = "DELETE FROM factors WHERE id = $1 AND account_id = $2 AND confirmed_at IS NOT NULL";
        self.bounded(async {
            let mut tx = self.begin().await?;
            tx.touch_account(account, now).await?;
            let removed = on_tx!(&mut tx, |c| sqlx::query(Q)
                .bind(id.uuid())
                .bind(account.uuid())
                .execute(c)
                .await
                .map(|done| done.rows_affected()))?;
            if removed == 0 {
                return Err(StoreError::NotFound);
            }
            if !tx.has_factor(account).await? {
                tx.set_recovery_codes(account, &[], now).await?;
                tx.forget_second_factor(keep).await?;
            }
            tx.post(notice).await?;
            // What was begun with it may be whose it was. All of the account's sessions are heard of.
            tx.end_sessions_of(account, Some(keep), now).await?;
            self.commit_and_tell(tx, &[Subject::Account(account)], now).await
        })
        .await
    }

    /// Removes whatever second factors an account of this role has; says whether there were any that counted. Then all of its sessions end.
    pub async fn remove_factors(
        &self,
        account: AccountId,
        of_role: impl Into<Over<'_>>,
        notice: &NewMail,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        const Q: &str = "DELETE FROM factors WHERE account_id = $1";
        let over = of_role.into();
        self.bounded(async {
            let mut tx = self.begin().await?;
            tx.hold_role(account, over).await?;
            tx.touch_account(account, now).await?;
            let had = tx.has_factor(account).await?;
            on_tx!(&mut tx, |c| sqlx::query(Q).bind(account.uuid()).execute(c).await.map(drop))?;
            tx.set_recovery_codes(account, &[], now).await?;
            if had {
                tx.post(notice).await?;
                tx.end_sessions_of(account, None, now).await?;
            }
            self.commit_and_tell(tx, &[Subject::Account(account)], now).await?;
            Ok::<_, StoreError>(had)
        })
        .await
    }

    /// Uses a proof; says whether it could still be used.
    pub async fn use_factor(
        &self,
        account: AccountId,
        proof: &FactorProof,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        self.bounded(async {
            let mut tx = self.begin().await?;
            let used = tx.use_factor(account, proof, now).await?;
            self.commit(tx).await?;
            Ok::<_, StoreError>(used)
        })
        .await
    }
}

const CODES_LEFT: &str = "SELECT COUNT(*) FROM recovery_codes WHERE account_id = $1 AND used_at IS NULL";

// === impl Tx ===

impl Tx {
    /// Does whoever logs in have to show more than a password?
    pub(crate) async fn has_factor(&mut self, account: AccountId) -> Result<bool, StoreError> {
        const Q: &str = "SELECT COUNT(*) FROM factors WHERE account_id = $1 AND confirmed_at IS NOT NULL";
        let count: i64 = on_tx!(self, |c| sqlx::query_scalar(Q).bind(account.uuid()).fetch_one(c).await)?;
        Ok(count > 0)
    }

    /// A log-in that began before a factor was added or taken away must not end after it: `insert_session` asks for the account as it was.
    pub(crate) async fn touch_account(&mut self, account: AccountId, now: DateTime<Utc>) -> Result<(), StoreError> {
        const Q: &str = "UPDATE accounts SET updated_at = $2 WHERE id = $1";
        let found = on_tx!(self, |c| sqlx::query(Q)
            .bind(account.uuid())
            .bind(stored(now))
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        if found == 0 { Err(StoreError::NotFound) } else { Ok(()) }
    }

    pub(crate) async fn use_factor(
        &mut self,
        account: AccountId,
        proof: &FactorProof,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        const CODE: &str = "UPDATE factors SET counter = $3, last_used_at = $4 \
                            WHERE id = $1 AND account_id = $2 AND confirmed_at IS NOT NULL AND counter < $3";
        const RECOVERY: &str =
            "UPDATE recovery_codes SET used_at = $3 WHERE account_id = $1 AND digest = $2 AND used_at IS NULL";
        let used = match proof {
            FactorProof::Code { factor, step } => on_tx!(self, |c| sqlx::query(CODE)
                .bind(factor.uuid())
                .bind(account.uuid())
                .bind(step)
                .bind(stored(now))
                .execute(c)
                .await
                .map(|done| done.rows_affected())),
            FactorProof::Passkey { factor, count } => return self.use_passkey(account, *factor, *count, now).await,
            FactorProof::Recovery(digest) => on_tx!(self, |c| sqlx::query(RECOVERY)
                .bind(account.uuid())
                .bind(digest.as_bytes().as_slice())
                .bind(stored(now))
                .execute(c)
                .await
                .map(|done| done.rows_affected())),
        };
        Ok(used? > 0)
    }

    async fn recovery_codes_left(&mut self, account: AccountId) -> Result<i64, StoreError> {
        Ok(on_tx!(self, |c| sqlx::query_scalar(CODES_LEFT).bind(account.uuid()).fetch_one(c).await)?)
    }

    async fn set_recovery_codes(
        &mut self,
        account: AccountId,
        digests: &[SecretDigest],
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        const FORGET: &str = "DELETE FROM recovery_codes WHERE account_id = $1";
        const Q: &str = "INSERT INTO recovery_codes (account_id, digest, created_at) VALUES ($1, $2, $3)";
        on_tx!(&mut *self, |c| sqlx::query(FORGET).bind(account.uuid()).execute(c).await.map(drop))?;
        for digest in digests {
            on_tx!(&mut *self, |c| sqlx::query(Q)
                .bind(account.uuid())
                .bind(digest.as_bytes().as_slice())
                .bind(stored(now))
                .execute(c)
                .await
                .map(drop))?;
        }
        Ok(())
    }
}

// === impl FactorRecord ===

impl FactorRecord {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> FactorId {
        FactorId::new(self.id)
    }
}
