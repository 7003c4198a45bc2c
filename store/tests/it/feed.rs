//! The change feed: whoever has seen a position has seen all before it.

use std::time::Duration;

use identity::SessionId;
use sqlx::Connection;
use store::{RefreshTerms, Store, Subject};
use uuid::Uuid;

use crate::engines::{
    Database, FEED_LOCK, at, on_both_engines, person, session, token, try_person, wait_for_lock_waiters,
};

on_both_engines!(
    changes_are_read_in_pieces_and_in_order,
    a_reader_misses_nothing_while_many_write,
    a_node_is_nudged_when_its_change_is_there_and_only_then,
);

async fn changes_are_read_in_pieces_and_in_order(database: &Database) {
    let store = database.open().await;
    assert_eq!((store.last_change().await.unwrap(), store.changes_since(0, 10).await.unwrap()), (None, Vec::new()));
    let ada = person(&store, "ada@example.com").await;
    let mut ended = Vec::new();
    for _ in 0..5 {
        let (id, _) = session(&store, &ada).await;
        store.end_session(id, at(1)).await.unwrap();
        ended.push(Subject::Session(id));
    }
    let (mut read, mut position) = (Vec::new(), 0);
    loop {
        let piece = store.changes_since(position, 2).await.unwrap();
        let Some(last) = piece.last() else { break };
        assert!(piece.len() <= 2 && piece[0].position > position);
        position = last.position;
        read.extend(piece.into_iter().map(|change| change.subject));
    }
    assert_eq!((read, Some(position)), (ended, store.last_change().await.unwrap().map(|last| last.position)));
}

async fn a_reader_misses_nothing_while_many_write(database: &Database) {
    const WRITERS: usize = 8;
    const EACH: usize = 10;
    let nodes = [database.open().await, database.open().await];
    let ada = person(&nodes[0], "ada@example.com").await;
    let writers: Vec<_> = (0..WRITERS)
        .map(|n| {
            let (store, ada) = (nodes[n % 2].clone(), ada.clone());
            tokio::spawn(async move {
                let mut ended = Vec::new();
                for _ in 0..EACH {
                    let (id, _) = session(&store, &ada).await;
                    store.end_session(id, at(1)).await.unwrap();
                    ended.push(id);
                }
                ended
            })
        })
        .collect();
    // Reads what is new, again and again, and never looks back.
    let mut seen = Vec::new();
    let mut position = 0;
    while seen.len() < WRITERS * EACH {
        for change in nodes[0].changes_since(position, 1000).await.unwrap() {
            assert!(change.position > position);
            position = change.position;
            seen.push(change.subject);
        }
        assert!(
            seen.len() == WRITERS * EACH || !finished(&writers, &nodes[0], position).await,
            "{} were missed",
            WRITERS * EACH - seen.len()
        );
    }
    let mut ended: Vec<SessionId> = Vec::new();
    for writer in writers {
        ended.extend(writer.await.unwrap());
    }
    let mut seen: Vec<Uuid> = seen
        .into_iter()
        .map(|subject| if let Subject::Session(id) = subject { id.uuid() } else { Uuid::nil() })
        .collect();
    seen.sort_unstable();
    ended.sort_unstable();
    assert_eq!(seen, ended.into_iter().map(|id| id.uuid()).collect::<Vec<_>>());
}

/// Has everybody written, and is there nothing after `position`?
async fn finished<T>(writers: &[tokio::task::JoinHandle<T>], store: &Store, position: i64) -> bool {
    writers.iter().all(tokio::task::JoinHandle::is_finished)
        && store.changes_since(position, 1).await.unwrap().is_empty()
}

async fn a_node_is_nudged_when_its_change_is_there_and_only_then(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let mut nudges = store.clone().nudges();
    let (id, shown) = session(&store, &ada).await;
    let next = token();
    let second = Duration::from_secs(1);
    let terms = RefreshTerms { grace: 10 * second, ttl: 100 * second, session_life: 1000 * second };
    store.rotate_refresh(shown.id(), &shown.digest(), (next.id(), next.digest()), at(1), terms).await.unwrap();
    try_person(&store, "ada@example.com").await.unwrap_err();
    assert!(!nudges.has_changed().unwrap(), "the door has nothing to hear");
    let ending = tokio::spawn({
        let store = store.clone();
        async move { store.end_session(id, at(2)).await }
    });
    let heard = tokio::time::timeout(Duration::from_secs(20), nudges.changed()).await;
    heard.expect("nobody nudged").unwrap();
    assert_eq!(store.changes_since(0, 10).await.unwrap()[0].subject, Subject::Session(id));
    ending.await.unwrap().unwrap();
}

/// On Postgres a position is drawn from a sequence, and a later one may be committed first. A writer who has drawn one and
/// not yet committed must keep the others waiting.
#[tokio::test]
async fn on_postgres_nobody_overtakes_a_position_that_is_drawn() {
    const DRAW: &str =
        "INSERT INTO changes (kind, changed_at) VALUES ('signing_keys', CURRENT_TIMESTAMP) RETURNING position";
    let database = Database::postgres().await;
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let (id, _) = session(&store, &ada).await;

    let mut other = database.beside().await;
    let mut tx = other.begin().await.unwrap();
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(FEED_LOCK).execute(&mut *tx).await.unwrap();
    let drawn: i64 = sqlx::query_scalar(DRAW).fetch_one(&mut *tx).await.unwrap();

    let ending = tokio::spawn({
        let store = store.clone();
        async move { store.end_session(id, at(1)).await }
    });
    wait_for_lock_waiters(&database, 1).await;
    assert_eq!(store.changes_since(0, 10).await.unwrap(), []);
    tx.commit().await.unwrap();
    ending.await.unwrap().unwrap();
    let positions: Vec<i64> = store.changes_since(0, 10).await.unwrap().iter().map(|change| change.position).collect();
    assert_eq!((positions.len(), positions[0]), (2, drawn));
}
