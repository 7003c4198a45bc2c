//! One-time tokens that buy nothing any more, since what they were sent for, or to whom, is another one now.

use chrono::{DateTime, Utc};
use identity::AccountId;

use crate::{
    NewMail, StoreError,
    db::{Tx, on_tx, stored},
};

// === impl Tx ===

impl Tx {
    /// Tells an account's owner of a change, with which what was sent to buy a password, a session or another address buys nothing any more.
    /// Changes that are too many to be told of leave whoever reads the mail a link to choose a password: who knows the present one, and changes it
    /// to and fro, would leave its owner none that serves (docs/decisions/0008-lockout.md).
    pub(crate) async fn void_and_tell(
        &mut self,
        account: AccountId,
        notice: &NewMail,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.void_one_time_tokens(account, now).await?;
        if self.post(notice).await? {
            self.void_resets(account, now).await?;
        }
        Ok(())
    }

    /// What was sent to buy a session or another address buys nothing any more.
    pub(crate) async fn void_one_time_tokens(
        &mut self,
        account: AccountId,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        const Q: &str = "UPDATE one_time_tokens SET used_at = $2 WHERE account_id = $1 AND used_at IS NULL \
                         AND purpose IN ('magic_link', 'second_factor', 'change_email')";
        Ok(on_tx!(self, |c| sqlx::query(Q).bind(account.uuid()).bind(stored(now)).execute(c).await.map(drop))?)
    }

    /// Nor what was sent to buy a password.
    pub(crate) async fn void_resets(&mut self, account: AccountId, now: DateTime<Utc>) -> Result<(), StoreError> {
        const Q: &str = "UPDATE one_time_tokens SET used_at = $2 WHERE account_id = $1 AND used_at IS NULL \
                         AND purpose = 'reset_password'";
        Ok(on_tx!(self, |c| sqlx::query(Q).bind(account.uuid()).bind(stored(now)).execute(c).await.map(drop))?)
    }

    /// Nothing that waits does: it went to an address that is the account's no more or was never its owner's, or was begun by what went there.
    pub(crate) async fn void_all_one_time_tokens(
        &mut self,
        id: AccountId,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        const Q: &str = "UPDATE one_time_tokens SET used_at = $2 WHERE account_id = $1 AND used_at IS NULL";
        Ok(on_tx!(self, |c| sqlx::query(Q).bind(id.uuid()).bind(stored(now)).execute(c).await.map(drop))?)
    }
}
