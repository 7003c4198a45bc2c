//! What can go wrong with the database, as those who asked need to tell it apart.

use std::io;

use sqlx::error::{DatabaseError, ErrorKind};

/// Why a question was not answered.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached, is too slow, full or read-only. Try again later (503). A write that nobody answered
    /// may have been done all the same.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// There is an account with this address.
    #[error("the address belongs to an account already")]
    EmailTaken,
    /// There is no such record.
    #[error("there is no such record")]
    NotFound,
    /// The account has as many API keys as it may: this many.
    #[error("the account may have no more than {0} keys")]
    TooManyKeys(u32),
    /// The account answers for as many tenants as it may.
    #[error("the account answers for as many tenants as it may")]
    TooManyTenants,
    /// The tenant has as many of these as its tier has room for.
    #[error("the tenant has as many {0} as it may")]
    QuotaReached(&'static str),
    /// Nobody would answer for the tenant any more.
    #[error("the tenant has no other owner")]
    LastOwner,
    /// It is the tenant's owners' alone to do.
    #[error("only an owner of the tenant does this")]
    OwnersOnly,
    /// The record is not in a state that allows this.
    #[error("{0}")]
    Conflict(&'static str),
    /// The role with which we log in to the database lacks a right (503). Whoever runs it has to give it.
    #[error("the database refuses it: {0}")]
    Forbidden(String),
    /// A text that the database cannot hold: a NUL on Postgres, or what its encoding has no place for (400).
    #[error("the database cannot hold a text: {0}")]
    Unfit(String),
    /// What is stored makes no sense, or a query does not fit the tables: a defect (500).
    #[error("the database holds what it should not: {0}")]
    Corrupt(String),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        match &error {
            E::RowNotFound => Self::NotFound,
            E::Database(inner) => refused(inner.as_ref()).unwrap_or_else(|| Self::Corrupt(error.to_string())),
            E::Io(_)
            | E::Tls(_)
            | E::Protocol(_)
            | E::PoolTimedOut
            | E::PoolClosed
            | E::WorkerCrashed
            | E::BeginFailed => Self::Unavailable(error.to_string()),
            // The rest are queries that do not fit the tables. The enum is open, so they cannot be listed.
            _ => Self::Corrupt(error.to_string()),
        }
    }
}

/// What the database said, if it is no defect of ours.
fn refused(error: &dyn DatabaseError) -> Option<StoreError> {
    match error.kind() {
        ErrorKind::UniqueViolation if error.message().contains("email_normalised") => Some(StoreError::EmailTaken),
        ErrorKind::UniqueViolation => Some(StoreError::Conflict("there is such a record already")),
        // What it belongs to is gone.
        ErrorKind::ForeignKeyViolation => Some(StoreError::NotFound),
        // Postgres' insufficient_privilege.
        _ if error.code().as_deref() == Some("42501") => Some(StoreError::Forbidden(error.message().to_owned())),
        // Postgres' character_not_in_repertoire and untranslatable_character: the value's fault, wherever it was not looked at before.
        _ if matches!(error.code().as_deref(), Some("22021" | "22P05")) => {
            Some(StoreError::Unfit(error.message().to_owned()))
        }
        _ => passing(error.code().as_deref().unwrap_or_default()).then(|| StoreError::Unavailable(error.to_string())),
    }
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// Codes of troubles that pass: the server's, the disk's or another writer's, and not the query's.
fn passing(code: &str) -> bool {
    // SQLite's extended codes hold the primary code in their low byte (sqlite.org/rescode.html): no permission, busy,
    // locked, out of memory, read-only, interrupted, I/O error, full, cannot open, lost the race for a lock.
    if let Ok(number) = code.parse::<u32>()
        && code.len() < 5
    {
        return matches!(number & 0xff, 3 | 5..=10 | 13..=15);
    }
    // Postgres' classes (appendix A): connection, log-in, transaction rolled back by the server, resources, operator (a
    // statement timeout among them), system; and single codes: no such database, read-only, idle for too long within a
    // transaction, a lock that is not to be had.
    matches!(code.get(..2), Some("08" | "28" | "40" | "53" | "57" | "58"))
        || matches!(code, "3D000" | "25006" | "25P03" | "55P03")
}

#[cfg(test)]
mod tests {
    use super::passing;

    #[test]
    fn troubles_that_pass_are_told_from_defects() {
        for code in [
            "5", "13", "1034", "2570", "10", "14", "08006", "53300", "57014", "57P01", "25006", "40001", "28P01",
            "3D000", "55P03",
        ] {
            assert!(passing(code), "{code}");
        }
        for code in ["1", "11", "19", "26", "2067", "23505", "42P01", "22001", "XX001", ""] {
            assert!(!passing(code), "{code}");
        }
    }
}
