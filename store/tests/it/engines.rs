//! A database of its own for each test, on either engine, and the people in it.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use identity::{AccountId, Email, PasswordHash, RefreshToken, SessionId, TenantId};
use rand::{SeedableRng, rngs::StdRng};
use sqlx::{
    AssertSqlSafe, Connection, Executor, FromRow, PgConnection, SqliteConnection, postgres::PgRow, sqlite::SqliteRow,
};
use store::{Account, Allowance, NewAccount, NewMail, NewSession, PoolSettings, Store, Subject};
use tempfile::TempDir;
use uuid::Uuid;

use crate::{pooler::Pooler, template};

/// A fresh database.
pub(crate) struct Database {
    /// How nodes reach it: on Postgres as a role that owns it and is no superuser, since those see whatever row-level security would hide.
    /// The role is that of all tests.
    pub(crate) url: String,
    /// The same past whatever stands between.
    direct: String,
    /// How tests reach it: as who administers the server.
    admin: String,
    /// Where SQLite keeps it.
    folder: Option<TempDir>,
    _pooler: Option<Pooler>,
}

/// The lock under which positions of the feed are drawn on Postgres.
pub(crate) const FEED_LOCK: i64 = i64::from_be_bytes(*b"portcull");

/// Makes of each `async fn name(database: &Database)` one test on SQLite, one on Postgres and one on Postgres behind a pooler.
macro_rules! on_both_engines {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(&crate::engines::Database::sqlite()).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(&crate::engines::Database::postgres().await).await;
            })*
        }
        mod pooled {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(&crate::engines::Database::pooled().await).await;
            })*
        }
    };
}
pub(crate) use on_both_engines;

// === impl Database ===

impl Database {
    /// Nothing is there before somebody opens it.
    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("test.db").display());
        Self { direct: url.clone(), admin: url.clone(), url, folder: Some(folder), _pooler: None }
    }

    /// With its tables in place. Fails when there is no Postgres: a half that is skipped is a half that nobody misses. The database goes
    /// with the server, which lives no longer than the tests.
    pub(crate) async fn postgres() -> Self {
        let Ok(server) = std::env::var("PORTCULLIS_TEST_POSTGRES") else {
            panic!("PORTCULLIS_TEST_POSTGRES is not set, so nothing can be tested on Postgres: run through `make test`")
        };
        let name = format!("store_{}", Uuid::new_v4().simple());
        let owner = template::postgres(&server, &name).await;
        let admin = format!("{}/{name}", server.rsplit_once('/').unwrap().0);
        let url = as_role(&admin, &owner);
        Self { direct: url.clone(), admin, url, folder: None, _pooler: None }
    }

    /// Postgres behind a pooler that lends its connections for one transaction.
    pub(crate) async fn pooled() -> Self {
        let database = Self::postgres().await;
        let (pooler, url) = Pooler::before(&database.url).await;
        Self { url, _pooler: Some(pooler), ..database }
    }

    /// As one to which no node has ever come.
    pub(crate) async fn empty(&self) {
        if !self.is_sqlite() {
            self.run_beside("DROP SCHEMA portcullis CASCADE").await;
        }
    }

    pub(crate) fn is_pooled(&self) -> bool {
        self.url != self.direct
    }

    pub(crate) fn is_sqlite(&self) -> bool {
        self.folder.is_some()
    }

    /// How somebody else reaches it.
    pub(crate) fn url_of(&self, role: &str) -> String {
        as_role(&self.url, role)
    }

    /// One more node on this database.
    pub(crate) async fn connect(&self) -> Store {
        Store::connect(&self.url, settings()).await.unwrap()
    }

    /// A node on this database with its tables in place.
    pub(crate) async fn open(&self) -> Store {
        let file = self.folder.as_ref().map(|folder| folder.path().join("test.db"));
        if let Some(file) = file.filter(|file| !file.exists()) {
            template::sqlite(&file).await;
        }
        let store = self.connect().await;
        store.migrate().await.unwrap();
        store
    }

    /// A connection to Postgres past the store, which sees its tables.
    pub(crate) async fn beside(&self) -> PgConnection {
        PgConnection::connect(&format!("{}?options[search_path]=portcullis", self.admin)).await.unwrap()
    }

    /// Runs a statement of the test's making on Postgres.
    pub(crate) async fn run_beside(&self, statement: &str) {
        self.beside().await.execute(AssertSqlSafe(statement.to_owned())).await.unwrap();
    }

    /// Runs a statement past the store, in the words of either engine.
    pub(crate) async fn execute(&self, postgres: &'static str, sqlite: &'static str) {
        if self.is_sqlite() {
            SqliteConnection::connect(&self.url).await.unwrap().execute(sqlite).await.unwrap();
        } else {
            self.beside().await.execute(postgres).await.unwrap();
        }
    }

    /// Runs a statement of the test's making past the store, in words that both engines understand.
    pub(crate) async fn execute_text(&self, statement: &str) {
        let statement = AssertSqlSafe(statement.to_owned());
        if self.is_sqlite() {
            SqliteConnection::connect(&self.url).await.unwrap().execute(statement).await.unwrap();
        } else {
            self.beside().await.execute(statement).await.unwrap();
        }
    }

    /// Reads past the store.
    pub(crate) async fn rows<T>(&self, postgres: &'static str, sqlite: &'static str) -> Vec<T>
    where
        T: Send + Unpin + for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, SqliteRow>,
    {
        if self.is_sqlite() {
            let mut connection = SqliteConnection::connect(&self.url).await.unwrap();
            sqlx::query_as(sqlite).fetch_all(&mut connection).await.unwrap()
        } else {
            let mut connection = self.beside().await;
            sqlx::query_as(postgres).fetch_all(&mut connection).await.unwrap()
        }
    }

    /// Has an address confirmed, with no mail answered.
    pub(crate) async fn confirm(&self, email: &str) {
        self.execute_text(&format!("UPDATE accounts SET is_verified = TRUE WHERE email = '{email}'")).await;
    }

    /// How many mails wait to be sent.
    pub(crate) async fn mails_waiting(&self) -> i64 {
        const Q: &str = "SELECT COUNT(*) FROM outbox WHERE ended_at IS NULL";
        self.rows::<(i64,)>(Q, Q).await[0].0
    }
}

fn as_role(url: &str, role: &str) -> String {
    format!("postgres://{role}@{}", url.rsplit_once('@').unwrap().1)
}

/// Generous: on a busy machine a test must not fail for slowness.
pub(crate) fn settings() -> PoolSettings {
    PoolSettings {
        max_connections: 8,
        acquire_timeout: Duration::from_secs(30),
        statement_timeout: Duration::from_secs(30),
    }
}

/// Some second of a fixed day.
pub(crate) fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).unwrap() + TimeDelta::seconds(second)
}

pub(crate) fn hash(text: &str) -> PasswordHash {
    PasswordHash::from(text.to_owned())
}

/// An account whose password nobody knows.
pub(crate) async fn person(store: &Store, email: &str) -> Account {
    try_person(store, email).await.unwrap()
}

/// Somebody's tenant.
pub(crate) async fn tenant(store: &Store) -> TenantId {
    let owner = person(store, "owner@example.com").await;
    store.create_tenant("Acme", owner.id, 10, at(0)).await.unwrap().id
}

pub(crate) async fn try_person(store: &Store, email: &str) -> Result<Account, store::StoreError> {
    create(store, email, None).await
}

/// An account with a name.
pub(crate) async fn named(store: &Store, email: &str, name: &str) -> Account {
    create(store, email, Some(name.to_owned())).await.unwrap()
}

async fn create(store: &Store, email: &str, name: Option<String>) -> Result<Account, store::StoreError> {
    store.create_account(NewAccount { name, ..newcomer(&Email::parse(email).unwrap()) }).await
}

/// An account that is not made yet.
pub(crate) fn newcomer(email: &Email) -> NewAccount<'_> {
    NewAccount {
        id: AccountId::new(Uuid::now_v7()),
        email,
        password_hash: hash("a hash"),
        name: None,
        role: "user",
        tier: "free",
        has_own_tier: false,
        is_verified: false,
        kind: store::AccountKind::Person,
        tenant: store::Belonging::Nowhere,
        now: at(0),
    }
}

/// What tells somebody that their password has changed.
pub(crate) fn notice() -> NewMail {
    let address = "ada@example.com".to_owned();
    let id = Uuid::now_v7();
    NewMail {
        id,
        template: "password_changed",
        address,
        is_wish: false,
        sealed: None,
        asker: None,
        most: None,
        now: at(0),
    }
}

/// Whatever has been written.
pub(crate) fn anyway() -> Allowance<'static> {
    Allowance { late: at(0), has_room: &|_| true }
}

/// Randomness that may wait at an `await` of a spawned task, unlike the thread's own.
pub(crate) fn rng() -> StdRng {
    StdRng::from_rng(&mut rand::rng())
}

pub(crate) fn token() -> RefreshToken {
    RefreshToken::generate(Uuid::now_v7(), &mut rand::rng())
}

/// A session opened at second 0, whose first refresh token expires after a day.
pub(crate) async fn session(store: &Store, account: &Account) -> (SessionId, RefreshToken) {
    let (id, refresh) = (SessionId::new(Uuid::now_v7()), token());
    let new = NewSession {
        id,
        account,
        proof: store::Proof::Refresh { token: (refresh.id(), refresh.digest()), expires_at: at(86_400) },
        now: at(0),
        origin: store::Origin::default(),
    };
    store.open_session(new).await.unwrap();
    (id, refresh)
}

/// Until so many wait for the lock of the feed.
pub(crate) async fn wait_for_lock_waiters(database: &Database, count: i64) {
    const WAITING: &str = "SELECT COUNT(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted \
                           AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let mut watcher = database.beside().await;
    let waiting =
        async { while sqlx::query_scalar::<_, i64>(WAITING).fetch_one(&mut watcher).await.unwrap() < count {} };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("nobody waits for the lock of the feed");
}

/// Everything the feed holds.
pub(crate) async fn heard(store: &Store) -> Vec<Subject> {
    store.changes_since(0, 10_000).await.unwrap().into_iter().map(|change| change.subject).collect()
}
