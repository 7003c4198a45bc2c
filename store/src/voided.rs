//! One-time tokens that buy nothing any more, since what they were sent for, or to whom, is another one now.

use chrono::{DateTime, Utc};
use identity::AccountId;

use crate::{
    StoreError,
    db::{Tx, on_tx, stored},
};

// === impl Tx ===

impl Tx {
    /// What was sent to buy a password, a session or another address buys nothing any more.
    pub(crate) async fn void_one_time_tokens(
        &mut self,
        account: AccountId,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        const Q: &str = "UPDATE one_time_tokens SET used_at = $2 WHERE account_id = $1 AND used_at IS NULL \
                         AND purpose IN ('reset_password', 'magic_link', 'second_factor', 'change_email')";
        Ok(on_tx!(self, |c| sqlx::query(Q).bind(account.uuid()).bind(stored(now)).execute(c).await.map(drop))?)
    }

    /// The same of whatever waits: it went to an address that is the account's no more or was never its owner's, or was begun by what went there.
    pub(crate) async fn void_all_one_time_tokens(
        &mut self,
        id: AccountId,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        const Q: &str = "UPDATE one_time_tokens SET used_at = $2 WHERE account_id = $1 AND used_at IS NULL";
        Ok(on_tx!(self, |c| sqlx::query(Q).bind(id.uuid()).bind(stored(now)).execute(c).await.map(drop))?)
    }
}
