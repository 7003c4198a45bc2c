//! One-time tokens: what somebody who reads an account's mail may do once.
//!
//! A token is used by one statement that finds it unused, in time, of the right purpose and digest, or does not find it; of two who
//! show it at once one succeeds. What it buys is part of the same transaction: a token that was used has done its work.

use chrono::{DateTime, Utc};
use identity::{AccountId, OneTimePurpose, PasswordHash, SecretDigest};
use sqlx_macros::FromRow;
use uuid::Uuid;

use crate::{
    Account, AccountKind, Allowance, ChallengeSeed, Groups, NewAccount, NewMail, NewSession, SessionSeed, Status,
    Store, StoreError, Subject, WishOutcome,
    account::{AccountRow, account_where},
    db::{Tx, on, on_tx, stored},
};

/// A token to be sent to somebody.
#[derive(Clone, Debug)]
pub struct NewOneTime<'a> {
    /// Its id.
    pub id: Uuid,
    /// What it is for.
    pub purpose: OneTimePurpose,
    /// Whose it is; `None`: of an account that is not made yet.
    pub account: Option<AccountId>,
    /// The normalised address that it is sent to.
    pub address: &'a str,
    /// The digest for its purpose.
    pub digest: SecretDigest,
    /// What the browser must be known by that shows it.
    pub binding: Option<SecretDigest>,
    /// What it is for, where the purpose does not say it all.
    pub sealed: Option<Vec<u8>>,
    /// The time.
    pub now: DateTime<Utc>,
    /// When it is over.
    pub expires_at: DateTime<Utc>,
}

/// A token that somebody shows.
#[derive(Clone, Copy, Debug)]
pub struct ShownOneTime {
    /// Its id.
    pub id: Uuid,
    /// What it is shown for.
    pub purpose: OneTimePurpose,
    /// Its digest for that purpose.
    pub digest: SecretDigest,
    /// What the browser that shows it is known by.
    pub binding: Option<SecretDigest>,
}

/// What a good token stands for.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct OneTime {
    account_id: Option<Uuid>,
    /// The normalised address that it was sent to.
    pub address: String,
    /// What it is for, where the purpose does not say it all.
    pub sealed: Option<Vec<u8>>,
}

/// What becomes of accounts whose address has been confirmed.
#[derive(Clone, Copy, Debug)]
pub struct Confirmed<'a> {
    /// The role that unconfirmed accounts have …
    pub from_role: &'a str,
    /// … and the role that they have then.
    pub to_role: &'a str,
    /// A hash that no password has, and that costs as much as any to check.
    pub no_password: &'a PasswordHash,
}

/// What a link has bought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkLogin {
    /// A session.
    Opened(Account, Groups),
    /// A token with which a second factor can be shown.
    Challenged(Account),
}

/// The binding is compared here and not in the statement, where NULL equals nothing.
#[derive(FromRow)]
struct Row {
    #[sqlx(flatten)]
    found: OneTime,
    binding: Option<Vec<u8>>,
}

// === impl Store ===

impl Store {
    /// The account of a normalised address.
    pub async fn account_by_address(&self, address: &str) -> Result<Option<Account>, StoreError> {
        const Q: &str = account_where!("a.email_normalised = $1");
        let row: Option<AccountRow> = self
            .bounded(async { on!(self, |pool| sqlx::query_as(Q).bind(address).fetch_optional(pool).await) })
            .await?;
        Ok(row.map(Account::from))
    }

    /// Puts a letter with a token in a wish's place, if its address has room for it.
    pub async fn grant_wish_with(
        &self,
        wish: Uuid,
        letter: &NewMail,
        allowance: Allowance<'_>,
        token: &NewOneTime<'_>,
    ) -> Result<WishOutcome, StoreError> {
        self.bounded(async {
            let mut tx = self.begin().await?;
            let outcome = tx.grant_wish(wish, letter, Some(token.purpose), allowance).await?;
            if outcome == WishOutcome::Written {
                if let Some(account) = token.account.filter(|_| token.purpose == OneTimePurpose::ChangeEmail) {
                    tx.void_email_changes(account, token.now).await?;
                }
                tx.add_one_time(token).await?;
            }
            self.commit(tx).await?;
            Ok::<_, StoreError>(outcome)
        })
        .await
    }

    /// Keeps a one-time token that no mail is sent with.
    pub async fn keep_one_time(&self, token: &NewOneTime<'_>) -> Result<(), StoreError> {
        self.bounded(async {
            let mut tx = self.begin().await?;
            tx.add_one_time(token).await?;
            self.commit(tx).await
        })
        .await
    }

    /// Uses a one-time token that buys nothing by itself; `None` if it is no good.
    pub async fn take_one_time(&self, shown: &ShownOneTime, now: DateTime<Utc>) -> Result<Option<OneTime>, StoreError> {
        self.bounded(async {
            let mut tx = self.begin().await?;
            let Some(token) = tx.use_one_time(shown, now).await? else { return Ok(None) };
            self.commit(tx).await?;
            Ok::<_, StoreError>(Some(token))
        })
        .await
    }

    /// What a token stands for, if it could be used now. It is not used.
    pub async fn look_at(&self, shown: &ShownOneTime, now: DateTime<Utc>) -> Result<Option<OneTime>, StoreError> {
        const Q: &str = "SELECT account_id, address, sealed, binding FROM one_time_tokens \
                         WHERE id = $1 AND purpose = $2 AND digest = $3 AND used_at IS NULL AND expires_at > $4";
        let row: Option<Row> = self
            .bounded(async {
                on!(self, |pool| sqlx::query_as(Q)
                    .bind(shown.id)
                    .bind(shown.purpose.word())
                    .bind(shown.digest.as_bytes().as_slice())
                    .bind(stored(now))
                    .fetch_optional(pool)
                    .await)
            })
            .await?;
        Ok(row.filter(|row| row.is_shown_by(shown)).map(|row| row.found))
    }

    /// The id and content of a registration that waits for its address to be confirmed, the last one.
    pub async fn pending_registration(
        &self,
        address: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<(Uuid, Vec<u8>)>, StoreError> {
        const Q: &str = "SELECT id, sealed FROM one_time_tokens WHERE address = $1 AND purpose = 'register' \
                         AND used_at IS NULL AND expires_at > $2 AND sealed IS NOT NULL ORDER BY created_at DESC LIMIT 1";
        self.bounded(async {
            on!(self, |pool| sqlx::query_as(Q).bind(address).bind(stored(now)).fetch_optional(pool).await)
        })
        .await
    }

    /// Uses a token to confirm the address it was sent to; `None` if it is no good.
    pub async fn confirm_email(
        &self,
        shown: &ShownOneTime,
        confirmed: Confirmed<'_>,
        now: DateTime<Utc>,
    ) -> Result<Option<Account>, StoreError> {
        self.bounded(async {
            let mut tx = self.begin().await?;
            let Some(token) = tx.use_token_of_account(shown, now).await? else { return Ok(None) };
            let Some(account) = tx.confirm(&token, confirmed, now).await? else { return Ok(None) };
            self.commit_and_tell(tx, &[Subject::Account(account.id)], now).await?;
            Ok::<_, StoreError>(Some(account))
        })
        .await
    }

    /// Uses a token to make the account that it was sent for; `None` if it is no good, and
    /// [`StoreError::EmailTaken`] if there is one meanwhile.
    pub async fn confirm_registration(
        &self,
        shown: &ShownOneTime,
        new: NewAccount<'_>,
    ) -> Result<Option<Account>, StoreError> {
        let now = new.now;
        self.bounded(async {
            let mut tx = self.begin().await?;
            let token = tx.use_one_time(shown, now).await?;
            if token.is_none_or(|token| token.address != new.email.normalised()) {
                return Ok(None);
            }
            let id = new.id;
            tx.insert_account(new).await?;
            let account = tx.account(id).await?.ok_or(StoreError::NotFound)?;
            self.commit(tx).await?;
            Ok::<_, StoreError>(Some(account))
        })
        .await
    }

    /// Uses a token to set a new password: the address is confirmed by it, every session ends, and so does every other token that
    /// buys a password or a session. `None` if it is no good or the account is disabled.
    pub async fn reset_password(
        &self,
        shown: &ShownOneTime,
        hash: PasswordHash,
        confirmed: Confirmed<'_>,
        notice: &NewMail,
        now: DateTime<Utc>,
    ) -> Result<Option<Account>, StoreError> {
        const Q: &str = "UPDATE accounts SET password_hash = $2 WHERE id = $1";
        self.bounded(async {
            let mut tx = self.begin().await?;
            let places = tx.hold_places_by(shown).await?;
            let Some(token) = tx.use_token_of_account(shown, now).await? else { return Ok(None) };
            let owner = tx.confirm_owner(&token, &places, confirmed, now).await?;
            let Some((account, parted)) = owner else { return Ok(None) };
            on_tx!(&mut tx, |c| sqlx::query(Q).bind(account.id.uuid()).bind(hash.as_str()).execute(c).await.map(drop))?;
            tx.void_one_time_tokens(account.id, now).await?;
            tx.void_resets(account.id, now).await?;
            tx.post(notice).await?;
            let mut heard = vec![Subject::Account(account.id)];
            heard.extend(tx.end_sessions_of(account.id, None, now).await?.into_iter().map(Subject::Session));
            heard.extend(parted);
            self.commit_and_tell(tx, &heard, now).await?;
            Ok::<_, StoreError>(Some(account))
        })
        .await
    }

    /// Uses a token to open a session or, if the account has a second factor, to be asked for it: the address is confirmed by it. `None`
    /// if it is no good, was bound to another browser, or the account is disabled.
    pub async fn log_in_by(
        &self,
        shown: &ShownOneTime,
        confirmed: Confirmed<'_>,
        seed: SessionSeed<'_>,
        challenge: &ChallengeSeed,
        now: DateTime<Utc>,
    ) -> Result<Option<LinkLogin>, StoreError> {
        self.bounded(async {
            let mut tx = self.begin().await?;
            let places = tx.hold_places_by(shown).await?;
            let Some(token) = tx.use_token_of_account(shown, now).await? else { return Ok(None) };
            let owner = tx.confirm_owner(&token, &places, confirmed, now).await?;
            let Some((account, parted)) = owner else { return Ok(None) };
            let heard: Vec<Subject> = [Subject::Account(account.id)].into_iter().chain(parted).collect();
            if tx.has_factor(account.id).await? {
                tx.challenge(&account, &token.address, challenge, now).await?;
                self.commit_and_tell(tx, &heard, now).await?;
                return Ok(Some(LinkLogin::Challenged(account)));
            }
            let SessionSeed { id, proof, origin } = seed;
            let session = NewSession { id, account: &account, proof, now, origin };
            let groups = tx.insert_session(&session).await?;
            self.commit_and_tell(tx, &heard, now).await?;
            Ok::<_, StoreError>(Some(LinkLogin::Opened(account, groups)))
        })
        .await
    }
}

// === impl Tx ===

impl Tx {
    pub(crate) async fn add_one_time(&mut self, token: &NewOneTime<'_>) -> Result<(), StoreError> {
        const Q: &str = "INSERT INTO one_time_tokens (id, purpose, account_id, address, digest, binding, sealed, created_at, expires_at) \
                         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        Ok(on_tx!(self, |c| sqlx::query(Q)
            .bind(token.id)
            .bind(token.purpose.word())
            .bind(token.account.map(|account| account.uuid()))
            .bind(token.address)
            .bind(token.digest.as_bytes().as_slice())
            .bind(token.binding.map(|binding| binding.as_bytes().to_vec()))
            .bind(token.sealed.as_deref())
            .bind(stored(token.now))
            .bind(stored(token.expires_at))
            .execute(c)
            .await
            .map(drop))?)
    }

    /// Uses a token of an account's. The account is held first, as by whoever ends its tokens: else two would wait for each other. Not by
    /// whoever knows no more of the token than its id.
    pub(crate) async fn use_token_of_account(
        &mut self,
        shown: &ShownOneTime,
        now: DateTime<Utc>,
    ) -> Result<Option<OneTime>, StoreError> {
        const HOLD: &str = "SELECT 1 FROM accounts WHERE id = (SELECT account_id FROM one_time_tokens WHERE id = $1 AND digest = $2) \
                            FOR NO KEY UPDATE";
        if let Self::Pg(tx) = self {
            let hold = sqlx::query(HOLD).bind(shown.id).bind(shown.digest.as_bytes().as_slice());
            hold.execute(tx.within()).await?;
        }
        self.use_one_time(shown, now).await
    }

    /// Uses a token, once. If `None` is given back the transaction must not be committed.
    pub(crate) async fn use_one_time(
        &mut self,
        shown: &ShownOneTime,
        now: DateTime<Utc>,
    ) -> Result<Option<OneTime>, StoreError> {
        const Q: &str = "UPDATE one_time_tokens SET used_at = $4 \
                         WHERE id = $1 AND purpose = $2 AND digest = $3 AND used_at IS NULL AND expires_at > $4 \
                         RETURNING account_id, address, sealed, binding";
        let row: Option<Row> = on_tx!(self, |c| sqlx::query_as(Q)
            .bind(shown.id)
            .bind(shown.purpose.word())
            .bind(shown.digest.as_bytes().as_slice())
            .bind(stored(now))
            .fetch_optional(c)
            .await)?;
        Ok(row.filter(|row| row.is_shown_by(shown)).map(|row| row.found))
    }

    /// Notes that the owner of a token's account reads its mail; `None` if the account is disabled, has another address now, or is a
    /// machine's, which reads none.
    pub(crate) async fn confirm(
        &mut self,
        token: &OneTime,
        confirmed: Confirmed<'_>,
        now: DateTime<Utc>,
    ) -> Result<Option<Account>, StoreError> {
        // Only who was unconfirmed gets the role of those who are: an administrator may have given that role on purpose.
        const Q: &str = "UPDATE accounts SET role = CASE WHEN role = $3 AND NOT is_verified THEN $4 ELSE role END, \
                         is_verified = $5, updated_at = $6 WHERE id = $1 AND email_normalised = $2";
        let Some(id) = token.account() else { return Ok(None) };
        let found = on_tx!(&mut *self, |c| sqlx::query(Q)
            .bind(id.uuid())
            .bind(&token.address)
            .bind(confirmed.from_role)
            .bind(confirmed.to_role)
            .bind(true)
            .bind(stored(now))
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        if found == 0 {
            return Ok(None);
        }
        let is_owned = |account: &Account| account.status == Status::Active && account.kind == AccountKind::Person;
        Ok(self.account(id).await?.filter(is_owned))
    }
}

// === impl OneTime ===

impl OneTime {
    /// Whose it is; `None`: of an account that is not made yet.
    #[must_use]
    pub fn account(&self) -> Option<AccountId> {
        self.account_id.map(AccountId::new)
    }
}

// === impl Row ===

impl Row {
    fn is_shown_by(&self, shown: &ShownOneTime) -> bool {
        let bound_to = self.binding.as_deref().map(SecretDigest::from_slice);
        bound_to.is_none_or(|bound_to| bound_to.is_some() && bound_to == shown.binding)
    }
}
