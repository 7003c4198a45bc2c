//! What can go wrong with the database, as those who asked need to tell it apart.

use std::io;

use sqlx::error::ErrorKind;

/// Why a question was not answered.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached, is too slow, full or read-only; nothing was written. Try again later (503).
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// There is an account with this address.
    #[error("the address belongs to an account already")]
    EmailTaken,
    /// There is no such record.
    #[error("there is no such record")]
    NotFound,
    /// The record is not in a state that allows this.
    #[error("{0}")]
    Conflict(&'static str),
    /// What is stored makes no sense, or a query does not fit the tables: a defect (500).
    #[error("the database holds what it should not: {0}")]
    Corrupt(String),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        match error {
            E::RowNotFound => Self::NotFound,
            E::Database(ref inner) if inner.kind() == ErrorKind::UniqueViolation && inner.message().contains("email_normalised") => Self::EmailTaken,
            E::Database(ref inner) if passing(inner.code().as_deref().unwrap_or_default()) => Self::Unavailable(error.to_string()),
            E::Io(_) | E::Tls(_) | E::PoolTimedOut | E::PoolClosed | E::WorkerCrashed | E::Protocol(_) | E::BeginFailed => Self::Unavailable(error.to_string()),
            other => Self::Corrupt(other.to_string()),
        }
    }
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// Codes of troubles that pass: the server's, the disk's or another writer's, and not the query's.
fn passing(code: &str) -> bool {
    // SQLite's extended codes hold the primary code in their low byte (sqlite.org/rescode.html): busy, locked, read-only,
    // I/O error, full, cannot open.
    if let Ok(number) = code.parse::<u32>()
        && code.len() < 5
    {
        return matches!(number & 0xff, 5 | 6 | 8 | 10 | 13 | 14);
    }
    // Postgres' classes (appendix A): connection, transaction rolled back by the server, read-only transaction,
    // resources, operator (a statement timeout among them), system; and a lock that is not to be had.
    matches!(code.get(..2), Some("08" | "40" | "53" | "57" | "58")) || matches!(code, "25006" | "55P03")
}

#[cfg(test)]
mod tests {
    use super::passing;

    #[test]
    fn troubles_that_pass_are_told_from_defects() {
        for code in ["5", "13", "1034", "2570", "10", "14", "08006", "53300", "57014", "57P01", "25006", "40001"] {
            assert!(passing(code), "{code}");
        }
        for code in ["1", "19", "2067", "23505", "42P01", "22001", ""] {
            assert!(!passing(code), "{code}");
        }
    }
}
