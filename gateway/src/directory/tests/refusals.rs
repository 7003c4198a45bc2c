//! Who is refused, what that costs, and whom it does not concern.

use super::{
    house::{now, set},
    *,
};

#[tokio::test]
async fn a_refusal_is_remembered_and_costs_its_address_each_time() {
    let (house, key) = (House::open().await, unknown_key());
    for _ in 0..3 {
        assert_eq!(house.code(Credential::ApiKey(key.expose()), now()).await, "invalid_token");
    }
    assert_eq!(house.metrics.cache.misses.get(), 1, "it was looked up once");
    assert_eq!(house.code(Credential::ApiKey(key.expose()), now()).await, "too_many_refusals");
}

#[tokio::test]
async fn a_database_that_is_away_is_a_503_that_costs_no_address_anything() {
    let house = House::without_tables().await;
    for _ in 0..10 {
        assert_eq!(
            house.code(Credential::ApiKey(unknown_key().expose()), now()).await,
            "directory_unavailable",
            "never 401, nor 429"
        );
    }
    assert_eq!(house.metrics.store.failures.get(), 10);
}

#[tokio::test]
async fn who_is_known_is_no_stranger_after_a_change_although_its_address_has_been_refused_too_often() {
    let house = House::open().await;
    let ada = house.person("ada@example.com").await;
    let token = house.token(ada.id, house.session(&ada).await);
    assert_eq!(house.code(Credential::Jwt(&token), now()).await, "ok");
    for _ in 0..3 {
        assert_eq!(house.code(Credential::ApiKey(unknown_key().expose()), now()).await, "invalid_token");
    }
    assert_eq!(house.code(Credential::ApiKey(unknown_key().expose()), now()).await, "too_many_refusals");
    house.directory.hear([Subject::Account(ada.id)]);
    assert_eq!(house.code(Credential::Jwt(&token), now()).await, "ok");
}

#[tokio::test]
async fn who_was_known_is_a_stranger_once_its_token_proves_nothing() {
    let house = House::open().await;
    let token = house.new_token().await;
    assert_eq!(house.code_of(&token).await, "ok");
    // Its key is withdrawn.
    house.keys.store(Arc::new(Keyring { access: set(), assertion: set() }));
    house.directory.forget_all();
    for _ in 0..3 {
        assert_eq!(house.code_of(&token).await, "invalid_token");
    }
    assert_eq!(house.code_of(&token).await, "too_many_refusals");
}
