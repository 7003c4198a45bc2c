//! Somebody always administers the platform: its last administrator is neither disabled nor deleted, and stays one.

use identity::AccountId;

use crate::{
    StoreError,
    db::{Tx, on_tx},
};

/// The lock under which administrators are sent away on Postgres: "admins" in ASCII.
const ADMINISTRATORS_LOCK: i64 = i64::from_be_bytes(*b"\0\0admins");

/// Whoever administers the platform now, for a condition to follow.
macro_rules! administrators {
    () => {
        "SELECT 1 FROM accounts WHERE role = 'admin' AND status = 'active' AND kind = 'person'"
    };
}

// === impl Tx ===

impl Tx {
    /// Of two administrators who send each other away at once one stays. Asked before anything else is locked; whoever asks next waits for the
    /// commit.
    pub(crate) async fn demand_another_administrator(&mut self, besides: AccountId) -> Result<(), StoreError> {
        const IS_ONE: &str = concat!(administrators!(), " AND id = $1");
        const OTHERS: &str = concat!(administrators!(), " AND id <> $1 LIMIT 1");
        let is_one: Option<i32> =
            on_tx!(&mut *self, |c| sqlx::query_scalar(IS_ONE).bind(besides.uuid()).fetch_optional(c).await)?;
        if is_one.is_none() {
            return Ok(());
        }
        if let Self::Pg(tx) = &mut *self {
            sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(ADMINISTRATORS_LOCK).execute(tx.within()).await?;
        }
        let other: Option<i32> =
            on_tx!(self, |c| sqlx::query_scalar(OTHERS).bind(besides.uuid()).fetch_optional(c).await)?;
        other.map(drop).ok_or(StoreError::Conflict(
            "nobody else administers the platform; make somebody else an administrator first",
        ))
    }
}
