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

/// Who does something to somebody else, as they were when their right to it was weighed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoneBy {
    /// Whose right it is.
    pub account: AccountId,
    /// The role that holds it.
    pub role: String,
    /// What they have shown.
    pub grant: Grant,
    /// The time.
    pub now: DateTime<Utc>,
}

/// Against what a right over somebody's account was weighed.
#[derive(Clone, Copy, Debug)]
pub struct Over<'a> {
    /// The role of the account.
    pub of_role: &'a str,
    /// Whose right it is; `None`: nobody's who could lose it.
    pub by: Option<&'a DoneBy>,
}

/// Whoever does something, $1, in the role $2, and to whom, $3.
macro_rules! doer {
    () => {
        "SELECT id FROM accounts WHERE (id = $3 AND id <> $1) OR (id = $1 AND status = 'active' AND role = $2)"
    };
}

// === impl Over ===

impl<'a> From<&'a str> for Over<'a> {
    fn from(of_role: &'a str) -> Self {
        Self { of_role, by: None }
    }
}

// === impl Tx ===

impl Tx {
    /// Holds an account that has this role still until the commit: whoever gives it another one waits for this transaction, or is waited for.
    /// Asked before anything else is locked. [`StoreError::NotFound`] if there is none, and [`StoreError::Conflict`] if it has another role, or
    /// whoever asks has lost the right.
    pub(crate) async fn hold_role(&mut self, id: AccountId, over: Over<'_>) -> Result<(), StoreError> {
        const LITE: &str = "SELECT id FROM accounts WHERE id = $1 AND role = $2";
        // Not FOR SHARE: of two who hold it so and then write to it, each would wait for the other.
        const PG: &str = "SELECT id FROM accounts WHERE id = $1 AND role = $2 FOR NO KEY UPDATE";
        self.hold_doer(over.by, Some(id)).await?;
        let statement = if matches!(self, Self::Pg(_)) { PG } else { LITE };
        let held: Option<Uuid> = on_tx!(&mut *self, |c| sqlx::query_scalar(statement)
            .bind(id.uuid())
            .bind(over.of_role)
            .fetch_optional(c)
            .await)?;
        match held {
            Some(_) => Ok(()),
            None => Err(self.changed_meanwhile(id).await?),
        }
    }

    /// Whoever does something has the right to it still that was weighed, and will until the commit: whoever takes it away waits for this one, or
    /// is waited for. To whom they do it is held with them, both in one order: so two who do it to each other come one after the other. Asked
    /// when tenants are held, if any are, and before anything of the two.
    pub(crate) async fn hold_doer(&mut self, by: Option<&DoneBy>, to: Option<AccountId>) -> Result<(), StoreError> {
        const ALONE: &str = concat!(doer!(), " FOR SHARE");
        // Not FOR SHARE: of two who hold somebody so and then write to them, each would wait for the other.
        const BOTH: &str = concat!(doer!(), " ORDER BY id FOR NO KEY UPDATE");
        let Some(by) = by else { return Ok(()) };
        let statement = match (&*self, to) {
            (Self::Lite { .. }, _) => doer!(),
            (Self::Pg(_), None) => ALONE,
            (Self::Pg(_), Some(_)) => BOTH,
        };
        let held: Vec<Uuid> = on_tx!(&mut *self, |c| sqlx::query_scalar(statement)
            .bind(by.account.uuid())
            .bind(&by.role)
            .bind(to.map(|to| to.uuid()))
            .fetch_all(c)
            .await)?;
        if !held.contains(&by.account.uuid()) {
            return Err(CHANGED_MEANWHILE);
        }
        self.demand_in_force(by.account, Some(by.grant), by.now).await
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
