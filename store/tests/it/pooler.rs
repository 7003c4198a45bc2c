//! PgBouncer in transaction mode: each transaction may meet another connection, and what a session remembers is another's.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    process::{Child, Command, Stdio},
    time::Duration,
};

use identity::{AccountId, ApiKey, KeyId};
use sqlx::{Connection, PgConnection, Row, postgres::PgConnectOptions};
use store::{NewKey, Store, StoreError};
use tempfile::TempDir;
use tokio::net::{TcpSocket, TcpStream};
use uuid::Uuid;

use crate::engines::{Database, at, person, settings};

/// A pooler of one test's own.
pub(crate) struct Pooler {
    process: Child,
    _folder: TempDir,
}

// === impl Pooler ===

impl Pooler {
    /// Starts one before a database; gives the address behind which it stands.
    pub(crate) async fn before(url: &str) -> (Self, String) {
        Self::with(url, "").await
    }

    async fn with(url: &str, more: &str) -> (Self, String) {
        let (user, address) = url.strip_prefix("postgres://").unwrap().split_once('@').unwrap();
        let (server, name) = address.split_once('/').unwrap();
        let (host, port) = server.split_once(':').unwrap();
        let folder = tempfile::tempdir().unwrap();
        // Given to nobody else before the pooler, which asks for this one, has it.
        let held = TcpSocket::new_v4().unwrap();
        held.set_reuseaddr(true).unwrap();
        held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let own = held.local_addr().unwrap();
        let file = folder.path().join("pgbouncer.ini");
        // The next connection and not the last one, so that whoever counts on meeting the same one does not.
        let text = format!(
            "[databases]\n* = host={host} port={port} user={user}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\ndefault_pool_size = 20\n\
             min_pool_size = 5\nserver_round_robin = 1\n{more}",
            own.port()
        );
        fs::write(&file, text).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        // It refuses to run as root; the package of Postgres has made it a user.
        let mut command = Command::new(if is_root() { "setpriv" } else { "pgbouncer" });
        if is_root() {
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "pgbouncer"]);
        }
        let process = command.arg("-q").arg(file).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let pooler = Self { process: process.expect("PgBouncer: scripts/install-deps test"), _folder: folder };
        let up = async { while TcpStream::connect(own).await.is_err() {} };
        tokio::time::timeout(Duration::from_secs(20), up).await.expect("PgBouncer does not answer");
        (pooler, format!("postgres://{user}@{own}/{name}"))
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

impl Drop for Pooler {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// "Postgres as it is found": whoever counts under a lock sees what was committed while it waited, and no write that meets another is an
/// error, whatever level the database's owner has made the default.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_with_a_stricter_default_of_isolation_is_used_as_any_other() {
    for (level, pooled) in [("repeatable read", false), ("serializable", false), ("serializable", true)] {
        let database = Database::postgres().await;
        database.empty().await;
        let (_, name) = database.url.rsplit_once('/').unwrap();
        database.run_beside(&format!("ALTER DATABASE {name} SET default_transaction_isolation = '{level}'")).await;
        let (_pooler, url) = if pooled {
            let (pooler, url) = Pooler::before(&database.url).await;
            (Some(pooler), url)
        } else {
            (None, database.url.clone())
        };
        // Several nodes may start at once.
        let node = || {
            let url = url.clone();
            tokio::spawn(async move {
                let store = Store::connect(&url, settings()).await.unwrap();
                store.migrate().await.map(|()| store)
            })
        };
        let mut nodes = Vec::new();
        for starting in [node(), node(), node(), node()] {
            nodes.push(starting.await.unwrap().unwrap_or_else(|error| panic!("at {level}: {error}")));
        }
        let ada = person(&nodes[0], "ada@example.com").await;
        let issued = (0..12).map(|n| {
            let (store, new) = (nodes[n % 4].clone(), few_keys(ada.id));
            tokio::spawn(async move { store.create_key(new).await.map(drop) })
        });
        let mut made = 0;
        for outcome in issued.collect::<Vec<_>>() {
            match outcome.await.unwrap() {
                Ok(()) => made += 1,
                Err(StoreError::TooManyKeys(3)) => {}
                Err(error) => panic!("at {level}: {error}"),
            }
        }
        assert_eq!(made, 3, "at {level}");
    }
}

/// A key of an account that may have three.
fn few_keys(account: AccountId) -> NewKey {
    let key = ApiKey::generate(KeyId::new(Uuid::now_v7()), &mut rand::rng());
    NewKey {
        id: key.id(),
        account,
        by: None,
        tenant: None,
        name: "a key".to_owned(),
        prefix: key.prefix(),
        digest: key.digest(),
        scopes: None,
        networks: None,
        expires_at: None,
        most: 3,
        now: at(0),
    }
}

/// Some poolers drop the settings that they do not pass on, and say nothing.
#[tokio::test]
async fn a_pooler_that_drops_what_it_is_told_is_noticed_too() {
    let database = Database::postgres().await;
    database.empty().await;
    let (_pooler, url) = Pooler::with(&database.url, "ignore_startup_parameters = options\n").await;
    let nodes = [Store::connect(&url, settings()).await.unwrap(), Store::connect(&url, settings()).await.unwrap()];
    for node in &nodes {
        node.migrate().await.unwrap();
    }
    for n in 0..40 {
        let made = person(&nodes[n % 2], &format!("person{n}@example.com")).await;
        assert_eq!(nodes[(n + 1) % 2].account(made.id).await.unwrap(), Some(made));
    }
}

/// What a transaction is told ends with it: others are lent the same connections.
#[tokio::test]
async fn nothing_is_left_on_a_connection_for_others_who_are_lent_it() {
    const LEFT: &str = "SELECT (SELECT COUNT(*)::text FROM pg_prepared_statements), current_setting('search_path'), \
                        current_setting('statement_timeout')";
    let database = Database::postgres().await;
    database.empty().await;
    let (_pooler, url) = Pooler::with(&database.url, "max_db_connections = 1\nmin_pool_size = 1\n").await;
    let store = Store::connect(&url, settings()).await.unwrap();
    store.migrate().await.unwrap();
    let ada = person(&store, "ada@example.com").await;
    assert_eq!(store.account(ada.id).await.unwrap(), Some(ada));
    let mut other =
        PgConnection::connect_with(&url.parse::<PgConnectOptions>().unwrap().extra_float_digits(None)).await.unwrap();
    let left = sqlx::raw_sql(LEFT).fetch_one(&mut other).await.unwrap();
    let text = |column| left.get::<String, _>(column);
    assert_eq!((text(0), text(1), text(2)), ("0".into(), "\"$user\", public".into(), "0".into()));
}
