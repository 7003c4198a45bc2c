//! Failed logins: counted under what they aimed at and where they came from, so that nodes count together.
//!
//! What is stored are digests: the table is no list of addresses that people have tried. Whether there is such an account makes no
//! difference here. How a tally grows is `identity`'s.

use chrono::{DateTime, Utc};
use identity::{AccountId, Email, LockRules, PasswordHash, SecretDigest, Tally};
use sqlx::{ColumnIndex, Decode, FromRow, Type};
use sqlx_macros::FromRow;
use uuid::Uuid;

use crate::{
    Account, NewMail, Over, Store, StoreError,
    account::{AccountRow, account_columns, its_tenant},
    db::{Tx, on, on_tx, stored},
};

/// What is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aim {
    /// Whose password is guessed, or which network guesses.
    pub subject: SecretDigest,
    /// From which familiar place; all others are one ([`Aim::anywhere`]).
    pub source: SecretDigest,
}

/// Somebody who says an account is theirs.
pub struct Claim<'a> {
    /// The account's address.
    pub email: &'a Email,
    /// What their browser is known by.
    pub device: Option<&'a SecretDigest>,
    /// Their network, and what failures from it count under once it is familiar.
    pub network: (Option<&'a str>, SecretDigest),
    /// Under what failures at the account are counted, whether there is one or not.
    pub subject: SecretDigest,
    /// Under what failures from their network are counted.
    pub from: Aim,
}

/// What there is to know before anybody is listened to.
pub struct Claimed {
    /// The account, if there is one.
    pub facts: Option<LoginFacts>,
    /// Where a failure at it counts: under the browser if that is familiar, else the network if that is, else anywhere.
    pub at: Aim,
    /// What has been counted there, and from the network.
    pub tallies: [Tally; 2],
    /// The cost of the dearest bcrypt hash that any account still has, if any has one.
    pub dearest: Option<u32>,
}

/// The account that somebody says is theirs.
pub struct LoginFacts {
    /// The account.
    pub account: Account,
    /// The hash of its password.
    pub hash: PasswordHash,
    /// Has a session of it begun in this browser?
    pub knows_device: bool,
    /// Has it a second factor?
    pub has_factor: bool,
}

/// A row that is there for everybody.
#[derive(FromRow)]
struct ClaimRow {
    #[sqlx(flatten)]
    found: Found,
    knows_device: bool,
    has_factor: bool,
    place: Vec<u8>,
    dearest: Option<String>,
    // NULL where nothing has been counted.
    at_failures: Option<i64>,
    at_locks: Option<i64>,
    at_locked_until: Option<DateTime<Utc>>,
    at_last_at: Option<DateTime<Utc>>,
    by_failures: Option<i64>,
    by_locks: Option<i64>,
    by_locked_until: Option<DateTime<Utc>>,
    by_last_at: Option<DateTime<Utc>>,
}

/// The account with the hash of its password, if there is one.
struct Found(Option<(AccountRow, String)>);

#[derive(FromRow)]
struct Row {
    failures: i64,
    locks: i64,
    locked_until: Option<DateTime<Utc>>,
    last_at: DateTime<Utc>,
}

// === impl Store ===

impl Store {
    /// What a login has to know before a password is looked at, in one question, whoever it is.
    pub async fn claim(&self, claim: Claim<'_>) -> Result<Claimed, StoreError> {
        const Q: &str = concat!(
            "SELECT p.*, \
             (SELECT MAX(substr(password_hash, 5, 2)) FROM accounts WHERE substr(password_hash, 1, 2) = '$2') AS dearest, at.failures AS at_failures, at.locks AS at_locks, at.locked_until AS at_locked_until, at.last_at AS at_last_at, \
             by.failures AS by_failures, by.locks AS by_locks, by.locked_until AS by_locked_until, by.last_at AS by_last_at FROM \
             (SELECT k.*, CASE WHEN k.knows_device THEN $2 WHEN k.knows_network THEN $4 ELSE $5 END AS place FROM (SELECT ",
            account_columns!(),
            ", a.password_hash, \
             EXISTS (SELECT 1 FROM sessions WHERE account_id = a.id AND device = $2 AND actor_id IS NULL) AS knows_device, \
             EXISTS (SELECT 1 FROM sessions WHERE account_id = a.id AND network = $3 AND actor_id IS NULL) AS knows_network, \
             EXISTS (SELECT 1 FROM factors WHERE account_id = a.id AND confirmed_at IS NOT NULL) AS has_factor \
             FROM (SELECT 1) AS everybody LEFT JOIN accounts a ON a.email_normalised = $1",
            its_tenant!("a.tenant_id"),
            ") AS k) AS p LEFT JOIN login_failures at ON at.subject = $6 AND at.source = p.place \
             LEFT JOIN login_failures by ON by.subject = $7 AND by.source = $8"
        );
        let (network, familiar) = claim.network;
        let row: ClaimRow = self
            .bounded(async {
                on!(self, |pool| sqlx::query_as(Q)
                    .bind(claim.email.normalised())
                    .bind(claim.device.map(|device| device.as_bytes().as_slice()))
                    .bind(network)
                    .bind(familiar.as_bytes().as_slice())
                    .bind(Aim::anywhere(claim.subject).source.as_bytes().as_slice())
                    .bind(claim.subject.as_bytes().as_slice())
                    .bind(claim.from.subject.as_bytes().as_slice())
                    .bind(claim.from.source.as_bytes().as_slice())
                    .fetch_one(pool)
                    .await)
            })
            .await?;
        row.claimed(claim.subject)
    }

    /// Counts a failure under each aim, and posts `notice` if the first of them locks. Says which of them have locked just now.
    pub async fn count_failure(
        &self,
        aims: [(Aim, LockRules); 2],
        notice: impl FnOnce(DateTime<Utc>) -> NewMail + Send,
        now: DateTime<Utc>,
    ) -> Result<[bool; 2], StoreError> {
        self.bounded(async {
            let mut tx = self.begin().await?;
            let mut locked = [false; 2];
            let mut told = None;
            // In one order on every node: two that met halfway would wait for each other. An account's rows come before
            // a network's, and nobody counts under two of either.
            for (locks, (aim, rules)) in locked.iter_mut().zip(aims) {
                let before = tx.lock_tally(aim, now).await?;
                let after = before.failed(&rules, now);
                tx.set_tally(aim, after, now).await?;
                *locks = after.locked(now).is_some() && before.locked(now).is_none();
                if *locks && aim == aims[0].0 {
                    told = after.locked_until;
                }
            }
            if let Some(until) = told {
                tx.post(&notice(until)).await?;
            }
            self.commit(tx).await?;
            Ok::<_, StoreError>(locked)
        })
        .await
    }

    /// Forgets what was counted under an aim: somebody has shown the right password.
    pub async fn forgive(&self, aim: Aim) -> Result<(), StoreError> {
        const Q: &str = "DELETE FROM login_failures WHERE subject = $1 AND source = $2";
        self.bounded(async {
            let mut tx = self.begin().await?;
            on_tx!(&mut tx, |c| sqlx::query(Q)
                .bind(aim.subject.as_bytes().as_slice())
                .bind(aim.source.as_bytes().as_slice())
                .execute(c)
                .await
                .map(drop))?;
            self.commit(tx).await
        })
        .await
    }

    /// Forgets all that was counted against somebody, from wherever; says whether there was anything.
    pub async fn unlock(&self, subject: &SecretDigest) -> Result<bool, StoreError> {
        self.bounded(async {
            let mut tx = self.begin().await?;
            let found = tx.forget_failures(subject).await?;
            self.commit(tx).await?;
            Ok::<_, StoreError>(found > 0)
        })
        .await
    }

    /// The same of an account of this role, whose failures are counted under these subjects.
    pub async fn unlock_account(
        &self,
        id: AccountId,
        of_role: impl Into<Over<'_>>,
        subjects: &[SecretDigest],
    ) -> Result<bool, StoreError> {
        let over = of_role.into();
        self.bounded(async {
            let mut tx = self.begin().await?;
            tx.hold_role(id, over).await?;
            let mut found = 0;
            for subject in subjects {
                found += tx.forget_failures(subject).await?;
            }
            self.commit(tx).await?;
            Ok::<_, StoreError>(found > 0)
        })
        .await
    }
}

// === impl Tx ===

impl Tx {
    /// A tally that nobody else changes until the commit. A row that is not there cannot be locked, and one that is may be forgiven before it
    /// is locked: so one statement makes it or, changing nothing, locks it.
    async fn lock_tally(&mut self, aim: Aim, now: DateTime<Utc>) -> Result<Tally, StoreError> {
        const Q: &str = "INSERT INTO login_failures (subject, source, failures, locks, last_at) VALUES ($1, $2, 0, 0, $3) \
                         ON CONFLICT (subject, source) DO UPDATE SET last_at = login_failures.last_at \
                         RETURNING failures, locks, locked_until, last_at";
        let row: Row = on_tx!(self, |c| sqlx::query_as(Q)
            .bind(aim.subject.as_bytes().as_slice())
            .bind(aim.source.as_bytes().as_slice())
            .bind(stored(now))
            .fetch_one(c)
            .await)?;
        Ok(row.tally())
    }

    async fn forget_failures(&mut self, subject: &SecretDigest) -> Result<u64, StoreError> {
        const Q: &str = "DELETE FROM login_failures WHERE subject = $1";
        Ok(on_tx!(self, |c| sqlx::query(Q)
            .bind(subject.as_bytes().as_slice())
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?)
    }

    async fn set_tally(&mut self, aim: Aim, tally: Tally, now: DateTime<Utc>) -> Result<(), StoreError> {
        const Q: &str = "UPDATE login_failures SET failures = $3, locks = $4, locked_until = $5, last_at = $6 \
                         WHERE subject = $1 AND source = $2";
        Ok(on_tx!(self, |c| sqlx::query(Q)
            .bind(aim.subject.as_bytes().as_slice())
            .bind(aim.source.as_bytes().as_slice())
            .bind(i64::from(tally.failures))
            .bind(i64::from(tally.locks))
            .bind(tally.locked_until.map(stored))
            .bind(stored(now))
            .execute(c)
            .await
            .map(drop))?)
    }
}

// === impl ClaimRow ===

impl ClaimRow {
    fn claimed(self, subject: SecretDigest) -> Result<Claimed, StoreError> {
        let (knows_device, has_factor) = (self.knows_device, self.has_factor);
        let source = SecretDigest::from_slice(&self.place);
        let source = source.ok_or_else(|| StoreError::Corrupt("a place has no digest".to_owned()))?;
        let at = tally(self.at_failures, self.at_locks, self.at_locked_until, self.at_last_at);
        let by = tally(self.by_failures, self.by_locks, self.by_locked_until, self.by_last_at);
        let facts = |(account, hash): (AccountRow, String)| LoginFacts {
            account: account.into(),
            hash: hash.into(),
            knows_device,
            has_factor,
        };
        let dearest = self.dearest.and_then(|cost| cost.parse().ok());
        Ok(Claimed { facts: self.found.0.map(facts), at: Aim { subject, source }, tallies: [at, by], dearest })
    }
}

fn tally(
    failures: Option<i64>,
    locks: Option<i64>,
    locked_until: Option<DateTime<Utc>>,
    last_at: Option<DateTime<Utc>>,
) -> Tally {
    let count = |number: Option<i64>| u32::try_from(number.unwrap_or_default()).unwrap_or(u32::MAX);
    Tally { failures: count(failures), locks: count(locks), locked_until, last_at }
}

impl<'r, R: sqlx::Row> FromRow<'r, R> for Found
where
    AccountRow: FromRow<'r, R>,
    for<'a> &'a str: ColumnIndex<R>,
    Uuid: Decode<'r, R::Database> + Type<R::Database>,
    String: Decode<'r, R::Database> + Type<R::Database>,
{
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        let found = row.try_get::<Option<Uuid>, _>("id")?;
        let found = found.map(|_| Ok::<_, sqlx::Error>((AccountRow::from_row(row)?, row.try_get("password_hash")?)));
        found.transpose().map(Self)
    }
}

// === impl Aim ===

impl Aim {
    /// A source that is no place in particular.
    #[must_use]
    pub fn anywhere(subject: SecretDigest) -> Self {
        Self { subject, source: SecretDigest::of(b"anywhere") }
    }
}

// === impl Row ===

impl Row {
    fn tally(&self) -> Tally {
        tally(Some(self.failures), Some(self.locks), self.locked_until, Some(self.last_at))
    }
}
