//! Backups: everything that is stored, at one moment, while everybody goes on, in one file; and back into an empty place.
//!
//! A file is of one engine and goes back into the same. What is sealed in it stays sealed: the master key is never part of it.

use std::{
    io,
    path::{Path, PathBuf},
};

use chrono::Utc;
use sqlx::migrate::Migration;

use self::archive::{Head, Reader, Writer};
use crate::{
    PoolSettings, Store, StoreError,
    db::{Db, is_postgres},
};

mod archive;
mod postgres;
mod sqlite;

/// Why there is no backup, or no restored database.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The database did not do its part.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file cannot be written or read.
    #[error("{}: {error}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The file is no backup, or no longer what it was.
    #[error("{}: {what}", path.display())]
    Damaged {
        /// Which one.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The file, or the database, is of a version that this one does not fit.
    #[error("{0}")]
    OtherVersion(&'static str),
    /// There is something where the backup should go.
    #[error("{0}: a backup is restored into an empty place only")]
    NotEmpty(String),
}

/// What was saved or restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// `sqlite` or `postgres`.
    pub engine: &'static str,
    /// How large the file is.
    pub bytes: u64,
    /// The last step of the tables' migrations.
    pub last_step: i64,
}

const SQLITE: &str = "sqlite";
const POSTGRES: &str = "postgres";

// === impl Store ===

impl Store {
    /// Saves everything as it is at one moment into a new file, which nobody else may read (mode 0600). Nobody waits for it.
    pub async fn back_up(&self, to: &Path) -> Result<Receipt, BackupError> {
        const OTHER: BackupError = BackupError::OtherVersion(
            "the tables are not those of this version: take the backup with the version that made them, or migrate first",
        );
        if !self.is_current().await? || self.applied().await?.len() != self.steps().count() {
            return Err(OTHER);
        }
        let engine = if matches!(self.db, Db::Pg(_)) { POSTGRES } else { SQLITE };
        let steps: Vec<_> = self.steps().map(step_of).collect();
        let last_step = steps.last().map_or(0, |(version, _)| *version);
        let mut archive = Writer::create(to, &Head { engine: engine.to_owned(), taken_at: Utc::now(), steps })?;
        match &self.db {
            Db::Pg(pg) => postgres::save(pg, &mut archive).await?,
            Db::Lite { pool, .. } => sqlite::save(pool, &mut archive).await?,
        }
        // Somebody may have changed the tables meanwhile.
        if self.applied().await?.len() != self.steps().count() {
            return Err(OTHER);
        }
        Ok(Receipt { engine, bytes: archive.finish()?, last_step })
    }
}

/// Restores a backup where there is nothing, and brings the tables up to this version.
pub async fn restore(url: &str, settings: PoolSettings, from: &Path) -> Result<Receipt, BackupError> {
    let mut archive = Reader::open(from)?;
    let engine = if is_postgres(url) { POSTGRES } else { SQLITE };
    if archive.head.engine != engine {
        return Err(BackupError::OtherVersion(
            "the backup is of the other engine: one of SQLite is restored into SQLite, one of Postgres into Postgres",
        ));
    }
    let known: Vec<_> = crate::migrate::steps_of(is_postgres(url)).map(step_of).collect();
    if archive.head.steps.is_empty() || !known.starts_with(&archive.head.steps) {
        return Err(BackupError::OtherVersion(
            "the backup is of tables that this version does not know: use a newer one",
        ));
    }
    if is_postgres(url) {
        postgres::restore(url, &settings, &mut archive).await?;
    } else {
        sqlite::restore(url, &mut archive).await?;
    }
    let store = Store::connect(url, settings).await?;
    store.migrate().await?;
    Ok(Receipt { engine, bytes: archive.bytes(), last_step: known.last().map_or(0, |(version, _)| *version) })
}

fn step_of(step: &Migration) -> (i64, String) {
    let digits = step.checksum.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    (step.version, digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect())
}
