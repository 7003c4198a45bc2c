//! The two engines behind one way in: a pool of each kind, and transactions that append to the change feed.
//!
//! `on!` and `on_tx!` expand the same body for each engine, so every query is one text, monomorphised with native types. To
//! add an engine, add a variant of [`Db`] and [`Tx`] and an arm to each macro; the same suite runs on it.

use std::{future::Future, path::PathBuf, str::FromStr, sync::Arc, time::Duration};

use chrono::{DateTime, SubsecRound, Utc};
use sqlx::{
    PgPool, Postgres, Sqlite, SqlitePool, Transaction,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::watch;

use crate::{StoreError, Subject};

/// The lock under which positions of the feed are drawn on Postgres: "portcull" in ASCII.
const FEED_LOCK: i64 = i64::from_be_bytes(*b"portcull");

/// The way in. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pub(crate) db: Db,
    /// The longest that anything may take.
    patience: Duration,
    /// Counts committed changes of this process.
    nudge: Arc<watch::Sender<u64>>,
}

/// How connections are kept.
#[derive(Clone, Debug)]
pub struct PoolSettings {
    /// Connections at most.
    pub max_connections: u32,
    /// Waiting for one.
    pub acquire_timeout: Duration,
    /// One statement.
    pub statement_timeout: Duration,
}

#[derive(Clone)]
pub(crate) enum Db {
    Pg(PgPool),
    Lite(SqlitePool, Option<PathBuf>),
}

pub(crate) enum Tx {
    Pg(Transaction<'static, Postgres>),
    Lite(Transaction<'static, Sqlite>),
}

/// Expands the same body once per engine.
macro_rules! on {
    ($store:expr, |$pool:ident| $body:expr) => {
        match &$store.db {
            $crate::db::Db::Pg($pool) => $body,
            $crate::db::Db::Lite($pool, _) => $body,
        }
    };
}

/// The same within a transaction.
macro_rules! on_tx {
    ($tx:expr, |$connection:ident| $body:expr) => {
        match $tx {
            $crate::db::Tx::Pg(tx) => {
                let $connection = &mut **tx;
                $body
            }
            $crate::db::Tx::Lite(tx) => {
                let $connection = &mut **tx;
                $body
            }
        }
    };
}

pub(crate) use {on, on_tx};

// === impl Store ===

impl Store {
    /// Opens `sqlite:PATH`, `sqlite::memory:` or `postgres://…`, and asks the database one question to see that it is there.
    pub async fn connect(url: &str, pool: PoolSettings) -> Result<Self, StoreError> {
        let db = if url.starts_with("postgres") { Db::Pg(open_postgres(url, &pool)?) } else { open_sqlite(url, &pool)? };
        // A frozen server or a cut link answers nothing at all; no pool setting covers that.
        let patience = pool.acquire_timeout + pool.statement_timeout;
        let store = Self { db, patience, nudge: Arc::new(watch::channel(0).0) };
        store.bounded(async { on!(store, |pool| sqlx::query("SELECT 1").execute(pool).await.map(drop)) }).await?;
        Ok(store)
    }

    /// Told each time this process has committed a change.
    #[must_use]
    pub fn nudges(&self) -> watch::Receiver<u64> {
        self.nudge.subscribe()
    }

    /// Runs a question, but not for ever.
    pub(crate) async fn bounded<T, E: Into<StoreError>>(&self, work: impl Future<Output = Result<T, E>>) -> Result<T, StoreError> {
        match tokio::time::timeout(self.patience, work).await {
            Ok(answer) => answer.map_err(Into::into),
            Err(_) => Err(StoreError::Unavailable(format!("no answer within {:?}", self.patience))),
        }
    }

    /// Begins to write. SQLite takes its write lock now and not in the middle.
    pub(crate) async fn begin(&self) -> Result<Tx, StoreError> {
        Ok(match &self.db {
            Db::Pg(pool) => Tx::Pg(pool.begin().await?),
            Db::Lite(pool, _) => Tx::Lite(pool.begin_with("BEGIN IMMEDIATE").await?),
        })
    }

    /// Commits what was written together with what the gateways must hear of it, and nudges those in this process.
    pub(crate) async fn commit(&self, mut tx: Tx, changed: &[Subject], now: DateTime<Utc>) -> Result<(), StoreError> {
        tx.append(changed, now).await?;
        match tx {
            Tx::Pg(tx) => tx.commit().await?,
            Tx::Lite(tx) => tx.commit().await?,
        }
        if !changed.is_empty() {
            self.nudge.send_modify(|count| *count += 1);
        }
        Ok(())
    }
}

// === impl Tx ===

impl Tx {
    /// The last statements before the commit. On Postgres a sequence is not commit order; whoever draws a position holds a
    /// lock until the commit, so that a reader who has seen a position has seen all before it.
    async fn append(&mut self, changed: &[Subject], now: DateTime<Utc>) -> Result<(), StoreError> {
        if let (Self::Pg(tx), false) = (&mut *self, changed.is_empty()) {
            sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(FEED_LOCK).execute(&mut **tx).await?;
        }
        for subject in changed {
            const Q: &str = "INSERT INTO changes (kind, subject, changed_at) VALUES ($1, $2, $3)";
            on_tx!(self, |c| sqlx::query(Q).bind(subject.kind()).bind(subject.id()).bind(stored(now)).execute(c).await.map(drop))?;
        }
        Ok(())
    }
}

/// A time as both engines keep it: Postgres keeps microseconds, and what is read back must equal what was written.
pub(crate) fn stored(time: DateTime<Utc>) -> DateTime<Utc> {
    time.trunc_subsecs(6)
}

fn open_postgres(url: &str, settings: &PoolSettings) -> Result<PgPool, StoreError> {
    let timeout = settings.statement_timeout.as_millis().to_string();
    let options = PgConnectOptions::from_str(url)?.options([("statement_timeout", timeout.as_str()), ("lock_timeout", timeout.as_str())]);
    Ok(PgPoolOptions::new().max_connections(settings.max_connections).acquire_timeout(settings.acquire_timeout).connect_lazy_with(options))
}

fn open_sqlite(url: &str, settings: &PoolSettings) -> Result<Db, StoreError> {
    let memory = url.contains(":memory:");
    let options = SqliteConnectOptions::from_str(url)?
        .create_if_missing(true)
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Wal)
        // With NORMAL a power cut may lose the last commits; what has been acknowledged must stay.
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(settings.statement_timeout);
    let file = (!memory).then(|| options.get_filename().to_path_buf());
    let pool = SqlitePoolOptions::new()
        .max_connections(if memory { 1 } else { settings.max_connections })
        .acquire_timeout(settings.acquire_timeout)
        .connect_lazy_with(options);
    Ok(Db::Lite(pool, file))
}
