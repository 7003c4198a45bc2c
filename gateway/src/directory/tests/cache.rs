//! What is believed, until when, and what changes it.

use identity::{RefreshToken, SessionId};
use prometheus::{Histogram, IntCounter};
use store::{AccountChange, NewSession};

use super::{
    house::{later, new_key, now},
    *,
};

#[tokio::test]
async fn what_is_cached_ends_when_its_time_is_over() {
    let house = House::open().await;
    let ada = house.person("ada@example.com").await;
    let token = house.token(ada.id, house.session(&ada).await);
    let key = house.key(&ada, Some(later(60))).await;
    for credential in [Credential::Jwt(&token), Credential::ApiKey(key.expose())] {
        assert_eq!(house.code(credential, now()).await, "ok");
        assert_eq!(house.code(credential, later(59)).await, "ok");
        assert_eq!(house.code(credential, later(60)).await, "expired");
    }
    assert_eq!(house.metrics.cache.misses.get(), 2, "each was looked up once");
    let timed = [&house.metrics.cache.seconds, &house.metrics.store.seconds].map(Histogram::get_sample_count);
    assert_eq!(timed, [2, 2], "and what is cached is not timed");
}

#[tokio::test]
async fn what_a_key_has_bought_ends_with_its_grace() {
    let house = House::open().await;
    let ada = house.person("ada@example.com").await;
    let key = house.key(&ada, None).await;
    let (id, refresh) = (SessionId::new(Uuid::now_v7()), RefreshToken::generate(Uuid::now_v7(), &mut rand::rng()));
    let proof = store::Proof::Refresh { token: (refresh.id(), refresh.digest()), expires_at: later(60) };
    let origin = store::Origin { method: Some(store::MACHINE), ..store::Origin::default() };
    let new = NewSession { id, account: &ada, proof, now: now(), origin };
    house.store.open_bought_session(new, key.id()).await.unwrap();
    let token = house.token(ada.id, id);
    assert_eq!(house.code(Credential::Jwt(&token), later(1)).await, "ok");
    let (next, grace) = (new_key(&ada, None).1, Duration::from_secs(10));
    house.store.rotate_key(ada.id, key.id(), next, grace, later(1)).await.unwrap();
    let changes = house.store.changes_since(0, 100).await.unwrap();
    house.directory.hear(changes.into_iter().map(|change| change.subject));
    assert_eq!(house.code(Credential::Jwt(&token), later(10)).await, "ok");
    assert_eq!(house.code(Credential::Jwt(&token), later(11)).await, "expired");
}

#[tokio::test]
async fn a_token_counts_only_for_the_account_that_its_session_belongs_to() {
    let house = House::open().await;
    let (ada, eve) = (house.person("ada@example.com").await, house.person("eve@example.com").await);
    let token = house.token(eve.id, house.session(&ada).await);
    assert_eq!(house.code(Credential::Jwt(&token), now()).await, "invalid_token");
}

#[tokio::test]
async fn the_id_of_a_key_opens_nothing_without_its_secret() {
    let house = House::open().await;
    let ada = house.person("ada@example.com").await;
    let key = house.key(&ada, None).await;
    // Well formed, so that only the record can tell.
    let guessed = ApiKey::generate(key.id(), &mut rand::rng());
    assert_eq!(house.code(Credential::ApiKey(guessed.expose()), now()).await, "invalid_token");
    assert_eq!(house.code(Credential::ApiKey(key.expose()), now()).await, "ok", "nor does the guess shut it out");
}

#[tokio::test]
async fn an_expired_token_is_told_as_such() {
    let house = House::open().await;
    let token = house.new_token().await;
    assert_eq!(house.code(Credential::Jwt(&token), later(61)).await, "expired");
}

#[tokio::test]
async fn after_every_sort_of_change_the_caller_is_looked_up_anew() {
    let house = House::open().await;
    let ada = house.person("ada@example.com").await;
    let (sid, key) = (house.session(&ada).await, house.key(&ada, None).await);
    let token = house.token(ada.id, sid);
    let (jwt, api_key) = (Credential::Jwt(&token), Credential::ApiKey(key.expose()));
    let changes = [
        (jwt, Subject::Account(ada.id)),
        (jwt, Subject::Session(sid)),
        (jwt, Subject::Unknown),
        (api_key, Subject::Account(ada.id)),
        (api_key, Subject::Key(key.id())),
    ];
    for (n, (credential, subject)) in changes.into_iter().enumerate() {
        // Thrice: it is looked up, found in the cache, and found without asking the cache.
        for _ in 0..3 {
            assert_eq!(house.code(credential, now()).await, "ok");
        }
        let role = format!("role{n}");
        let change = AccountChange { role: Some(role.clone()), ..AccountChange::default() };
        house.store.change_account(ada.id, change, now()).await.unwrap();
        house.directory.hear([subject]);
        let stale = house.metrics.cache.stale.get();
        assert_eq!(*house.shown(credential, now()).await.ok().unwrap().principal.role, *role, "{subject:?}");
        assert_eq!(house.metrics.cache.stale.get(), stale + 1, "{subject:?}");
    }
}

#[tokio::test]
async fn who_was_here_in_this_second_is_found_without_the_cache_and_in_the_next_by_it_alone() {
    let house = House::open().await;
    let token = house.new_token().await;
    let credential = Credential::Jwt(&token);
    let counted = || [&house.metrics.cache.hits, &house.metrics.cache.misses].map(IntCounter::get);
    assert_eq!((house.code(credential, now()).await, house.code(credential, now()).await), ("ok", "ok"));
    house.directory.known.invalidate(&digest_of(&credential)).await;
    assert_eq!(house.code(credential, now()).await, "ok");
    assert_eq!(counted(), [2, 1]);
    assert_eq!(house.code(credential, later(1)).await, "ok");
    assert_eq!(counted(), [2, 2], "it was looked up anew");
}

#[tokio::test]
async fn while_changes_go_unheard_for_too_long_nobody_is_believed() {
    let house = House::open().await;
    let token = house.new_token().await;
    for _ in 0..3 {
        assert_eq!(house.code(Credential::Jwt(&token), now()).await, "ok");
    }
    house.directory.too_stale.store(true, Ordering::Release);
    assert_eq!(house.code(Credential::Jwt(&token), now()).await, "directory_unavailable");
    house.directory.too_stale.store(false, Ordering::Release);
    assert_eq!(house.code(Credential::Jwt(&token), now()).await, "ok");
}
