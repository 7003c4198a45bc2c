//! What is over is deleted, in batches; what may still matter to anybody is not.

use std::time::Duration;

use store::{MailOutcome, RefreshOutcome, RefreshTerms};

use crate::{
    engines::{Database, at, heard, on_both_engines, person, session, token},
    outbox::post,
    statements::{STATEMENTS, hear_statements},
    usage::event,
};

on_both_engines!(
    changes_are_forgotten_but_for_the_last,
    much_that_is_over_is_forgotten_in_small_batches,
    a_reader_knows_whether_it_may_have_missed_something,
    sessions_that_are_over_are_forgotten_and_no_others,
);

/// More than two batches.
const MANY: &str = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500) \
                    INSERT INTO changes (kind, changed_at) SELECT 'signing_keys', (SELECT MAX(changed_at) FROM changes) FROM n";

async fn changes_are_forgotten_but_for_the_last(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    for second in [1, 2, 100] {
        let (id, _) = session(&store, &ada).await;
        store.end_session(id, at(second)).await.unwrap();
    }
    let all = heard(&store).await;
    assert_eq!(store.forget_changes(at(2)).await.unwrap(), 1);
    assert_eq!(heard(&store).await, all[1..]);
    assert_eq!(store.forget_changes(at(1000)).await.unwrap(), 1, "the last one stays");
    assert_eq!(heard(&store).await, all[2..]);
}

/// As many more of the one row that a table holds.
async fn multiply(database: &Database, table: &str, columns: &str) {
    let id = if database.is_sqlite() { "randomblob(16)" } else { "gen_random_uuid()" };
    let many = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500)";
    let copy = format!("INSERT INTO {table} (id, {columns}) SELECT {id}, {columns} FROM {table}, n");
    database.execute_text(&format!("{many} {copy}")).await;
}

/// How many statements have deleted from a table.
pub(crate) fn deletions(table: &str) -> usize {
    let words = format!("DELETE FROM {table} ");
    STATEMENTS.lock().unwrap().iter().filter(|run| run.contains(&words)).count()
}

async fn much_that_is_over_is_forgotten_in_small_batches(database: &Database) {
    const OF_MAILS: &str = "template, address, is_wish, created_at, due_at, attempts, ended_at, outcome";
    const OF_USAGE: &str = "tenant_id, account_id, key_id, happened_at, counted_at, route, service, model, request_type, \
                            requests, tokens, cost";
    hear_statements();
    let store = database.open().await;
    let (id, _) = session(&store, &person(&store, "ada@example.com").await).await;
    store.end_session(id, at(1)).await.unwrap();
    database.execute(MANY, MANY).await;
    let sent = post(&store, "ada@example.com", false, 0).await;
    store.end_mail(sent, MailOutcome::Sent, at(1)).await.unwrap();
    multiply(database, "outbox", OF_MAILS).await;
    store.count_usage(&[event(1, 2, "m")], at(1)).await.unwrap();
    multiply(database, "usage_events", OF_USAGE).await;

    assert_eq!(store.forget_changes(at(1000)).await.unwrap(), 2500, "the last one stays");
    assert_eq!(store.forget_mails(at(1000)).await.unwrap(), 2501);
    assert_eq!(store.forget_usage(at(1000)).await.unwrap(), 2501);
    for table in ["changes", "outbox", "usage_events"] {
        assert!(deletions(table) >= 3, "{table}: {}", deletions(table));
    }
}

async fn a_reader_knows_whether_it_may_have_missed_something(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let end = async |second| {
        let (id, _) = session(&store, &ada).await;
        store.end_session(id, at(second)).await.unwrap();
        store.last_change().await.unwrap().unwrap()
    };
    let (first, last) = (end(1).await, end(2).await);
    assert!(store.still_has(&first).await.unwrap() && store.still_has(&last).await.unwrap());
    store.forget_changes(at(1000)).await.unwrap();
    assert!(!store.still_has(&first).await.unwrap() && store.still_has(&last).await.unwrap());
    // The same position in another history.
    let other = store::Change { changed_at: at(3), ..last };
    assert!(!store.still_has(&other).await.unwrap());
}

async fn sessions_that_are_over_are_forgotten_and_no_others(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let (ended, _) = session(&store, &ada).await;
    store.end_session(ended, at(10)).await.unwrap();
    let (lapsed, _) = session(&store, &ada).await;
    // Its token expires with the others' but has bought one that lasts until second 200,000.
    let (refreshed, shown) = session(&store, &ada).await;
    let next = token();
    let (grace, ttl) = (Duration::from_secs(10), Duration::from_secs(200_000));
    let terms = RefreshTerms { grace, ttl, session_life: 2 * ttl };
    store.rotate_refresh(shown.id(), &shown.digest(), (next.id(), next.digest()), at(1), terms).await.unwrap();

    assert_eq!(store.forget_sessions(at(10)).await.unwrap(), 0);
    assert_eq!(store.forget_sessions(at(86_401)).await.unwrap(), 2, "one was ended, one has lapsed");
    for gone in [ended, lapsed] {
        assert!(store.session_grant(gone).await.unwrap().is_none());
    }
    assert!(store.session_grant(refreshed).await.unwrap().is_some());
    let third = token();
    let outcome =
        store.rotate_refresh(next.id(), &next.digest(), (third.id(), third.digest()), at(86_402), terms).await.unwrap();
    assert!(matches!(outcome, RefreshOutcome::Rotated { .. }), "{outcome:?}");
}
