//! When the database is gone, frozen, locked or read-only: `Unavailable`, in bounded time, and well again afterwards.

use std::time::Duration;

use identity::AccountId;
use sqlx::{Connection, Executor, SqliteConnection};
use store::{Account, PoolSettings, ProfileChange, Store, StoreError, Subject};
use tokio::net::TcpListener;

use crate::{
    engines::{Database, FEED_LOCK, at, heard, person, session, settings, try_person, wait_for_lock_waiters},
    proxy::{Network, Proxy},
};

/// Short enough to wait for, and long enough for a connection and an answer on a busy machine.
fn impatient() -> PoolSettings {
    PoolSettings {
        max_connections: 2,
        acquire_timeout: Duration::from_secs(2),
        statement_timeout: Duration::from_secs(2),
    }
}

/// Far beyond what any pool setting allows: whoever needs it does not come back at all.
async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_mins(1), work).await.expect("it waited for ever")
}

fn assert_away<T: std::fmt::Debug>(answer: &Result<T, StoreError>) {
    assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
}

/// The same database, through other ears.
fn through(database: &Database, address: std::net::SocketAddr) -> String {
    let (head, name) = database.url.rsplit_once('/').unwrap();
    let (user, _) = head.rsplit_once('@').unwrap();
    format!("{user}@{address}/{name}")
}

fn server_of(database: &Database) -> String {
    let (head, _) = database.url.rsplit_once('/').unwrap();
    head.rsplit_once('@').unwrap().1.to_owned()
}

#[tokio::test]
async fn a_closed_port_is_a_database_that_is_away() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let url = format!("postgres://portcullis@{address}/portcullis");
    assert_away(&in_time(Store::connect(&url, impatient())).await.map(drop));
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_is_away() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://portcullis@{}/portcullis", listener.local_addr().unwrap());
    assert_away(&in_time(Store::connect(&url, impatient())).await.map(drop));
}

#[tokio::test]
async fn a_database_that_is_not_there_or_not_ours_is_away() {
    let database = Database::postgres().await;
    assert_away(&in_time(Store::connect(&format!("{}_not", database.url), impatient())).await.map(drop));
    assert_away(&in_time(Store::connect("sqlite:/no/such/folder/test.db", impatient())).await.map(drop));
}

#[tokio::test]
async fn an_address_of_neither_engine_is_refused_without_repeating_it() {
    for url in ["mysql://root:secret@localhost/x", "postgres://root:secret@localhost:port/x", "secret"] {
        let error = Store::connect(url, impatient()).await.map(drop).unwrap_err();
        assert!(matches!(error, StoreError::Conflict(_)) && !error.to_string().contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn a_stopped_server_is_away() {
    let database = Database::postgres().await;
    let proxy = Proxy::before(server_of(&database)).await;
    let store = Store::connect(&through(&database, proxy.address), impatient()).await.unwrap();
    store.migrate().await.unwrap();
    let ada = person(&store, "ada@example.com").await;
    proxy.stop().await;
    assert_away(&in_time(store.account(ada.id)).await);
    assert_away(&in_time(store.update_profile(ada.id, ProfileChange::default(), at(1))).await);
    assert_away(&in_time(store.changes_since(0, 1)).await);
    assert_eq!(database.connect().await.account(ada.id).await.unwrap(), Some(ada));
}

/// The hardest fault: no error, no end of file, nothing. Connections that fell silent, idle or in the middle of a question,
/// must not take up the pool's places for as long as TCP believes in them, which is a quarter of an hour.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_network_is_away_and_new_connections_are_made_after_it() {
    let database = Database::postgres().await;
    let people = database.open().await;
    let people = [person(&people, "ada@example.com").await.id, person(&people, "bob@example.com").await.id];
    let proxy = Proxy::before(server_of(&database)).await;
    let store = Store::connect(&through(&database, proxy.address), impatient()).await.unwrap();
    assert_away(&nothing_answers(&store, &database, &proxy, people).await);
    for id in people {
        assert_away(&in_time(store.account(id)).await);
    }
    proxy.set(Network::Works);
    let found = in_time(async {
        loop {
            if let Ok(found) = store.account(people[0]).await {
                return found;
            }
        }
    });
    assert_eq!(found.await.unwrap().id, people[0]);
}

/// Every connection of `store` is in the middle of a write, waiting for the lock of the feed, when the network goes.
async fn nothing_answers(
    store: &Store,
    database: &Database,
    proxy: &Proxy,
    ids: [AccountId; 2],
) -> Result<Account, StoreError> {
    let mut holder = database.beside().await;
    let mut tx = holder.begin().await.unwrap();
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(FEED_LOCK).execute(&mut *tx).await.unwrap();
    let [one, other] = ids.map(|id| {
        let store = store.clone();
        tokio::spawn(async move { store.update_profile(id, ProfileChange::default(), at(1)).await })
    });
    wait_for_lock_waiters(database, 2).await;
    proxy.set(Network::Silent);
    tx.commit().await.unwrap();
    in_time(one).await.unwrap().and(in_time(other).await.unwrap())
}

/// It holds the lock of the feed, and with it every other node, until the server ends its transaction.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_falls_silent_within_a_transaction_does_not_hold_up_the_others() {
    let database = Database::postgres().await;
    let others = database.open().await;
    let ada = person(&others, "ada@example.com").await;
    let proxy = Proxy::before(server_of(&database)).await;
    let node = Store::connect(&through(&database, proxy.address), impatient()).await.unwrap();

    // Two of its writers wait for the lock; before either can hear that it has it, the network is gone.
    let bob = person(&others, "bob@example.com").await;
    assert_away(&nothing_answers(&node, &database, &proxy, [ada.id, bob.id]).await);

    let others = Store::connect(&database.url, impatient()).await.unwrap();
    let written = in_time(async {
        loop {
            match others.update_profile(ada.id, ProfileChange::default(), at(2)).await {
                Err(StoreError::Unavailable(_)) => {}
                written => return written,
            }
        }
    });
    written.await.unwrap();
    assert_eq!(heard(&others).await, [Subject::Account(ada.id)], "what the silent node had begun is undone");
}

#[tokio::test]
async fn on_postgres_a_row_that_is_locked_for_too_long_is_away() {
    let database = Database::postgres().await;
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let store = Store::connect(&database.url, impatient()).await.unwrap();
    let mut other = database.beside().await;
    let mut tx = other.begin().await.unwrap();
    tx.execute("SELECT 1 FROM accounts FOR UPDATE").await.unwrap();
    assert_away(&in_time(store.update_profile(ada.id, ProfileChange::default(), at(1))).await);
    assert_eq!(store.account(ada.id).await.unwrap().unwrap().id, ada.id, "reading needs no lock");
    tx.rollback().await.unwrap();
    store.update_profile(ada.id, ProfileChange::default(), at(1)).await.unwrap();
}

#[tokio::test]
async fn on_sqlite_a_write_lock_that_is_held_for_too_long_is_away_and_readers_are_served() {
    let database = Database::sqlite();
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let store = Store::connect(&database.url, impatient()).await.unwrap();
    let mut other = SqliteConnection::connect(&database.url).await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    // More writers than connections: were each to wait on one, there would be none to read with.
    let writers: Vec<_> = (0..8)
        .map(|_| {
            let (store, id) = (store.clone(), ada.id);
            tokio::spawn(async move { store.update_profile(id, ProfileChange::default(), at(1)).await })
        })
        .collect();
    let mut reads = 0;
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        assert_eq!(store.account(ada.id).await.unwrap().unwrap().id, ada.id);
        reads += 1;
    }
    assert!(reads > 0);
    for writer in writers {
        assert_away(&writer.await.unwrap());
    }
    other.execute("ROLLBACK").await.unwrap();
    store.update_profile(ada.id, ProfileChange::default(), at(1)).await.unwrap();
    assert_eq!(heard(&store).await, [Subject::Account(ada.id)]);
}

#[tokio::test]
async fn on_sqlite_a_read_only_file_is_away_for_writers_alone() {
    let database = Database::sqlite();
    let ada = person(&database.open().await, "ada@example.com").await;
    let store = Store::connect(&format!("{}?mode=ro", database.url), settings()).await.unwrap();
    assert_away(&try_person(&store, "bob@example.com").await);
    assert_eq!(store.account(ada.id).await.unwrap(), Some(ada));
}

#[tokio::test]
async fn a_database_in_memory_serves_many_at_once() {
    let store = Store::connect("sqlite::memory:", settings()).await.unwrap();
    store.migrate().await.unwrap();
    let ada = person(&store, "ada@example.com").await;
    let opening: Vec<_> = (0..10)
        .map(|_| {
            let (store, ada) = (store.clone(), ada.clone());
            tokio::spawn(async move { session(&store, &ada).await.0 })
        })
        .collect();
    for opened in opening {
        assert!(store.session_grant(opened.await.unwrap()).await.unwrap().is_some());
    }
}
