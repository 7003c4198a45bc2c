//! The master key is another one: everything is sealed anew, nothing is lost, and nothing is forgotten on the list.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use identity::{Algorithm, FactorId, IntegrationId, MasterKey, ProviderKey, RecordId, SealKeys};
use store::{
    Audit, AuditEvent, Belonging, FactorKind, FoundIntegration, InstancePlace, IntegrationOwner, Keyring, NewFactor,
    NewInstance, NewIntegration, NewMail, SEALED, Store,
};
use uuid::Uuid;

use crate::{
    agents::{account, agent},
    engines::{Database, at, on_both_engines, person, rng},
};

on_both_engines!(
    everything_is_sealed_anew_and_opens_with_the_new_key_alone,
    what_does_not_open_is_counted_and_left_alone,
    gateways_say_which_keys_they_have,
);

fn key() -> MasterKey {
    MasterKey::generate(&mut rng())
}

fn opens_with(keys: &[&MasterKey]) -> Arc<SealKeys> {
    Arc::new(SealKeys::new(keys[0].clone(), keys[1..].iter().map(|&key| key.clone()).collect()))
}

fn record(table: &'static str, id: Uuid) -> RecordId {
    RecordId { table, column: "sealed", row: id.to_string() }
}

/// Something sealed in every table that holds something sealed.
async fn furnish(store: &Store, seal: &Arc<SealKeys>) -> (store::Account, FactorId, InstancePlace) {
    store::ensure_keys(store, seal, Algorithm::EdDsa, None, &mut rng(), at(0)).await.unwrap();
    let ada = person(store, "ada@example.com").await;
    let factor = FactorId::new(Uuid::now_v7());
    let sealed = seal.seal(b"a seed", &record("factors", factor.uuid()), &mut rng());
    let new = NewFactor { id: factor, account: ada.id, kind: FactorKind::Totp, name: None, sealed, now: at(0) };
    store.begin_factor(&new).await.unwrap();
    for n in 0..450 {
        let id = Uuid::now_v7();
        let sealed = Some(seal.seal(b"a letter", &record("outbox", id), &mut rng()));
        let address = format!("person{n}@example.com");
        store
            .post(&NewMail {
                id,
                template: "verify_email",
                address,
                is_wish: false,
                sealed,
                asker: None,
                most: None,
                now: at(0),
            })
            .await
            .unwrap();
    }
    let key = ProviderKey::parse("sk-ant-0123456789").unwrap();
    let id = IntegrationId::new(Uuid::now_v7());
    let owner = IntegrationOwner::Account(ada.id);
    let new = NewIntegration { id, owner, service: "claude", name: None, key: &key, most: 10, now: at(0) };
    store.create_integration(seal, new).await.unwrap();
    let place = instance(store, seal).await;
    let audit = Arc::new(Audit::new(store.clone(), Arc::clone(seal)));
    audit.add(event()).await.unwrap();
    audit.seal().await.unwrap();
    (ada, factor, place)
}

/// An instance of an agent, with a configuration.
async fn instance(store: &Store, seal: &SealKeys) -> InstancePlace {
    let (bob, tenant) = account(store, "bob@example.com", Belonging::FoundsOwn).await;
    let agent = store.create_agent(agent(tenant, bob, None)).await.unwrap().id;
    let place = InstancePlace { id: Uuid::now_v7(), tenant: tenant.uuid(), agent, account: bob.uuid() };
    let sealed = seal.seal(b"{}", &place.record(), &mut rng());
    let name = "I".to_owned();
    let new = NewInstance { id: place.id, tenant, agent, account: bob, name, sealed, most: None, now: at(0) };
    store.create_instance(new).await.unwrap();
    place
}

fn event() -> AuditEvent {
    AuditEvent {
        id: Uuid::now_v7(),
        at: at(0),
        event: "login".to_owned(),
        outcome: "ok".to_owned(),
        actor: None,
        subject: None,
        address: None,
        request_id: None,
        details: None,
    }
}

async fn everything_is_sealed_anew_and_opens_with_the_new_key_alone(database: &Database) {
    let (store, old, new) = (database.open().await, key(), key());
    let (ada, factor, place) = furnish(&store, &opens_with(&[&old])).await;
    let both = opens_with(&[&new, &old]);
    // Four signing keys, a factor, the letters, an integration, an instance, and both ends of a chain.
    let all = 4 + 1 + 450 + 1 + 1 + 2;
    assert_eq!(store.sealed_otherwise(&both).await.unwrap(), all);
    let told = AtomicU64::new(0);
    let resealed = store.reseal(&both, |some| _ = told.fetch_add(some, Ordering::Relaxed)).await.unwrap();
    assert_eq!((resealed.done, resealed.left, told.into_inner()), (all, 0, all));
    assert_eq!(resealed.unreadable, []);

    let alone = opens_with(&[&new]);
    assert_eq!(store.sealed_otherwise(&alone).await.unwrap(), 0);
    Keyring::load(&store, &alone).await.unwrap();
    assert!(matches!(store.provider_key(&alone, (ada.id, None), "claude").await.unwrap(), FoundIntegration::Key(_)));
    let instance = store.instance(place.tenant.into(), place.id).await.unwrap().unwrap();
    assert_eq!(&**alone.open(&instance.sealed, &place.record()).unwrap(), b"{}");
    let pending = store.pending_factor(ada.id, FactorKind::Totp, at(-1)).await.unwrap().unwrap();
    assert_eq!(&**alone.open(&pending.sealed, &record("factors", factor.uuid())).unwrap(), b"a seed");
    let audit = Audit::new(store.clone(), Arc::clone(&alone));
    assert_eq!(audit.verify().await.unwrap().faults, []);
    let unreadable: u64 =
        store.unreadable(&alone, Duration::ZERO).await.unwrap().into_iter().map(|(_, some)| some).sum();
    assert_eq!(unreadable, 0);
    assert_eq!(store.reseal(&both, |_| ()).await.unwrap().done, 0, "there is nothing to do twice");
}

async fn what_does_not_open_is_counted_and_left_alone(database: &Database) {
    let (store, old, new) = (database.open().await, key(), key());
    furnish(&store, &opens_with(&[&old])).await;
    let moved = "UPDATE outbox SET sealed = (SELECT sealed FROM factors) WHERE address = 'person7@example.com'";
    database.execute(moved, moved).await;
    let resealed = store.reseal(&opens_with(&[&new, &old]), |_| ()).await.unwrap();
    assert_eq!((resealed.unreadable, resealed.left), (vec![("outbox", 1)], 0));
    let without = store.unreadable(&opens_with(&[&old]), Duration::ZERO).await.unwrap();
    assert_eq!(without.iter().filter(|(table, _)| *table == "outbox").map(|(_, some)| some).sum::<u64>(), 450);
    let counted = store.unreadable(&opens_with(&[&new]), Duration::ZERO).await.unwrap();
    assert_eq!(counted.into_iter().filter(|(_, some)| *some > 0).collect::<Vec<_>>(), [("outbox", 1)]);
}

async fn gateways_say_which_keys_they_have(database: &Database) {
    let store = database.open().await;
    let (one, other) = (Uuid::now_v7(), Uuid::now_v7());
    let ids = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    store.tell_seal_keys(one, &ids(&["a"]), at(0)).await.unwrap();
    store.tell_seal_keys(other, &ids(&["a"]), at(0)).await.unwrap();
    store.tell_seal_keys(one, &ids(&["b", "a"]), at(20)).await.unwrap();
    let nodes = store.seal_nodes(at(25)).await.unwrap();
    assert_eq!((nodes.len(), nodes[0].seals_with.as_str(), &nodes[0].opens), (2, "b", &ids(&["b", "a"])));
    let nodes = store.seal_nodes(at(40)).await.unwrap();
    assert_eq!(nodes.iter().map(|node| node.id).collect::<Vec<_>>(), [one], "the other one is silent");
    store.forget_seal_keys(one).await.unwrap();
    assert_eq!(store.seal_nodes(at(40)).await.unwrap(), []);
}

/// Who adds a column of bytes has to say whether it is sealed, or what it is.
#[tokio::test]
async fn every_sealed_column_is_on_the_list() {
    const PLAIN: [(&str, &str); 11] = [
        ("refresh_tokens", "digest"),
        ("api_keys", "digest"),
        ("one_time_tokens", "digest"),
        ("one_time_tokens", "binding"),
        ("login_failures", "subject"),
        ("login_failures", "source"),
        ("sessions", "device"),
        ("factors", "credential"),
        ("recovery_codes", "digest"),
        ("session_cookies", "digest"),
        ("outbox", "place"),
    ];
    const Q: &str = "SELECT table_name::text, column_name::text FROM information_schema.columns \
                     WHERE table_schema = 'portcullis' AND data_type = 'bytea' AND table_name <> '_sqlx_migrations'";
    let database = Database::postgres().await;
    database.open().await;
    let columns: Vec<(String, String)> = database.rows(Q, "").await;
    let known =
        SEALED.iter().map(|sealed| (sealed.table, sealed.column)).chain(PLAIN).chain([("audit_events", "digest")]);
    let known: BTreeSet<_> = known.map(|(table, column)| (table.to_owned(), column.to_owned())).collect();
    let unknown: Vec<_> = columns.iter().filter(|column| !known.contains(*column)).collect();
    assert_eq!(unknown, Vec::<&(String, String)>::new(), "put them into store::SEALED, or here if they are no secret");
    let named = |sealed: &store::SealedColumn| columns.contains(&(sealed.table.to_owned(), sealed.column.to_owned()));
    assert!(SEALED.iter().all(named), "a column on the list does not exist");
}
