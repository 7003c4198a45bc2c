//! Mail on its way: wishes that are still to be looked at, and letters that are ready to be sent.
//!
//! A *wish* says what somebody asked for and of which address, and nothing of whether there is such an account: to ask costs one
//! row whatever the answer will be, and only whoever carries the mail finds out. A *letter* is what is sent. What either says
//! is sealed by the caller; once it is over it is wiped, and its row is kept for as long as the configuration says.
//!
//! A node claims what is due by moving the moment at which it is due: what a node takes with it when it dies is due again.

use chrono::{DateTime, Utc};
use identity::{AccountId, SecretDigest};
use sqlx::FromRow;
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

/// How many letters of one kind have been made for an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Letters {
    /// Whoever asked.
    pub all: u64,
    /// At the asking of places that are not familiar.
    pub of_strangers: u64,
    /// At the asking of that one place.
    pub of_place: u64,
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

    /// How many wait.
    pub async fn mails_waiting(&self) -> Result<u64, StoreError> {
        const Q: &str = "SELECT COUNT(*) FROM outbox WHERE ended_at IS NULL";
        let waiting: i64 =
            self.bounded(async { on!(self, |pool| sqlx::query_scalar(Q).fetch_one(pool).await) }).await?;
        Ok(u64::try_from(waiting).unwrap_or_default())
    }

    /// How many letters of one kind have been made for an address since then, also while it was another account's.
    pub async fn letters_since(
        &self,
        address: &str,
        template: &str,
        place: Option<&SecretDigest>,
        since: DateTime<Utc>,
    ) -> Result<Letters, StoreError> {
        const Q: &str = "SELECT COUNT(*), COUNT(CASE WHEN NOT is_familiar THEN 1 END), COUNT(CASE WHEN place = $5 THEN 1 END) \
                         FROM outbox WHERE address IN ($1, $4) AND template = $2 AND NOT is_wish AND created_at > $3";
        let (all, of_strangers, of_place): (i64, i64, i64) = self
            .bounded(async {
                on!(self, |pool| sqlx::query_as(Q)
                    .bind(address)
                    .bind(template)
                    .bind(stored(since))
                    .bind(counted_address(address))
                    .bind(place.map(|place| place.as_bytes().as_slice()))
                    .fetch_one(pool)
                    .await)
            })
            .await?;
        let [all, of_strangers, of_place] =
            [all, of_strangers, of_place].map(|count| u64::try_from(count).unwrap_or_default());
        Ok(Letters { all, of_strangers, of_place })
    }

    /// Has a session of that account begun in this browser, and has one from this network?
    pub async fn knows(
        &self,
        account: AccountId,
        device: Option<&SecretDigest>,
        network: &str,
    ) -> Result<[bool; 2], StoreError> {
        const Q: &str = "SELECT EXISTS (SELECT 1 FROM sessions WHERE account_id = $1 AND device = $2 AND actor_id IS NULL), \
                         EXISTS (SELECT 1 FROM sessions WHERE account_id = $1 AND network = $3 AND actor_id IS NULL)";
        let (knows_device, knows_network) = self
            .bounded(async {
                on!(self, |pool| sqlx::query_as(Q)
                    .bind(account.uuid())
                    .bind(device.map(|device| device.as_bytes().as_slice()))
                    .bind(network)
                    .fetch_one(pool)
                    .await)
            })
            .await?;
        Ok([knows_device, knows_network])
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

    /// Puts a letter in a wish's place.
    pub async fn grant_wish(&self, wish: Uuid, letter: &NewMail) -> Result<(), StoreError> {
        self.bounded(async {
            let mut tx = self.begin().await?;
            tx.grant_wish(wish, letter).await?;
            self.commit(tx).await
        })
        .await
    }
}

// === impl Tx ===

impl Tx {
    pub(crate) async fn post(&mut self, mail: &NewMail) -> Result<(), StoreError> {
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

    /// A wish that somebody else has granted meanwhile is granted once.
    pub(crate) async fn grant_wish(&mut self, wish: Uuid, letter: &NewMail) -> Result<(), StoreError> {
        if self.drop_wish(wish).await? == 0 {
            return Err(StoreError::Conflict("another node has granted this wish"));
        }
        self.post(letter).await
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
