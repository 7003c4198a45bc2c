//! Accounts that an administrator has made for somebody: disabled until whoever reads their mail takes them over.
//!
//! That one is waited for is noted at the account (`invited_at`) and not read off its tokens, which are deleted some time after they are
//! over. An administrator who sets the account's status has decided about it: then nobody is waited for any more.

use chrono::{DateTime, Utc};
use identity::{AccountId, PasswordHash};

use crate::{
    Account, DoneBy, NewAccount, NewMail, NewOneTime, Over, ShownOneTime, Store, StoreError, Subject,
    db::{Tx, on_tx, stored},
};

// === impl Store ===

impl Store {
    /// Makes an account that nobody can use yet, and posts the letter that says how, unless somebody is told otherwise;
    /// [`StoreError::EmailTaken`] if its address has one, and [`StoreError::Conflict`] if whoever invites has lost the right to it.
    pub async fn invite(
        &self,
        new: NewAccount<'_>,
        token: &NewOneTime<'_>,
        letter: Option<&NewMail>,
        by: Option<&DoneBy>,
    ) -> Result<Account, StoreError> {
        const Q: &str = "UPDATE accounts SET status = 'disabled', invited_at = $2 WHERE id = $1";
        self.bounded(async {
            let (id, now) = (new.id, new.now);
            let mut tx = self.begin().await?;
            tx.hold_doer(by, None).await?;
            tx.insert_account(new).await?;
            on_tx!(&mut tx, |c| sqlx::query(Q).bind(id.uuid()).bind(stored(now)).execute(c).await.map(drop))?;
            tx.add_one_time(token).await?;
            if let Some(letter) = letter {
                tx.post(letter).await?;
            }
            let account = tx.account(id).await?.ok_or(StoreError::NotFound)?;
            self.commit(tx).await?;
            Ok::<_, StoreError>(account)
        })
        .await
    }

    /// Makes an account that somebody else can use at once; [`StoreError::EmailTaken`] if its address has one, and [`StoreError::Conflict`] if
    /// whoever makes it has lost the right to it.
    pub async fn create_account_by(&self, new: NewAccount<'_>, by: Option<&DoneBy>) -> Result<Account, StoreError> {
        self.bounded(async {
            let id = new.id;
            let mut tx = self.begin().await?;
            tx.hold_doer(by, None).await?;
            tx.insert_account(new).await?;
            let account = tx.account(id).await?.ok_or(StoreError::NotFound)?;
            self.commit(tx).await?;
            Ok::<_, StoreError>(account)
        })
        .await
    }

    /// Posts another letter, if any, whose token replaces those before; [`StoreError::Conflict`] if nobody is waited for, the account has
    /// another role than `of_role`, or whoever asks has lost the right to it.
    pub async fn invite_again(
        &self,
        id: AccountId,
        of_role: impl Into<Over<'_>>,
        token: &NewOneTime<'_>,
        letter: Option<&NewMail>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        const Q: &str = "UPDATE accounts SET invited_at = $2 WHERE id = $1 AND invited_at IS NOT NULL";
        const VOID: &str =
            "UPDATE one_time_tokens SET used_at = $2 WHERE account_id = $1 AND used_at IS NULL AND purpose = 'invite'";
        let over = of_role.into();
        self.bounded(async {
            let mut tx = self.begin().await?;
            tx.hold_role(id, over).await?;
            let waits = on_tx!(&mut tx, |c| sqlx::query(Q)
                .bind(id.uuid())
                .bind(stored(now))
                .execute(c)
                .await
                .map(|done| done.rows_affected()))?;
            if waits == 0 {
                return Err(StoreError::Conflict("the account is not one that waits to be taken over"));
            }
            on_tx!(&mut tx, |c| sqlx::query(VOID).bind(id.uuid()).bind(stored(now)).execute(c).await.map(drop))?;
            tx.add_one_time(token).await?;
            if let Some(letter) = letter {
                tx.post(letter).await?;
            }
            self.commit(tx).await
        })
        .await
    }

    /// Uses a token to take an account over: it has this password, its address is confirmed, and it can be used. `None` if the token is
    /// no good or nobody is waited for any more.
    pub async fn accept_invitation(
        &self,
        shown: &ShownOneTime,
        hash: PasswordHash,
        name: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Option<Account>, StoreError> {
        self.bounded(async {
            let mut tx = self.begin().await?;
            let Some(token) = tx.use_token_of_account(shown, now).await? else { return Ok(None) };
            let Some(id) = token.account() else { return Ok(None) };
            if tx.take_over(id, &token.address, &hash, name, now).await? == 0 {
                return Ok(None);
            }
            let account = tx.account(id).await?.ok_or(StoreError::NotFound)?;
            self.commit_and_tell(tx, &[Subject::Account(id)], now).await?;
            Ok::<_, StoreError>(Some(account))
        })
        .await
    }
}

// === impl Tx ===

impl Tx {
    async fn take_over(
        &mut self,
        id: AccountId,
        address: &str,
        hash: &PasswordHash,
        name: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<u64, StoreError> {
        const Q: &str = "UPDATE accounts SET password_hash = $3, name = COALESCE($4, name), status = 'active', is_verified = $5, \
                         invited_at = NULL, updated_at = $6 \
                         WHERE id = $1 AND email_normalised = $2 AND invited_at IS NOT NULL";
        Ok(on_tx!(self, |c| sqlx::query(Q)
            .bind(id.uuid())
            .bind(address)
            .bind(hash.as_str())
            .bind(name)
            .bind(true)
            .bind(stored(now))
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?)
    }
}
