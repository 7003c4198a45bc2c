//! The two engines behind one way in: a pool of each kind, and transactions that append to the change feed.
//!
//! `on!` and `on_tx!` expand the same body for each engine, so every query is one text, monomorphised with native types. To
//! add an engine, add a variant of [`Db`] and [`Tx`] and an arm to each macro; the same suite runs on it.

use std::{
    future::Future,
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    str::FromStr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use identity::TenantId;
use sqlx::{
    Connection, QueryBuilder, Sqlite, SqliteConnection, SqlitePool, Transaction,
    pool::PoolOptions,
    postgres::PgConnectOptions,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::timeout,
};

use crate::{StoreError, Subject, TenantSeed, seed::SharedSeed, written};

mod postgres;

use postgres::PgTx;
pub(crate) use postgres::{Pg, SCHEMA};

/// The lock under which positions of the feed are drawn on Postgres: "portcull" in ASCII.
const FEED_LOCK: i64 = i64::from_be_bytes(*b"portcull");
/// Changes appended by one statement; SQLite takes 32,766 parameters, three of them a change.
const CHANGES_AT_ONCE: usize = 1000;
/// 9999-12-31T23:59:59Z, the last second that RFC 3339 can write. What lasts longer lasts until then.
const END_OF_TIME: i64 = 253_402_300_799;

type Listener = Box<dyn Fn(&[Subject]) + Send + Sync>;

/// The way in. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pub(crate) db: Db,
    /// The longest that anything may take.
    patience: Duration,
    /// Counts committed changes of this process.
    nudge: Arc<watch::Sender<u64>>,
    /// Told of each commit before whoever asked for it is answered.
    listener: Arc<OnceLock<Listener>>,
    /// What new tenants begin with.
    seed: SharedSeed,
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
    Pg(Pg),
    Lite {
        pool: SqlitePool,
        /// Where it is kept, unless in memory.
        file: Option<PathBuf>,
        /// SQLite has one writer at a time. Those of this process queue here, in order and without a connection, so that
        /// readers find one free; SQLite's own way to wait is to try again and again, and may starve somebody.
        writer: Arc<Semaphore>,
    },
}

pub(crate) enum Tx {
    Pg(PgTx),
    // Dropped in this order: rolled back first, then it is the next one's turn.
    Lite { tx: Transaction<'static, Sqlite>, _turn: OwnedSemaphorePermit, seed: SharedSeed },
}

/// Expands the same body once per engine.
macro_rules! on {
    ($store:expr, |$pool:ident| $body:expr) => {
        match &$store.db {
            $crate::db::Db::Pg($pool) => $body,
            $crate::db::Db::Lite { pool: $pool, .. } => $body,
        }
    };
}

/// The same within a transaction.
macro_rules! on_tx {
    ($tx:expr, |$connection:ident| $body:expr) => {
        match $tx {
            $crate::db::Tx::Pg(tx) => {
                let $connection = tx.within();
                $body
            }
            $crate::db::Tx::Lite { tx, .. } => {
                let $connection = &mut **tx;
                $body
            }
        }
    };
}

/// Lets columns of text be read as these types, whose `TryFrom<String>` knows what may stand there.
macro_rules! kept_as_text {
    ($($kept:ty),*) => {$(
        impl<D: sqlx::Database> sqlx::Type<D> for $kept
        where
            String: sqlx::Type<D>,
        {
            fn type_info() -> D::TypeInfo {
                <String as sqlx::Type<D>>::type_info()
            }

            fn compatible(found: &D::TypeInfo) -> bool {
                <String as sqlx::Type<D>>::compatible(found)
            }
        }

        impl<'r, D: sqlx::Database> sqlx::Decode<'r, D> for $kept
        where
            String: sqlx::Decode<'r, D>,
        {
            fn decode(value: D::ValueRef<'r>) -> Result<Self, sqlx::error::BoxDynError> {
                Ok(Self::try_from(<String as sqlx::Decode<'r, D>>::decode(value)?)?)
            }
        }
    )*};
}

pub(crate) use {kept_as_text, on, on_tx};

// === impl Store ===

impl Store {
    /// Opens `sqlite:PATH`, `sqlite::memory:` or `postgres://…`, and asks the database one question to see that it is there.
    pub async fn connect(url: &str, pool: PoolSettings) -> Result<Self, StoreError> {
        // A frozen server or a cut link answers nothing at all; no pool setting covers that.
        let patience = pool.acquire_timeout.saturating_add(pool.statement_timeout);
        let db = if is_postgres(url) {
            Db::Pg(Pg::open(url, &pool, patience).await?)
        } else if url.starts_with("sqlite:") {
            open_sqlite(url, &pool)?
        } else {
            return Err(StoreError::Conflict("a database's address begins with sqlite: or postgres://"));
        };
        let store = Self {
            db,
            patience,
            nudge: Arc::new(watch::channel(0).0),
            listener: Arc::default(),
            seed: SharedSeed::default(),
        };
        store.bounded(async { on!(store, |pool| sqlx::query("SELECT 1").execute(pool).await.map(drop)) }).await?;
        Ok(store)
    }

    /// How many connections to the database there are at most, and how long one is waited for.
    #[must_use]
    pub fn connections(&self) -> (u32, Duration) {
        match &self.db {
            Db::Pg(pg) => pg.connections(),
            Db::Lite { pool, .. } => connections(pool.options()),
        }
    }

    /// Lets `listener` hear of every change that this process commits, before whoever asked for it is answered: what was
    /// revoked is refused from the answer on. The first listener stays.
    pub fn listen(&self, listener: impl Fn(&[Subject]) + Send + Sync + 'static) {
        drop(self.listener.set(Box::new(listener)));
    }

    /// What tenants begin with that are made from now on.
    pub fn seed_new_tenants(&self, seed: TenantSeed) {
        self.seed.replace(seed);
    }

    /// Told each time this process has committed a change.
    #[must_use]
    pub fn nudges(&self) -> watch::Receiver<u64> {
        self.nudge.subscribe()
    }

    /// The same store on behalf of a tenant: on Postgres its statements see no row of another one, whatever they forget to say. Whoever
    /// asks about what a tenant owns asks by this.
    pub(crate) fn of_tenant(&self, tenant: TenantId) -> Self {
        let db = match &self.db {
            Db::Pg(pg) => Db::Pg(pg.of_tenant(tenant)),
            lite @ Db::Lite { .. } => lite.clone(),
        };
        Self { db, ..self.clone() }
    }

    /// Runs a question, but not for ever. On the heap: with both engines in it it takes some 18 KB, which whoever waits for
    /// it would have to carry.
    pub(crate) fn bounded<T, E: Into<StoreError>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> impl Future<Output = Result<T, StoreError>> {
        let (work, patience) = (Box::pin(work), self.patience);
        async move {
            match timeout(patience, work).await {
                Ok(answer) => answer.map_err(Into::into),
                Err(_) => Err(StoreError::Unavailable(format!("no answer within {patience:?}"))),
            }
        }
    }

    /// Begins to write. SQLite takes its write lock now and not in the middle, where waiting for it could only fail.
    pub(crate) async fn begin(&self) -> Result<Tx, StoreError> {
        Ok(match &self.db {
            Db::Pg(pool) => Tx::Pg(pool.begin().await?.seeding(&self.seed)),
            Db::Lite { pool, writer, .. } => {
                let turn = Arc::clone(writer).acquire_owned().await;
                let turn = turn.map_err(|closed| StoreError::Unavailable(closed.to_string()))?;
                Tx::Lite { tx: pool.begin_with("BEGIN IMMEDIATE").await?, _turn: turn, seed: self.seed.clone() }
            }
        })
    }

    /// Commits what was written, of which no gateway has to hear.
    pub(crate) async fn commit(&self, tx: Tx) -> Result<(), StoreError> {
        written::writing();
        match tx {
            Tx::Pg(tx) => tx.commit().await?,
            Tx::Lite { tx, .. } => tx.commit().await?,
        }
        Ok(())
    }

    /// Commits what was written together with what the gateways must hear of it, and nudges those in this process.
    pub(crate) async fn commit_and_tell(
        &self,
        mut tx: Tx,
        changed: &[Subject],
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        tx.append(changed, now).await?;
        self.commit(tx).await?;
        if !changed.is_empty() {
            if let Some(listener) = self.listener.get() {
                listener(changed);
            }
            self.nudge.send_modify(|count| *count += 1);
        }
        Ok(())
    }
}

// === impl Tx ===

impl Tx {
    /// What a tenant begins with that is made in it.
    pub(crate) fn seed(&self) -> Arc<TenantSeed> {
        match self {
            Self::Pg(tx) => tx.seed.now(),
            Self::Lite { seed, .. } => seed.now(),
        }
    }

    /// The last statements before the commit. On Postgres a sequence is not commit order; whoever draws a position holds a
    /// lock until the commit, so that a reader who has seen a position has seen all before it.
    async fn append(&mut self, changed: &[Subject], now: DateTime<Utc>) -> Result<(), StoreError> {
        if let (Self::Pg(tx), false) = (&mut *self, changed.is_empty()) {
            sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(FEED_LOCK).execute(tx.within()).await?;
        }
        for some in changed.chunks(CHANGES_AT_ONCE) {
            on_tx!(self, |c| {
                let mut insert = QueryBuilder::new("INSERT INTO changes (kind, subject, changed_at) ");
                insert.push_values(some, |mut row, subject| {
                    row.push_bind(subject.kind()).push_bind(subject.id()).push_bind(stored(now));
                });
                insert.build().execute(c).await.map(drop)
            })?;
        }
        Ok(())
    }
}

/// A time as both engines keep it: Postgres keeps microseconds, and what is read back must equal what was written.
pub(crate) fn stored(time: DateTime<Utc>) -> DateTime<Utc> {
    time.trunc_subsecs(6)
}

/// `time` and so much more, but not more than can be written.
pub(crate) fn later(time: DateTime<Utc>, by: Duration) -> DateTime<Utc> {
    let end = DateTime::from_timestamp(END_OF_TIME, 0).unwrap_or(time);
    let sum = TimeDelta::from_std(by).ok().and_then(|by| time.checked_add_signed(by));
    sum.unwrap_or(end).min(end)
}

/// Is no transaction left open? On a full disk SQLite may roll back by itself (`sqlite.org/lang_transaction.html`). sqlx then
/// fails to roll back, believes for ever that the connection is within a transaction, and begins no other on it.
async fn is_sound(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    // Answered after the rollback that was asked for before it.
    connection.ping().await?;
    Ok(!connection.is_in_transaction())
}

/// SQLite reads from memory: more connections than cores wait for nothing, and each has a thread and a page cache.
const SQLITE_CONNECTIONS: u32 = 4;

fn open_sqlite(url: &str, settings: &PoolSettings) -> Result<Db, StoreError> {
    let memory = url.contains(":memory:");
    let options = sqlite_options(url)?
        .create_if_missing(true)
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Wal)
        // Each commit is on the disk before it is acknowledged. NORMAL would survive a kill, but not a power cut.
        .synchronous(SqliteSynchronous::Full)
        // KiB: a quarter of the default for each connection, so that an idle gateway stays small; the system caches the file.
        .pragma("cache_size", "-512")
        .busy_timeout(settings.statement_timeout);
    let file = (!memory).then(|| options.get_filename().to_path_buf());
    if let Some(file) = &file {
        // Nobody else's to read, wherever it is copied; SQLite gives what it keeps beside the file the same rights. Who may not make it is told
        // by the first connection.
        let _ = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    }
    let pool = SqlitePoolOptions::new()
        .acquire_timeout(settings.acquire_timeout)
        .after_release(|connection, _| Box::pin(is_sound(connection)));
    let pool = if memory {
        // A database in memory goes with its last connection.
        pool.max_connections(1).idle_timeout(None).max_lifetime(None)
    } else {
        pool.max_connections(settings.max_connections.min(SQLITE_CONNECTIONS))
    };
    Ok(Db::Lite { pool: pool.connect_lazy_with(options), file, writer: Arc::new(Semaphore::new(1)) })
}

fn connections<D: sqlx::Database>(options: &PoolOptions<D>) -> (u32, Duration) {
    (options.get_max_connections(), options.get_acquire_timeout())
}

/// What follows `sqlite:` is a file's name as the system has it, and no URL: `%41` and `?` in it stand for themselves, but for `?mode=ro` at
/// its end.
pub(crate) fn sqlite_options(url: &str) -> Result<SqliteConnectOptions, StoreError> {
    let name = url.strip_prefix("sqlite:").ok_or(BAD_ADDRESS)?;
    if name == ":memory:" {
        return SqliteConnectOptions::from_str(url).map_err(|_| BAD_ADDRESS);
    }
    let name = name.strip_prefix("//").unwrap_or(name);
    let (name, is_read_only) = name.strip_suffix("?mode=ro").map_or((name, false), |name| (name, true));
    if name.is_empty() {
        return Err(BAD_ADDRESS);
    }
    Ok(SqliteConnectOptions::new().filename(name).read_only(is_read_only))
}

/// What of an address of Postgres cannot be read. Nothing of it is repeated, since it holds a password.
#[must_use]
pub fn fault_of_address(url: &str) -> Option<&'static str> {
    let fault = PgConnectOptions::from_str(url).err()?;
    let is_about_tls = fault.to_string().contains("ssl_mode");
    Some(if is_about_tls {
        "`sslmode` is disable, allow, prefer, require, verify-ca or verify-full"
    } else {
        "the address cannot be read: write \"postgres://user:password@host:5432/database\", with what is not a letter or digit in a password as %XX"
    })
}

/// Which engine an address is of, if it is one.
pub(crate) fn is_postgres(url: &str) -> bool {
    url.starts_with("postgres://") || url.starts_with("postgresql://")
}

/// The address holds a password, so it is not repeated.
pub(crate) const BAD_ADDRESS: StoreError = StoreError::Conflict("the database's address cannot be read");

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests;
