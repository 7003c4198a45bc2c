//! Signing keys: made once by nodes that start together, rotated online, sealed at rest.

use chrono::{DateTime, TimeDelta, Utc};
use identity::{Algorithm, KeySet, MasterKey, SealKeys, SecretText, TokenType, verify_jws};
use serde_json::json;
use store::{Keyring, Purpose, Store, StoreError, Subject, ensure_keys, rotate};

use crate::engines::{Database, heard, on_both_engines, rng};

on_both_engines!(
    the_first_start_makes_keys_and_the_second_does_not,
    nodes_that_start_at_once_agree,
    a_rotated_key_verifies_until_its_time_is_over,
    the_next_key_is_known_before_it_signs,
    of_nodes_that_rotate_at_once_each_step_is_taken_once,
    another_algorithm_retires_the_key,
    every_algorithm_signs_what_it_verifies,
    a_shared_secret_is_the_key,
    keys_open_with_their_master_key_alone,
    without_keys_there_is_no_keyring,
);

const HOUR: TimeDelta = TimeDelta::hours(1);
const SECRET: &str = "thirty-two bytes that two services share";

fn seal() -> SealKeys {
    SealKeys::new(MasterKey::generate(&mut rng()), Vec::new())
}

async fn ensure(store: &Store, seal: &SealKeys, algorithm: Algorithm, shared: Option<&str>) -> Keyring {
    let shared = shared.map(|text| SecretText::from(text.to_owned()));
    ensure_keys(store, seal, algorithm, shared.as_ref(), &mut rng(), Utc::now()).await.unwrap();
    Keyring::load(store, seal).await.unwrap()
}

async fn step(store: &Store, seal: &SealKeys, purpose: Purpose, now: DateTime<Utc>) -> Result<(), StoreError> {
    rotate(store, seal, purpose, HOUR, &mut rng(), now).await
}

fn sign(keyring: &Keyring) -> String {
    keyring.access.current.sign(TokenType::Access, &json!({ "sub": "ada" }))
}

fn verifies(keys: &KeySet, token: &str) -> bool {
    verify_jws(token, keys).is_ok()
}

/// (purpose, state, algorithm) of every key there is.
async fn states(database: &Database) -> Vec<(String, String, String)> {
    const Q: &str = "SELECT purpose, state, algorithm FROM signing_keys ORDER BY purpose, state, algorithm";
    database.rows(Q, Q).await
}

fn as_state(words: &[&str]) -> Vec<(String, String, String)> {
    let word = |line: &str, n: usize| line.split(' ').nth(n).unwrap().to_owned();
    words.iter().map(|line| (word(line, 0), word(line, 1), word(line, 2))).collect()
}

async fn the_first_start_makes_keys_and_the_second_does_not(database: &Database) {
    let (store, seal) = (database.open().await, seal());
    let first = ensure(&store, &seal, Algorithm::Es256, None).await;
    assert_eq!(
        (first.access.current.algorithm(), first.assertion.current.algorithm()),
        (Algorithm::Es256, Algorithm::EdDsa)
    );
    let made = ["access current ES256", "access next ES256", "assertion current EdDSA", "assertion next EdDSA"];
    assert_eq!(states(database).await, as_state(&made));
    let second = ensure(&store, &seal, Algorithm::Es256, None).await;
    assert_eq!(second.access.current.kid(), first.access.current.kid());
    assert_eq!(heard(&store).await, [Subject::SigningKeys; 2], "one for each purpose, at the first start");
    assert!(verifies(&second.access.keys, &sign(&first)));
    assert!(!verifies(&second.assertion.keys, &sign(&first)), "keys of one purpose do not serve the other");
}

async fn nodes_that_start_at_once_agree(database: &Database) {
    let seal = std::sync::Arc::new(seal());
    database.open().await;
    let nodes: Vec<_> = (0..4)
        .map(|_| {
            let (url, seal) = (database.url.clone(), seal.clone());
            tokio::spawn(async move {
                let store = Store::connect(&url, crate::engines::settings()).await.unwrap();
                let keyring = ensure(&store, &seal, Algorithm::EdDsa, None).await;
                (keyring.access.current.kid().to_owned(), keyring.assertion.current.kid().to_owned())
            })
        })
        .collect();
    let mut kids = Vec::new();
    for node in nodes {
        kids.push(node.await.unwrap());
    }
    kids.dedup();
    assert_eq!((kids.len(), states(database).await.len()), (1, 4));
}

async fn a_rotated_key_verifies_until_its_time_is_over(database: &Database) {
    let (store, seal, now) = (database.open().await, seal(), Utc::now());
    let old = ensure(&store, &seal, Algorithm::EdDsa, None).await;
    step(&store, &seal, Purpose::Access, now).await.unwrap();
    let new = Keyring::load(&store, &seal).await.unwrap();
    assert_ne!(new.access.current.kid(), old.access.current.kid());
    assert_eq!(new.assertion.current.kid(), old.assertion.current.kid(), "the other purpose is not touched");
    assert!(verifies(&new.access.keys, &sign(&old)) && verifies(&new.access.keys, &sign(&new)));
    assert_eq!(heard(&store).await.len(), 3);

    // The same an hour and more ago: what it retired then is over now.
    step(&store, &seal, Purpose::Access, now - HOUR - HOUR).await.unwrap();
    let newest = Keyring::load(&store, &seal).await.unwrap();
    assert!(verifies(&newest.access.keys, &sign(&old)), "retired by the clock of the first rotation");
    assert!(!verifies(&newest.access.keys, &sign(&new)), "its hour is over");
    step(&store, &seal, Purpose::Assertion, now).await.unwrap();
    let left =
        states(database).await.into_iter().filter(|(purpose, state, _)| purpose == "access" && state == "retiring");
    assert_eq!(left.count(), 1, "a rotation deletes what is over");
}

async fn the_next_key_is_known_before_it_signs(database: &Database) {
    let (store, seal) = (database.open().await, seal());
    let before = ensure(&store, &seal, Algorithm::EdDsa, None).await;
    step(&store, &seal, Purpose::Access, Utc::now()).await.unwrap();
    let after = Keyring::load(&store, &seal).await.unwrap();
    assert!(verifies(&before.access.keys, &sign(&after)), "a node that has not yet heard of the rotation");
}

async fn of_nodes_that_rotate_at_once_each_step_is_taken_once(database: &Database) {
    let (store, seal) = (database.open().await, std::sync::Arc::new(seal()));
    ensure(&store, &seal, Algorithm::EdDsa, None).await;
    let nodes: Vec<_> = (0..4)
        .map(|_| {
            let (store, seal) = (store.clone(), seal.clone());
            tokio::spawn(async move { step(&store, &seal, Purpose::Access, Utc::now()).await })
        })
        .collect();
    let mut steps = 0;
    for node in nodes {
        match node.await.unwrap() {
            Ok(()) => steps += 1,
            Err(error) => assert!(matches!(error, StoreError::Conflict(_)), "{error:?}"),
        }
    }
    let count =
        async |state: &str| states(database).await.iter().filter(|key| key.0 == "access" && key.1 == state).count();
    assert!(steps >= 1);
    assert_eq!((count("current").await, count("next").await, count("retiring").await), (1, 1, steps));
}

async fn another_algorithm_retires_the_key(database: &Database) {
    let (store, seal) = (database.open().await, seal());
    let old = ensure(&store, &seal, Algorithm::EdDsa, None).await;
    let new = ensure(&store, &seal, Algorithm::Es256, None).await;
    assert_eq!(new.access.current.algorithm(), Algorithm::Es256);
    assert!(verifies(&new.access.keys, &sign(&old)), "what it signed is good until it expires");
    let access = ["access current ES256", "access next ES256", "access retiring EdDSA"];
    assert_eq!(states(database).await[..3], as_state(&access));
    assert_eq!(new.assertion.current.kid(), old.assertion.current.kid());
}

async fn every_algorithm_signs_what_it_verifies(database: &Database) {
    let (store, seal) = (database.open().await, seal());
    for name in ["RS256", "ES256", "HS256", "EdDSA"] {
        let algorithm = Algorithm::from_name(name).unwrap();
        let keyring = ensure(&store, &seal, algorithm, None).await;
        assert_eq!(keyring.access.current.algorithm(), algorithm);
        assert!(verifies(&keyring.access.keys, &sign(&keyring)), "{name}");
    }
}

async fn a_shared_secret_is_the_key(database: &Database) {
    let (store, seal) = (database.open().await, seal());
    let made_up = ensure(&store, &seal, Algorithm::Hs256, None).await;
    let given = ensure(&store, &seal, Algorithm::Hs256, Some(SECRET)).await;
    assert_eq!(&*given.access.current.to_bytes(), SECRET.as_bytes());
    assert_eq!(
        ensure(&store, &seal, Algorithm::Hs256, Some(SECRET)).await.access.current.kid(),
        given.access.current.kid()
    );
    let rotated = step(&store, &seal, Purpose::Access, Utc::now()).await;
    assert!(matches!(rotated, Err(StoreError::Conflict(_))), "{rotated:?}");
    step(&store, &seal, Purpose::Assertion, Utc::now()).await.unwrap();

    let other = ensure(&store, &seal, Algorithm::Hs256, Some(&SECRET.to_uppercase())).await;
    assert_ne!(other.access.current.kid(), given.access.current.kid());
    let back = ensure(&store, &seal, Algorithm::Hs256, Some(SECRET)).await;
    assert_eq!(back.access.current.kid(), given.access.current.kid(), "a secret taken up again is the same key");
    for old in [&made_up, &given, &other] {
        assert!(verifies(&back.access.keys, &sign(old)));
    }
    let weak = ensure_keys(
        &store,
        &seal,
        Algorithm::Hs256,
        Some(&SecretText::from("short".to_owned())),
        &mut rng(),
        Utc::now(),
    )
    .await;
    assert!(weak.is_err());
    assert_eq!(Keyring::load(&store, &seal).await.unwrap().access.current.kid(), back.access.current.kid());
}

async fn keys_open_with_their_master_key_alone(database: &Database) {
    let (store, seal, other) = (database.open().await, seal(), seal());
    let keyring = ensure(&store, &seal, Algorithm::EdDsa, None).await;
    assert!(matches!(Keyring::load(&store, &other).await, Err(StoreError::Corrupt(_))));
    let seed = keyring.access.current.to_bytes();
    let rows: Vec<(Vec<u8>,)> =
        database.rows("SELECT sealed FROM signing_keys", "SELECT sealed FROM signing_keys").await;
    assert!(rows.iter().all(|(sealed,)| !sealed.windows(seed.len()).any(|piece| piece == &**seed)), "a key lies open");
    // Each is sealed for its own row.
    let swap = "UPDATE signing_keys SET sealed = (SELECT sealed FROM signing_keys WHERE purpose = 'assertion' AND state = 'current') \
                WHERE purpose = 'access' AND state = 'current'";
    database.execute(swap, swap).await;
    assert!(matches!(Keyring::load(&store, &seal).await, Err(StoreError::Corrupt(_))));
}

async fn without_keys_there_is_no_keyring(database: &Database) {
    let store = database.open().await;
    assert!(matches!(Keyring::load(&store, &seal()).await, Err(StoreError::Corrupt(_))));
}
