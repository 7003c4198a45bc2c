//! The audit trail: everything is in it, whoever alters it is found out, and what is old goes without breaking it.

use std::sync::Arc;

use identity::{MasterKey, RecordId, SealKeys, SecretDigest};
use store::{Audit, AuditEvent, AuditFilter, Store};
use uuid::Uuid;

use crate::{
    engines::{Database, at, on_both_engines, rng},
    retention::deletions,
    statements::hear_statements,
};

on_both_engines!(
    what_was_written_is_whole,
    whoever_alters_or_removes_an_event_is_found_out,
    a_chain_that_is_gone_is_missed_by_the_next,
    what_is_old_goes_and_the_rest_is_whole,
    much_that_is_old_goes_in_small_batches_when_all_of_it_is_whole,
    what_goes_while_it_is_verified_is_not_missing,
    after_a_write_that_failed_another_chain_is_begun,
    events_are_found_by_what_they_are,
    who_has_no_master_key_adds_nothing_to_any_chain,
    an_older_head_is_found_out_by_the_next_process,
    of_two_chains_begun_at_once_neither_can_go,
    retention_takes_no_strangers_word_for_how_old_an_event_is,
    a_chain_of_an_older_release_verifies_and_is_closed_by_the_next,
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

async fn much_that_is_old_goes_in_small_batches_when_all_of_it_is_whole(database: &Database) {
    hear_statements();
    let (store, seal) = (database.open().await, seal());
    let audit = chain(&store, &seal, 2002).await;
    let alter = async |outcome: &str| {
        database.execute_text(&format!("UPDATE audit_events SET outcome = '{outcome}' WHERE position = 2001")).await;
    };
    alter("no").await;
    assert_eq!(audit.forget(at(2001)).await.unwrap(), 0, "nor what comes before a fault");
    assert_eq!(deletions("audit_events"), 0);
    alter("ok").await;
    assert_eq!(audit.forget(at(2001)).await.unwrap(), 2001);
    assert_eq!(deletions("audit_events"), 3);
    let report = audit.verify().await.unwrap();
    assert_eq!((report.events, report.faults.len()), (1, 0));
}

/// The chain that is made shorter is looked at after a long one, for which it has to wait.
async fn what_goes_while_it_is_verified_is_not_missing(database: &Database) {
    let (store, seal) = (database.open().await, seal());
    let long = chain(&store, &seal, 1).await;
    for _ in 0..300 {
        long.add(event(1000)).await.unwrap();
    }
    let short = chain(&database.connect().await, &seal, 40).await;
    let verifying = tokio::spawn(async move {
        loop {
            let report = short.verify().await.unwrap();
            assert_eq!(report.faults, []);
            if report.events == 300 {
                break;
            }
        }
    });
    for second in 1..=40 {
        long.forget(at(second)).await.unwrap();
    }
    verifying.await.unwrap();
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

/// An event put after the last one of the chain that has the most, by the rule of older releases: SHA-256 that anybody can compute.
async fn add_by_hand(database: &Database, outcome: &str) {
    const Q: &str = "SELECT chain, position, digest, at FROM audit_events ORDER BY position DESC LIMIT 1";
    let rows: Vec<(Uuid, i64, Vec<u8>, chrono::DateTime<chrono::Utc>)> = database.rows(Q, Q).await;
    let (chain, position, before, at) = rows.into_iter().next().unwrap();
    let added = AuditEvent { at, outcome: outcome.to_owned(), ..event(0) };
    let digest = plain_digest(&before, chain, position + 1, &added);
    insert(database, chain, position + 1, &added, &digest).await;
}

/// What an older release wrote as an event's digest.
fn plain_digest(before: &[u8], chain: Uuid, position: i64, event: &AuditEvent) -> Vec<u8> {
    let mut bytes = [before, chain.as_bytes(), &position.to_be_bytes(), event.id.as_bytes()].concat();
    bytes.extend(event.at.timestamp_micros().to_be_bytes());
    let ids = [event.actor, event.subject].map(|id| id.map(|id| id.to_string()));
    let [actor, subject] = &ids;
    for text in [
        &Some(event.event.clone()),
        &Some(event.outcome.clone()),
        actor,
        subject,
        &event.address,
        &event.request_id,
        &event.details,
    ] {
        bytes.extend(text.as_ref().map_or(0, |text| text.len() as u64 + 1).to_be_bytes());
        bytes.extend(text.iter().flat_map(String::as_bytes));
    }
    SecretDigest::of(&bytes).as_bytes().to_vec()
}

/// Past the store, as somebody does who can write to the database.
async fn insert(database: &Database, chain: Uuid, position: i64, event: &AuditEvent, digest: &[u8]) {
    const COLUMNS: &str =
        "id, chain, position, at, event, outcome, actor, subject, address, request_id, details, digest";
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    let bytes =
        |bytes: &[u8]| if database.is_sqlite() { format!("x'{}'", hex(bytes)) } else { format!("'\\x{}'", hex(bytes)) };
    let id = |id: Uuid| if database.is_sqlite() { bytes(id.as_bytes()) } else { format!("'{id}'") };
    let (own, chain, digest, at) = (id(event.id), id(chain), bytes(digest), event.at.to_rfc3339());
    let (what, outcome) = (&event.event, &event.outcome);
    let actor = event.actor.map_or("NULL".to_owned(), id);
    let values = format!(
        "{own}, {chain}, {position}, '{at}', '{what}', '{outcome}', {actor}, NULL, '203.0.113.7', NULL, '{{}}', {digest}"
    );
    database.execute_text(&format!("INSERT INTO audit_events ({COLUMNS}) VALUES ({values})")).await;
}

async fn who_has_no_master_key_adds_nothing_to_any_chain(database: &Database) {
    let (store, seal) = (database.open().await, seal());
    let audit = chain(&store, &seal, 5).await;
    add_by_hand(database, "forged").await;
    assert_eq!(faults(&audit).await, [(6, "was altered")]);
    database.execute_text("DELETE FROM audit_events WHERE outcome = 'forged'").await;
    assert!(faults(&audit).await.is_empty());
    // Nor where nobody looks: before a chain's beginning, or in a chain that nobody has begun.
    audit.forget(at(3)).await.unwrap();
    insert(database, first_chain(database).await, 2, &event(1), &[0; 32]).await;
    assert_eq!(faults(&audit).await, [(2, "was added before the beginning")]);
    database.execute_text("DELETE FROM audit_events WHERE position = 2").await;
    insert(database, Uuid::from_u128(9), 1, &event(1), &[0; 32]).await;
    assert_eq!(faults(&audit).await, [(0, "is no chain that was begun, and has events")]);
}

async fn first_chain(database: &Database) -> Uuid {
    const Q: &str = "SELECT id FROM audit_chains ORDER BY began_at, id LIMIT 1";
    let rows: Vec<(Uuid,)> = database.rows(Q, Q).await;
    rows[0].0
}

async fn an_older_head_is_found_out_by_the_next_process(database: &Database) {
    let (store, seal) = (database.open().await, seal());
    let audit = chain(&store, &seal, 3).await;
    database.execute_text("CREATE TABLE kept AS SELECT id, head FROM audit_chains").await;
    audit.add(event(3)).await.unwrap();
    audit.add(event(4)).await.unwrap();
    audit.seal().await.unwrap();
    let next = chain(&database.connect().await, &seal, 1).await;
    assert!(faults(&next).await.is_empty());
    let cut = "DELETE FROM audit_events WHERE position > 3";
    database.execute_text(cut).await;
    database.execute_text("UPDATE audit_chains SET head = (SELECT head FROM kept WHERE kept.id = audit_chains.id) WHERE id IN (SELECT id FROM kept)").await;
    assert_eq!(faults(&next).await, [(4, "is missing")]);
    // What was put in their place does not pass either.
    add_by_hand(database, "forged").await;
    assert_eq!(faults(&next).await, [(4, "was altered")]);
}

async fn of_two_chains_begun_at_once_neither_can_go(database: &Database) {
    let (store, seal) = (database.open().await, seal());
    let (one, other) = tokio::join!(chain(&store, &seal, 2), async {
        let store = database.connect().await;
        chain(&store, &seal, 2).await
    });
    // Whether they met or not, the next one names both.
    let next = chain(&database.connect().await, &seal, 1).await;
    assert!(faults(&next).await.is_empty());
    drop((one, other));
    let chains: Vec<(Uuid,)> = {
        const Q: &str = "SELECT id FROM audit_chains ORDER BY began_at, id";
        database.rows(Q, Q).await
    };
    let id = |id: Uuid| if database.is_sqlite() { format!("x'{}'", id.simple()) } else { format!("'{id}'") };
    for (chain,) in chains.iter().take(2) {
        database.execute_text(&format!("DELETE FROM audit_events WHERE chain = {}", id(*chain))).await;
        database.execute_text(&format!("DELETE FROM audit_chains WHERE id = {}", id(*chain))).await;
        let faults = next.verify().await.unwrap().faults;
        assert!(
            faults.iter().any(|fault| (fault.chain, fault.wrong) == (*chain, "all of it is missing")),
            "{faults:?}"
        );
    }
}

/// An event that says it is older than it is would else take all before it along, and `verify` would say that all is well.
async fn retention_takes_no_strangers_word_for_how_old_an_event_is(database: &Database) {
    let (store, seal) = (database.open().await, seal());
    let audit = chain(&store, &seal, 5).await;
    let old = "UPDATE audit_events SET at = '2001-01-01T00:00:00+00:00' WHERE position = 5";
    database.execute_text(old).await;
    assert_eq!(audit.forget(at(-1000)).await.unwrap(), 0);
    assert_eq!(faults(&audit).await, [(5, "was altered")]);
}

/// A chain as releases before keyed digests left it, of two events; says which one.
async fn older_chain(database: &Database, seal: &SealKeys) -> Uuid {
    let (id, mut digest) = (Uuid::now_v7(), vec![0; 32]);
    let mark = |position: i64, digest: &[u8]| [&position.to_be_bytes()[..], digest].concat();
    let sealed = |column: &'static str, plain: &[u8]| {
        let record = RecordId { table: "audit_chains", column, row: id.to_string() };
        seal.seal(plain, &record, &mut rng())
    };
    let base = sealed("base", &mark(0, &digest));
    for position in 1..=2 {
        let event = event(position);
        digest = plain_digest(&digest, id, position, &event);
        insert(database, id, position, &event, &digest).await;
    }
    let head = sealed("head", &[&Uuid::nil().as_bytes()[..], &mark(2, &digest)].concat());
    let hex = |bytes: &[u8]| {
        let hex = bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
        if database.is_sqlite() { format!("x'{hex}'") } else { format!("'\\x{hex}'") }
    };
    let row = if database.is_sqlite() { hex(id.as_bytes()) } else { format!("'{id}'") };
    let values = format!("{row}, '{}', {}, {}", at(0).to_rfc3339(), hex(&base), hex(&head));
    database.execute_text(&format!("INSERT INTO audit_chains (id, began_at, base, head) VALUES ({values})")).await;
    id
}

async fn a_chain_of_an_older_release_verifies_and_is_closed_by_the_next(database: &Database) {
    let (store, seal) = (database.open().await, seal());
    older_chain(database, &seal).await;
    let alone = Audit::new(store.clone(), Arc::clone(&seal)).verify().await.unwrap();
    assert_eq!((alone.chains, alone.unkeyed, alone.events, alone.faults.len()), (1, 1, 2, 0));
    let next = chain(&store, &seal, 1).await;
    let both = next.verify().await.unwrap();
    assert_eq!((both.chains, both.unkeyed, both.events, both.faults.len()), (2, 1, 3, 0));
    // Anybody can compute what comes after its end; but there comes nothing any more.
    add_by_hand(database, "forged").await;
    assert_eq!(faults(&next).await, [(3, "was added after the end")]);
    // And no process that begins later takes it for one of its own.
    let later = chain(&database.connect().await, &seal, 1).await;
    assert_eq!(faults(&later).await, [(3, "was added after the end")]);
}
