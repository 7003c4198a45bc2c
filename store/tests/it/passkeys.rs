//! Passkeys: one credential is one account's, its count never goes back, and what it was asked serves once.

use identity::{FactorId, OneTimePurpose, OneTimeToken, SecretDigest, SessionId};
use store::{
    Account, Confirmation, FactorKind, FactorProof, NewFactor, NewOneTime, NewPasskey, Origin, Proof, SessionSeed,
    ShownOneTime, Store, StoreError,
};
use uuid::Uuid;

use crate::{
    engines::{Database, at, on_both_engines, person, session, token},
    factors::{challenge, nothing_more, notice},
};

on_both_engines!(
    a_credential_is_one_accounts_and_is_found_once_it_is_confirmed,
    a_count_of_signatures_is_accepted_once_on_whichever_node,
    what_a_passkey_was_asked_is_taken_once_and_for_its_purpose,
    what_stands_beside_a_login_is_replaced_while_its_token_is_good,
);

async fn begin(store: &Store, account: &Account) -> FactorId {
    let (id, kind) = (FactorId::new(Uuid::now_v7()), FactorKind::Passkey);
    let new = NewFactor { id, account: account.id, kind, name: None, sealed: b"asked".to_vec(), now: at(0) };
    store.begin_factor(&new).await.unwrap();
    id
}

async fn confirm(store: &Store, account: &Account, factor: FactorId, credential: &[u8]) -> Result<bool, StoreError> {
    let (session, _) = session(store, account).await;
    let passkey = NewPasskey { credential, sealed: b"made", name: Some("Laptop") };
    let confirmation = Confirmation {
        factor,
        account: account.id,
        step: 0,
        passkey: Some(passkey),
        recovery: &[],
        session: (session, "hwk mfa"),
        renewal: nothing_more(),
        notice: &notice(),
        now: at(5),
    };
    store.confirm_factor(confirmation).await.map(|(kept, _)| kept)
}

async fn keyed(store: &Store, email: &str, credential: &[u8]) -> (Account, FactorId) {
    let ada = person(store, email).await;
    let factor = begin(store, &ada).await;
    assert!(confirm(store, &ada, factor, credential).await.unwrap());
    (store.account(ada.id).await.unwrap().unwrap(), factor)
}

async fn log_in(store: &Store, account: &Account, factor: FactorId, count: i64) -> bool {
    let token = token();
    let seed = SessionSeed {
        id: SessionId::new(Uuid::now_v7()),
        proof: Proof::Refresh { token: (token.id(), token.digest()), expires_at: at(1000) },
        origin: Origin { amr: Some("hwk mfa"), ..Origin::default() },
    };
    store.log_in_with_passkey(account, &FactorProof::Passkey { factor, count }, seed, at(10)).await.unwrap().is_some()
}

async fn a_credential_is_one_accounts_and_is_found_once_it_is_confirmed(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let factor = begin(&store, &ada).await;
    assert!(store.passkey(b"one").await.unwrap().is_none());
    assert!(confirm(&store, &ada, factor, b"one").await.unwrap());
    let (owner, found) = store.passkey(b"one").await.unwrap().unwrap();
    assert_eq!((owner, found.id(), found.sealed.as_slice()), (ada.id, factor, &b"made"[..]));
    assert_eq!((found.kind, found.name.as_deref()), (FactorKind::Passkey, Some("Laptop")));
    assert!(store.passkey(b"other").await.unwrap().is_none());
    let eve = person(&store, "eve@example.com").await;
    let hers = begin(&store, &eve).await;
    let taken = confirm(&store, &eve, hers, b"one").await;
    assert!(matches!(taken, Err(StoreError::Conflict(_))), "{taken:?}");
    assert!(store.factors(eve.id).await.unwrap().is_empty());
    store.remove_factor(ada.id, factor, SessionId::new(Uuid::now_v7()), &notice(), at(6)).await.unwrap();
    assert!(store.passkey(b"one").await.unwrap().is_none());
}

async fn a_count_of_signatures_is_accepted_once_on_whichever_node(database: &Database) {
    let store = database.open().await;
    let (ada, factor) = keyed(&store, "ada@example.com", b"one").await;
    let (eve, _) = keyed(&store, "eve@example.com", b"two").await;
    // One that does not count.
    assert!(log_in(&store, &ada, factor, 0).await && log_in(&store, &ada, factor, 0).await);
    assert!(!log_in(&store, &eve, factor, 1).await, "it is ada's");
    for count in 1..6 {
        let nodes = [database.connect().await, database.connect().await];
        let tries = nodes.map(|node| {
            let ada = ada.clone();
            tokio::spawn(async move { log_in(&node, &ada, factor, count).await })
        });
        let mut served = 0;
        for tried in tries {
            served += usize::from(tried.await.unwrap());
        }
        assert_eq!(served, 1, "{count}");
    }
    for back in [0, 4, 5] {
        assert!(!log_in(&store, &ada, factor, back).await, "{back}");
    }
    // A code of that step is something else.
    let sessions = store.list_sessions(ada.id, at(11), None, 200).await.unwrap().items.len();
    assert!(!log_in(&store, &ada, FactorId::new(Uuid::now_v7()), 9).await);
    assert_eq!(
        store.list_sessions(ada.id, at(11), None, 200).await.unwrap().items.len(),
        sessions,
        "no session without a passkey"
    );
}

async fn what_a_passkey_was_asked_is_taken_once_and_for_its_purpose(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let token = OneTimeToken::generate(Uuid::now_v7(), &mut rand::rng());
    let binding = Some(SecretDigest::of(b"a session"));
    let written = NewOneTime {
        id: token.id(),
        purpose: OneTimePurpose::PasskeyProof,
        account: Some(ada.id),
        address: "ada@example.com",
        digest: token.digest_for(OneTimePurpose::PasskeyProof),
        binding,
        sealed: Some(b"asked".to_vec()),
        now: at(0),
        expires_at: at(300),
    };
    store.keep_one_time(&written).await.unwrap();
    let shown = |purpose, binding| ShownOneTime { id: token.id(), purpose, digest: token.digest_for(purpose), binding };
    let right = shown(OneTimePurpose::PasskeyProof, binding);
    let take = async |shown: &ShownOneTime, now| {
        let asked = store.take_one_time(shown, now).await.unwrap();
        asked.map(|asked| (asked.account(), asked.sealed))
    };
    assert_eq!(take(&shown(OneTimePurpose::PasskeyLogin, binding), at(1)).await, None);
    assert_eq!(take(&shown(OneTimePurpose::PasskeyProof, None), at(1)).await, None);
    assert_eq!(take(&right, at(300)).await, None, "it is over");
    assert_eq!(take(&right, at(299)).await, Some((Some(ada.id), Some(b"asked".to_vec()))));
    assert_eq!(take(&right, at(299)).await, None, "once");
}

async fn what_stands_beside_a_login_is_replaced_while_its_token_is_good(database: &Database) {
    let store = database.open().await;
    let (ada, _) = keyed(&store, "ada@example.com", b"one").await;
    let shown = challenge(&store, &ada).await;
    assert!(store.ask_beside(&shown, b"asked", 2, at(1)).await.unwrap());
    assert_eq!(store.look_at(&shown, at(1)).await.unwrap().unwrap().sealed.as_deref(), Some(&b"asked"[..]));
    let foreign = ShownOneTime { digest: SecretDigest::of(b"guess"), ..shown };
    assert!(!store.ask_beside(&foreign, b"x", 2, at(1)).await.unwrap());
    assert!(!store.ask_beside(&shown, b"x", 2, at(300)).await.unwrap(), "it is over");
    for _ in 0..2 {
        store.take_attempt(&shown, 2, at(2)).await.unwrap().unwrap();
    }
    assert!(!store.ask_beside(&shown, b"x", 2, at(3)).await.unwrap(), "it was shown too often");
}
