//! The audit trail: everything is in it, whoever alters it is found out, and what is old goes without breaking it.

use std::sync::Arc;

use identity::{MasterKey, SealKeys};
use store::{Audit, AuditEvent, AuditFilter, Store};
use uuid::Uuid;

use crate::engines::{Database, at, on_both_engines, rng};

on_both_engines!(
    what_was_written_is_whole,
    whoever_alters_or_removes_an_event_is_found_out,
    a_chain_that_is_gone_is_missed_by_the_next,
    what_is_old_goes_and_the_rest_is_whole,
    after_a_write_that_failed_another_chain_is_begun,
    events_are_found_by_what_they_are,
);

/// All that opens what is sealed.
fn seal() -> Arc<SealKeys> {
    Arc::new(SealKeys::new(MasterKey::generate(&mut rng()), Vec::new()))
}

fn event(second: i64) -> AuditEvent {
    AuditEvent {
        id: Uuid::now_v7(),
        at: at(second),
        event: "login".to_owned(),
        outcome: "ok".to_owned(),
        actor: Some(Uuid::from_u128(7)),
        subject: None,
        address: Some("203.0.113.7".to_owned()),
        request_id: None,
        details: Some("{}".to_owned()),
    }
}

async fn chain(store: &Store, seal: &Arc<SealKeys>, events: i64) -> Arc<Audit> {
    let audit = Arc::new(Audit::new(store.clone(), Arc::clone(seal)));
    for second in 0..events {
        audit.add(event(second)).await.unwrap();
    }
    audit.seal().await.unwrap();
    audit
}

/// What is wrong, by the number of the event.
async fn faults(audit: &Audit) -> Vec<(i64, &'static str)> {
    audit.verify().await.unwrap().faults.into_iter().map(|fault| (fault.position, fault.wrong)).collect()
}

async fn what_was_written_is_whole(database: &Database) {
    let (store, seal) = (database.open().await, seal());
    let audit = chain(&store, &seal, 5).await;
    let one = audit.verify().await.unwrap();
    assert_eq!((one.chains, one.events, one.faults.len()), (1, 5, 0));
    // What has not been sealed yet is no fault, and other nodes have chains of their own.
    audit.add(event(9)).await.unwrap();
    let other = chain(&database.connect().await, &seal, 3).await;
    let both = other.verify().await.unwrap();
    assert_eq!((both.chains, both.events, both.faults.len()), (2, 9, 0));
    assert_ne!(one.digest, both.digest);
}

async fn whoever_alters_or_removes_an_event_is_found_out(database: &Database) {
    let (store, seal) = (database.open().await, seal());
    let audit = chain(&store, &seal, 5).await;
    // One after the other, each found before those made earlier.
    for (statement, found) in [
        ("UPDATE audit_events SET actor = NULL WHERE position = 5", (5, "was altered")),
        ("DELETE FROM audit_events WHERE position = 5", (5, "is missing")),
        ("DELETE FROM audit_events WHERE position = 4", (4, "is missing")),
        ("UPDATE audit_events SET outcome = 'no' WHERE position = 3", (3, "was altered")),
        ("DELETE FROM audit_events WHERE position = 2", (2, "is missing")),
        ("UPDATE audit_chains SET head = base", (0, "how far it has come was altered")),
    ] {
        database.execute(statement, statement).await;
        assert_eq!(faults(&audit).await, [found], "{statement}");
    }
    // Without the master key nothing can be sealed.
    let stranger = Audit::new(store, self::seal());
    assert_eq!(faults(&stranger).await, [(0, "where it begins was altered")]);
}

async fn a_chain_that_is_gone_is_missed_by_the_next(database: &Database) {
    let (store, seal) = (database.open().await, seal());
    chain(&store, &seal, 2).await;
    let audit = chain(&database.connect().await, &seal, 2).await;
    assert!(faults(&audit).await.is_empty());
    database
        .execute(
            "DELETE FROM audit_chains WHERE id::text = (SELECT MIN(id::text) FROM audit_chains)",
            "DELETE FROM audit_chains WHERE id = (SELECT MIN(id) FROM audit_chains)",
        )
        .await;
    assert_eq!(faults(&audit).await, [(0, "all of it is missing")]);
}

async fn what_is_old_goes_and_the_rest_is_whole(database: &Database) {
    let (store, seal) = (database.open().await, seal());
    let audit = chain(&store, &seal, 5).await;
    assert_eq!(audit.forget(at(3)).await.unwrap(), 3);
    let report = audit.verify().await.unwrap();
    assert_eq!((report.events, report.faults.len()), (2, 0));
    audit.add(event(10)).await.unwrap();
    assert_eq!(audit.forget(at(100)).await.unwrap(), 3);
    audit.add(event(200)).await.unwrap();
    audit.seal().await.unwrap();
    assert_eq!(audit.verify().await.unwrap().events, 1);
    assert!(faults(&audit).await.is_empty());
    database.execute("DELETE FROM audit_events", "DELETE FROM audit_events").await;
    assert_eq!(faults(&audit).await, [(7, "is missing")]);
}

async fn after_a_write_that_failed_another_chain_is_begun(database: &Database) {
    let (store, seal) = (database.open().await, seal());
    let audit = chain(&store, &seal, 1).await;
    let mut twice = event(1);
    twice.id = store.list_audit(&AuditFilter::default(), None, 1).await.unwrap().items[0].id;
    assert!(audit.add(twice).await.is_err());
    audit.add(event(2)).await.unwrap();
    let report = audit.verify().await.unwrap();
    assert_eq!((report.chains, report.events, report.faults.len()), (2, 2, 0));
}

async fn events_are_found_by_what_they_are(database: &Database) {
    let (store, seal) = (database.open().await, seal());
    let audit = chain(&store, &seal, 3).await;
    let (ada, key) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let special = AuditEvent {
        event: "delete_key".to_owned(),
        outcome: "not_found".to_owned(),
        actor: Some(ada),
        subject: Some(key),
        ..event(50)
    };
    audit.add(special.clone()).await.unwrap();
    let found = async |filter: AuditFilter| store.list_audit(&filter, None, 10).await.unwrap().items;
    assert_eq!(found(AuditFilter::default()).await.len(), 4);
    for filter in [
        AuditFilter { event: Some("delete_key".to_owned()), ..AuditFilter::default() },
        AuditFilter { outcome: Some("not_found".to_owned()), ..AuditFilter::default() },
        AuditFilter { actor: Some(ada), ..AuditFilter::default() },
        AuditFilter { subject: Some(key), ..AuditFilter::default() },
        AuditFilter { since: Some(at(50)), ..AuditFilter::default() },
    ] {
        let (said, found) = (format!("{filter:?}"), found(filter).await);
        assert!(matches!(&found[..], [one] if *one == special), "{said}: {found:?}");
    }
    assert_eq!(found(AuditFilter { until: Some(at(50)), ..AuditFilter::default() }).await.len(), 3);
    // A page at a time, the latest first.
    let first = store.list_audit(&AuditFilter::default(), None, 3).await.unwrap();
    assert_eq!((first.items.len(), first.items[0].id), (3, special.id));
    let last = store.list_audit(&AuditFilter::default(), first.next, 3).await.unwrap();
    assert_eq!((last.items.len(), last.next), (1, None));
    assert_eq!(last.items[0].at, at(0));
}
