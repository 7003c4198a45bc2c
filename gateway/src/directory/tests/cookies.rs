//! Cookies: until when they are good, on any node.

use super::{
    house::{later, now},
    *,
};

#[tokio::test]
async fn a_cookie_that_is_not_used_for_a_while_is_worth_nothing_on_any_node() {
    let house = House::open().await;
    let ada = house.person("ada@example.com").await;
    let cookie = house.cookie(&ada, later(600), later(86_400)).await;
    let shown = Credential::Cookie(cookie.expose());
    for used in [0, 599, 1198, 1700] {
        assert_eq!(house.code(shown, later(used)).await, "ok", "{used}");
    }
    assert_eq!(house.metrics.cache.misses.get(), 1, "a use asks nobody");
    house.directory.tidy(later(1701)).await;
    let until = house.store.cookie_grant(cookie.id()).await.unwrap().unwrap().idle_until;
    assert_eq!(until, Some(later(2300)), "it is written down");
    assert_eq!(house.code(shown, later(1730)).await, "ok");
    house.directory.tidy(later(1731)).await;
    let until = house.store.cookie_grant(cookie.id()).await.unwrap().unwrap().idle_until;
    assert_eq!(until, Some(later(2300)), "not each use");
    assert_eq!(house.code(shown, later(2330)).await, "expired");
}

#[tokio::test]
async fn a_cookie_that_was_used_at_another_node_meanwhile_is_good_at_this_one_too() {
    let house = House::open().await;
    let ada = house.person("ada@example.com").await;
    let cookie = house.cookie(&ada, later(600), later(86_400)).await;
    let shown = Credential::Cookie(cookie.expose());
    assert_eq!(house.code(shown, now()).await, "ok");
    house.store.touch_cookies(&[(cookie.id(), later(1500))], later(900)).await.unwrap();
    assert_eq!(house.code(shown, later(1000)).await, "ok");
}

#[tokio::test]
async fn a_cookie_ends_however_often_it_is_used() {
    let house = House::open().await;
    let ada = house.person("ada@example.com").await;
    let cookie = house.cookie(&ada, later(600), later(1000)).await;
    let shown = Credential::Cookie(cookie.expose());
    assert_eq!(house.code(shown, later(500)).await, "ok");
    assert_eq!(house.code(shown, later(999)).await, "ok");
    assert_eq!(house.code(shown, later(1000)).await, "expired");
}

#[tokio::test]
async fn a_cookie_shown_as_a_token_and_a_wrong_secret_of_it_are_refused() {
    let house = House::open().await;
    let ada = house.person("ada@example.com").await;
    let cookie = house.cookie(&ada, later(600), later(1000)).await;
    let guessed = SessionCookie::generate(cookie.id(), &mut rand::rng());
    assert_eq!(house.code(Credential::Cookie(guessed.expose()), now()).await, "invalid_token");
    assert_eq!(house.code(Credential::Cookie(cookie.expose()), now()).await, "ok");
    assert_eq!(house.code(Credential::Jwt(cookie.expose()), now()).await, "invalid_token", "although it is cached");
    house.store.end_session(cookie.id(), now()).await.unwrap();
    house.directory.hear([Subject::Session(cookie.id())]);
    assert_eq!(house.code(Credential::Cookie(cookie.expose()), now()).await, "revoked");
}
