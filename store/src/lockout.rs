//! Failed logins: counted under what they aimed at and where they came from, so that nodes count together.
//!
//! What is stored are digests: the table is no list of addresses that people have tried. Whether there is such an account makes no
//! difference here. How a tally grows is `identity`'s.

use chrono::{DateTime, Utc};
use identity::{Email, LockRules, PasswordHash, SecretDigest, Tally};
use sqlx::FromRow;

use crate::{
    Account, NewMail, Store, StoreError,
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

/// An account that somebody says is theirs.
pub struct LoginFacts {
    /// The account.
    pub account: Account,
    /// The hash of its password.
    pub hash: PasswordHash,
    /// Has a session of it begun in this browser?
    pub knows_device: bool,
    /// Has a session of it begun in this network?
    pub knows_network: bool,
    /// Has it a second factor?
    pub has_factor: bool,
}

#[derive(FromRow)]
struct LoginRow {
    #[sqlx(flatten)]
    account: AccountRow,
    password_hash: String,
    knows_device: bool,
    knows_network: bool,
    has_factor: bool,
}

#[derive(FromRow)]
struct Row {
    subject: Vec<u8>,
    source: Vec<u8>,
    failures: i64,
    locks: i64,
    locked_until: Option<DateTime<Utc>>,
    last_at: DateTime<Utc>,
}

// === impl Store ===

impl Store {
    /// The account of an address, with what a login has to know of it.
    pub async fn login_facts(
        &self,
        email: &Email,
        device: Option<&SecretDigest>,
        network: Option<&str>,
    ) -> Result<Option<LoginFacts>, StoreError> {
        const Q: &str = concat!(
            "SELECT ",
            account_columns!(),
            ", a.password_hash, \
             EXISTS (SELECT 1 FROM sessions WHERE account_id = a.id AND device = $2 AND actor_id IS NULL) AS knows_device, \
             EXISTS (SELECT 1 FROM sessions WHERE account_id = a.id AND network = $3 AND actor_id IS NULL) AS knows_network, \
             EXISTS (SELECT 1 FROM factors WHERE account_id = a.id AND confirmed_at IS NOT NULL) AS has_factor FROM accounts a",
            its_tenant!("a.tenant_id"),
            "WHERE a.email_normalised = $1"
        );
        let row: Option<LoginRow> = self
            .bounded(async {
                on!(self, |pool| sqlx::query_as(Q)
                    .bind(email.normalised())
                    .bind(device.map(|device| device.as_bytes().as_slice()))
                    .bind(network)
                    .fetch_optional(pool)
                    .await)
            })
            .await?;
        Ok(row.map(|row| LoginFacts {
            account: row.account.into(),
            hash: row.password_hash.into(),
            knows_device: row.knows_device,
            knows_network: row.knows_network,
            has_factor: row.has_factor,
        }))
    }

    /// What has been counted under each of two aims, in one question.
    pub async fn tallies(&self, aims: [Aim; 2]) -> Result<[Tally; 2], StoreError> {
        const Q: &str = "SELECT subject, source, failures, locks, locked_until, last_at FROM login_failures \
                         WHERE (subject = $1 AND source = $2) OR (subject = $3 AND source = $4)";
        let [one, other] = &aims;
        let rows: Vec<Row> = self
            .bounded(async {
                on!(self, |pool| sqlx::query_as(Q)
                    .bind(one.subject.as_bytes().as_slice())
                    .bind(one.source.as_bytes().as_slice())
                    .bind(other.subject.as_bytes().as_slice())
                    .bind(other.source.as_bytes().as_slice())
                    .fetch_all(pool)
                    .await)
            })
            .await?;
        let of = |aim: Aim| rows.iter().find(|row| row.is_of(aim)).map(Row::tally).unwrap_or_default();
        Ok(aims.map(of))
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
            self.commit(tx, &[], now).await?;
            Ok::<_, StoreError>(locked)
        })
        .await
    }

    /// Forgets what was counted under an aim: somebody has shown the right password.
    pub async fn forgive(&self, aim: Aim, now: DateTime<Utc>) -> Result<(), StoreError> {
        const Q: &str = "DELETE FROM login_failures WHERE subject = $1 AND source = $2";
        self.bounded(async {
            let mut tx = self.begin().await?;
            on_tx!(&mut tx, |c| sqlx::query(Q)
                .bind(aim.subject.as_bytes().as_slice())
                .bind(aim.source.as_bytes().as_slice())
                .execute(c)
                .await
                .map(drop))?;
            self.commit(tx, &[], now).await
        })
        .await
    }

    /// Forgets all that was counted against somebody, from wherever; says whether there was anything.
    pub async fn unlock(&self, subject: &SecretDigest, now: DateTime<Utc>) -> Result<bool, StoreError> {
        const Q: &str = "DELETE FROM login_failures WHERE subject = $1";
        self.bounded(async {
            let mut tx = self.begin().await?;
            let found = on_tx!(&mut tx, |c| sqlx::query(Q)
                .bind(subject.as_bytes().as_slice())
                .execute(c)
                .await
                .map(|done| done.rows_affected()))?;
            self.commit(tx, &[], now).await?;
            Ok::<_, StoreError>(found > 0)
        })
        .await
    }
}

// === impl Tx ===

impl Tx {
    /// A tally that nobody else changes until the commit. A row that is not there cannot be locked, so it is made first.
    async fn lock_tally(&mut self, aim: Aim, now: DateTime<Utc>) -> Result<Tally, StoreError> {
        const MAKE: &str = "INSERT INTO login_failures (subject, source, failures, locks, last_at) VALUES ($1, $2, 0, 0, $3) \
                            ON CONFLICT (subject, source) DO NOTHING";
        const LOCK: &str = "SELECT 1 FROM login_failures WHERE subject = $1 AND source = $2 FOR UPDATE";
        const READ: &str = "SELECT subject, source, failures, locks, locked_until, last_at FROM login_failures \
                            WHERE subject = $1 AND source = $2";
        let (subject, source) = (aim.subject.as_bytes().as_slice(), aim.source.as_bytes().as_slice());
        on_tx!(&mut *self, |c| sqlx::query(MAKE)
            .bind(subject)
            .bind(source)
            .bind(stored(now))
            .execute(c)
            .await
            .map(drop))?;
        if let Self::Pg(tx) = &mut *self {
            sqlx::query(LOCK).bind(subject).bind(source).execute(tx.within()).await?;
        }
        let row: Row = on_tx!(self, |c| sqlx::query_as(READ).bind(subject).bind(source).fetch_one(c).await)?;
        Ok(row.tally())
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
    fn is_of(&self, aim: Aim) -> bool {
        self.subject == aim.subject.as_bytes() && self.source == aim.source.as_bytes()
    }

    fn tally(&self) -> Tally {
        let count = |number: i64| u32::try_from(number).unwrap_or(u32::MAX);
        Tally {
            failures: count(self.failures),
            locks: count(self.locks),
            locked_until: self.locked_until,
            last_at: Some(self.last_at),
        }
    }
}
