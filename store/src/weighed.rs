//! Rights are weighed before anything is written: over somebody else's account against the role that it has, and by what somebody has shown. By
//! the time of the writing it may have another role, against which whoever writes would not have been let through, and what they have shown
//! may have ended.

use chrono::{DateTime, Utc};
use identity::{AccountId, Grant};
use uuid::Uuid;

use crate::{
    StoreError,
    accounts::CHANGED_MEANWHILE,
    db::{Tx, on_tx, stored},
};

// === impl Tx ===

impl Tx {
    /// Holds an account that has this role still until the commit: whoever gives it another one waits for this transaction, or is waited for.
    /// Asked before anything else is locked. [`StoreError::NotFound`] if there is none, and [`StoreError::Conflict`] if it has another role.
    pub(crate) async fn hold_role(&mut self, id: AccountId, of_role: &str) -> Result<(), StoreError> {
        const LITE: &str = "SELECT id FROM accounts WHERE id = $1 AND role = $2";
        // Not FOR SHARE: of two who hold it so and then write to it, each would wait for the other.
        const PG: &str = "SELECT id FROM accounts WHERE id = $1 AND role = $2 FOR NO KEY UPDATE";
        let statement = if matches!(self, Self::Pg(_)) { PG } else { LITE };
        let held: Option<Uuid> = on_tx!(&mut *self, |c| sqlx::query_scalar(statement)
            .bind(id.uuid())
            .bind(of_role)
            .fetch_optional(c)
            .await)?;
        match held {
            Some(_) => Ok(()),
            None => Err(self.changed_meanwhile(id).await?),
        }
    }

    /// What somebody has shown opens the door still; [`StoreError::Conflict`] if not. Asked while their account is held: whoever ends it holds
    /// that too. Of certificates there is no record, and an issuer's word is another one each time.
    pub(crate) async fn demand_in_force(
        &mut self,
        account: AccountId,
        by: Option<Grant>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        const KEY: &str = "SELECT COUNT(*) FROM accounts a JOIN api_keys k ON k.account_id = a.id WHERE a.id = $1 AND a.status = 'active' \
                           AND k.id = $2 AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > $3)";
        let is_in_force = match by {
            Some(Grant::Session(id) | Grant::Cookie(id) | Grant::Machine(id)) => self.is_in(account, id).await?,
            Some(Grant::Key(id)) => {
                let found: i64 = on_tx!(self, |c| sqlx::query_scalar(KEY)
                    .bind(account.uuid())
                    .bind(id.uuid())
                    .bind(stored(now))
                    .fetch_one(c)
                    .await)?;
                found == 1
            }
            Some(Grant::Certificate(_) | Grant::External(..)) | None => true,
        };
        if is_in_force { Ok(()) } else { Err(CHANGED_MEANWHILE) }
    }
}
