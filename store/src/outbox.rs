//! Mail on its way: wishes that are still to be looked at, and letters that are ready to be sent.
//!
//! A *wish* says what somebody asked for and of which address, and nothing of whether there is such an account: to ask costs one
//! row whatever the answer will be, and only whoever carries the mail finds out. A *letter* is what is sent. What either says
//! is sealed by the caller; once it is over it is wiped, and its row is kept for as long as the configuration says.
//!
//! How many letters there may be is asked within the transaction that writes one, and by one after the other: else all who ask at once would find
//! room for one more.
//!
//! A node claims what is due by moving the moment at which it is due: what a node takes with it when it dies is due again.

use chrono::{DateTime, TimeDelta, Utc};
use identity::{AccountId, OneTimePurpose, SecretDigest};
use sqlx::QueryBuilder;
use sqlx_macros::FromRow;
use uuid::Uuid;

use crate::{
    Store, StoreError,
    db::{Tx, on, on_tx, stored},
};

/// Something to be put into the outbox.
#[derive(Clone, Debug)]
pub struct NewMail {
    /// Its id, which is part of what it is sealed with.
    pub id: Uuid,
    /// Which letter.
    pub template: &'static str,
    /// The normalised address that it is about.
    pub address: String,
    /// Is it still to be looked at?
    pub is_wish: bool,
    /// What it says.
    pub sealed: Option<Vec<u8>>,
    /// Who asked for it, where letters are counted by that.
    pub asker: Option<Asker>,
    /// How many there may be, where that is said with it and not by an [`Allowance`]: one too many is none.
    pub most: Option<Most>,
    /// The time.
    pub now: DateTime<Utc>,
}

/// Who asks for a letter to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// From where; salted with the address, so that it tells nothing of who writes to others.
    pub place: SecretDigest,
    /// Is it one from which the owner of the address has logged in?
    pub is_familiar: bool,
}

/// How many letters of some kinds together an address has in an hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Most {
    /// So many.
    pub letters: u64,
    /// Of these kinds.
    pub kinds: Vec<&'static str>,
}

/// How many letters of one kind have been made for an address within the hour, also while it was another account's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Letters {
    /// Whoever asked.
    pub all: u64,
    /// At the asking of places that are not familiar.
    pub of_strangers: u64,
    /// At the asking of that one place.
    pub of_place: u64,
    /// Since the moment that the [`Allowance`] names.
    pub of_late: u64,
    /// Links that were sent since then and serve nobody any more: used, or void.
    pub ended: u64,
}

/// Whether a wish may be granted.
#[derive(Clone, Copy)]
pub struct Allowance<'a> {
    /// Since when letters are counted that are of late.
    pub late: DateTime<Utc>,
    /// Is there room for one more?
    pub has_room: &'a (dyn Fn(Letters) -> bool + Send + Sync),
}

/// What has become of a wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WishOutcome {
    /// There is a letter in its place.
    Written,
    /// It is gone: the address has had enough letters.
    TooMany,
}

/// Something that is due, claimed by whoever holds this.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct DueMail {
    /// Its id.
    pub id: Uuid,
    /// Which letter.
    pub template: String,
    /// The normalised address that it is about.
    pub address: String,
    /// Is it still to be looked at?
    pub is_wish: bool,
    /// What it says.
    pub sealed: Option<Vec<u8>>,
    /// When it was put there.
    pub created_at: DateTime<Utc>,
    /// How often it was claimed, this time included.
    pub attempts: i64,
}

/// How it ended with a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailOutcome {
    /// It was handed over.
    Sent,
    /// It will never be.
    Failed,
}

/// Over which letters are counted.
const HOUR: TimeDelta = TimeDelta::hours(1);
/// What takes turns at an address: whatever has a [`Most`], posted or wished for, and each kind that is wished for without.
const NOTICES: &str = "notices";

// === impl Store ===

impl Store {
    /// Puts a mail into the outbox.
    pub async fn post(&self, mail: &NewMail) -> Result<(), StoreError> {
        self.bounded(async {
            let mut tx = self.begin().await?;
            tx.post(mail).await?;
            self.commit(tx).await
        })
        .await
    }

    /// Takes what has been due for longest; it is due again at `until`, unless it is over by then. The second condition on
    /// `due_at` is for Postgres, where two nodes may have found the same row: the second one finds it changed.
    pub async fn claim_mail(&self, now: DateTime<Utc>, until: DateTime<Utc>) -> Result<Option<DueMail>, StoreError> {
        const Q: &str = "UPDATE outbox SET due_at = $2, attempts = attempts + 1 \
                         WHERE id = (SELECT id FROM outbox WHERE ended_at IS NULL AND due_at <= $1 ORDER BY due_at LIMIT 1) \
                         AND due_at <= $1 AND ended_at IS NULL \
                         RETURNING id, template, address, is_wish, sealed, created_at, attempts";
        self.bounded(async {
            let mut tx = self.begin().await?;
            let due =
                on_tx!(&mut tx, |c| sqlx::query_as(Q).bind(stored(now)).bind(stored(until)).fetch_optional(c).await)?;
            self.commit(tx).await?;
            Ok::<_, StoreError>(due)
        })
        .await
    }

    /// When something is due next, unless nothing waits.
    pub async fn next_mail_due(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        const Q: &str = "SELECT due_at FROM outbox WHERE ended_at IS NULL ORDER BY due_at LIMIT 1";
        self.bounded(async { on!(self, |pool| sqlx::query_scalar(Q).fetch_optional(pool).await) }).await
    }

    /// Has a session of that account begun in this browser, and has one from this network? Of an account that nobody has confirmed nobody knows whose
    /// they were.
    pub async fn knows(
        &self,
        account: AccountId,
        device: Option<&SecretDigest>,
        network: &str,
    ) -> Result<[bool; 2], StoreError> {
        const Q: &str = "SELECT EXISTS (SELECT 1 FROM sessions WHERE account_id = a.id AND device = $2 AND actor_id IS NULL), \
                         EXISTS (SELECT 1 FROM sessions WHERE account_id = a.id AND network = $3 AND actor_id IS NULL) \
                         FROM accounts a WHERE a.id = $1 AND a.is_verified";
        let known: Option<(bool, bool)> = self
            .bounded(async {
                on!(self, |pool| sqlx::query_as(Q)
                    .bind(account.uuid())
                    .bind(device.map(|device| device.as_bytes().as_slice()))
                    .bind(network)
                    .fetch_optional(pool)
                    .await)
            })
            .await?;
        Ok(known.unwrap_or_default().into())
    }

    /// It is over: what it said is wiped.
    pub async fn end_mail(&self, id: Uuid, outcome: MailOutcome, now: DateTime<Utc>) -> Result<(), StoreError> {
        const Q: &str = "UPDATE outbox SET ended_at = $2, outcome = $3, sealed = NULL WHERE id = $1";
        self.bounded(async {
            let mut tx = self.begin().await?;
            on_tx!(&mut tx, |c| sqlx::query(Q)
                .bind(id)
                .bind(stored(now))
                .bind(outcome.word())
                .execute(c)
                .await
                .map(drop))?;
            self.commit(tx).await
        })
        .await
    }

    /// It is tried again then.
    pub async fn retry_mail(&self, id: Uuid, at: DateTime<Utc>) -> Result<(), StoreError> {
        const Q: &str = "UPDATE outbox SET due_at = $2 WHERE id = $1 AND ended_at IS NULL";
        self.bounded(async {
            let mut tx = self.begin().await?;
            on_tx!(&mut tx, |c| sqlx::query(Q).bind(id).bind(stored(at)).execute(c).await.map(drop))?;
            self.commit(tx).await
        })
        .await
    }

    /// A wish that nothing comes of.
    pub async fn drop_wish(&self, id: Uuid) -> Result<(), StoreError> {
        self.bounded(async {
            let mut tx = self.begin().await?;
            tx.drop_wish(id).await?;
            self.commit(tx).await
        })
        .await
    }

    /// Puts a letter in a wish's place, if its address has room for it: by its own [`Most`] or else by the allowance.
    pub async fn grant_wish(
        &self,
        wish: Uuid,
        letter: &NewMail,
        allowance: Allowance<'_>,
    ) -> Result<WishOutcome, StoreError> {
        self.bounded(async {
            let mut tx = self.begin().await?;
            let outcome = tx.grant_wish(wish, letter, None, allowance).await?;
            self.commit(tx).await?;
            Ok::<_, StoreError>(outcome)
        })
        .await
    }
}

// === impl Tx ===

impl Tx {
    /// Puts a mail into the outbox, or drops it if nobody reads it there or it is one too many: what it tells of is done all the same.
    /// `false`: it was one too many.
    pub(crate) async fn post(&mut self, mail: &NewMail) -> Result<bool, StoreError> {
        // What is wished for takes as long wherever it goes, and is dropped later.
        if !mail.is_wish && identity::is_nowhere(&mail.address) {
            return Ok(true);
        }
        if self.is_one_too_many(mail).await? {
            tracing::warn!(template = mail.template, "an address has had enough letters, and is not told of one more");
            return Ok(false);
        }
        self.insert_mail(mail).await?;
        Ok(true)
    }

    async fn is_one_too_many(&mut self, mail: &NewMail) -> Result<bool, StoreError> {
        let Some(most) = &mail.most else { return Ok(false) };
        self.take_turn(NOTICES, &mail.address).await?;
        Ok(self.count_letters(&mail.address, &most.kinds, mail.now - HOUR).await? >= most.letters)
    }

    async fn insert_mail(&mut self, mail: &NewMail) -> Result<(), StoreError> {
        const Q: &str = "INSERT INTO outbox (id, template, address, is_wish, sealed, created_at, due_at, attempts, place, is_familiar) \
                         VALUES ($1, $2, $3, $4, $5, $6, $6, 0, $7, $8)";
        Ok(on_tx!(self, |c| sqlx::query(Q)
            .bind(mail.id)
            .bind(mail.template)
            .bind(&mail.address)
            .bind(mail.is_wish)
            .bind(mail.sealed.as_deref())
            .bind(stored(mail.now))
            .bind(mail.asker.map(|asker| asker.place.as_bytes().to_vec()))
            .bind(mail.asker.is_some_and(|asker| asker.is_familiar))
            .execute(c)
            .await
            .map(drop))?)
    }

    async fn drop_wish(&mut self, id: Uuid) -> Result<u64, StoreError> {
        const Q: &str = "DELETE FROM outbox WHERE id = $1 AND is_wish";
        Ok(on_tx!(self, |c| sqlx::query(Q).bind(id).execute(c).await.map(|done| done.rows_affected()))?)
    }

    /// A wish that somebody else has granted meanwhile is granted once. `purpose`: of the link in the letter.
    pub(crate) async fn grant_wish(
        &mut self,
        wish: Uuid,
        letter: &NewMail,
        purpose: Option<OneTimePurpose>,
        allowance: Allowance<'_>,
    ) -> Result<WishOutcome, StoreError> {
        if self.drop_wish(wish).await? == 0 {
            return Err(StoreError::Conflict("another node has granted this wish"));
        }
        let has_room = if letter.most.is_some() {
            !self.is_one_too_many(letter).await?
        } else {
            self.take_turn(letter.template, &letter.address).await?;
            (allowance.has_room)(self.letters_before(letter, purpose, allowance.late).await?)
        };
        if !has_room {
            return Ok(WishOutcome::TooMany);
        }
        self.insert_mail(letter).await?;
        Ok(WishOutcome::Written)
    }

    /// Whoever counts the letters to an address and adds to them, or moves a subscription, does so alone until the commit; SQLite's transaction
    /// is alone anyway. Nobody who has this turn waits for somebody who waits for it: what they hold besides is taken before, or nobody else's,
    /// or taken after it by everybody.
    pub(crate) async fn take_turn(&mut self, kind: &str, name: &str) -> Result<(), StoreError> {
        if let Self::Pg(tx) = self {
            let place = format!("letters\0{kind}\0{name}");
            let place = SecretDigest::of(place.as_bytes()).as_bytes().first_chunk().copied().unwrap_or_default();
            let lock = sqlx::query("SELECT pg_advisory_xact_lock($1)");
            lock.bind(i64::from_be_bytes(place)).execute(tx.within()).await?;
        }
        Ok(())
    }

    async fn count_letters(
        &mut self,
        address: &str,
        kinds: &[&'static str],
        since: DateTime<Utc>,
    ) -> Result<u64, StoreError> {
        let count: i64 = on_tx!(self, |c| {
            let mut count = QueryBuilder::new("SELECT COUNT(*) FROM outbox WHERE NOT is_wish AND created_at > ");
            count.push_bind(stored(since)).push(" AND address IN (").push_bind(address.to_owned());
            count.push(", ").push_bind(counted_address(address)).push(") AND template IN (");
            let mut listed = count.separated(", ");
            for kind in kinds {
                listed.push_bind(*kind);
            }
            count.push(")").build_query_scalar().fetch_one(c).await
        })?;
        Ok(u64::try_from(count).unwrap_or_default())
    }

    /// What has been made like this letter in the hour before it.
    async fn letters_before(
        &mut self,
        letter: &NewMail,
        purpose: Option<OneTimePurpose>,
        late: DateTime<Utc>,
    ) -> Result<Letters, StoreError> {
        const Q: &str = "SELECT COUNT(*), COUNT(CASE WHEN NOT is_familiar THEN 1 END), COUNT(CASE WHEN place = $5 THEN 1 END), \
                         COUNT(CASE WHEN created_at > $6 THEN 1 END), (SELECT COUNT(*) FROM one_time_tokens \
                         WHERE address = $1 AND purpose = $7 AND created_at > $6 AND used_at IS NOT NULL) \
                         FROM outbox WHERE address IN ($1, $4) AND template = $2 AND NOT is_wish AND created_at > $3";
        let counts: (i64, i64, i64, i64, i64) = on_tx!(self, |c| sqlx::query_as(Q)
            .bind(&letter.address)
            .bind(letter.template)
            .bind(stored(letter.now - HOUR))
            .bind(counted_address(&letter.address))
            .bind(letter.asker.map(|asker| asker.place.as_bytes().to_vec()))
            .bind(stored(late))
            .bind(purpose.map(OneTimePurpose::word))
            .fetch_one(c)
            .await)?;
        let (all, of_strangers, of_place, of_late, ended) = counts;
        let [all, of_strangers, of_place, of_late, ended] =
            [all, of_strangers, of_place, of_late, ended].map(|count| u64::try_from(count).unwrap_or_default());
        Ok(Letters { all, of_strangers, of_place, of_late, ended })
    }
}

/// What stands in the place of a deleted account's address, as long as its letters are counted. No address begins so.
pub(crate) fn counted_address(normalised: &str) -> String {
    let digest = SecretDigest::of(normalised.as_bytes());
    digest.as_bytes().iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

// === impl MailOutcome ===

impl MailOutcome {
    /// As it is stored.
    const fn word(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Failed => "failed",
        }
    }
}
