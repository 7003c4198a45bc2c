//! Rights over somebody else's account. They are weighed against the role that it has, before anything is written; by the time of the writing
//! it may have another one, against which whoever writes would not have been let through.

use identity::AccountId;
use uuid::Uuid;

use crate::{
    StoreError,
    db::{Tx, on_tx},
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
}
