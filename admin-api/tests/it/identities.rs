//! Logins at providers, where it takes a clock that can be moved; the rest is tried through the door (`gateway/tests/door/oauth.rs`).

use std::time::Duration;

use axum::http::{HeaderMap, header};
use serde_json::{Value, json};

use crate::house::{Answer, House, PASSWORD, Shown};

fn cookies(answer: &Answer) -> String {
    let set = answer.headers.get_all(header::SET_COOKIE).iter().map(|value| value.to_str().unwrap());
    set.map(|cookie| cookie.split(';').next().unwrap()).collect::<Vec<_>>().join("; ")
}

fn goes_to(headers: &HeaderMap) -> &str {
    headers[header::LOCATION].to_str().unwrap()
}

/// Goes to the provider, waits there, and comes back.
async fn come_back(house: &House, after: Duration) -> Answer {
    come_back_with(house, after, "").await
}

/// The same in a browser that has these cookies already.
async fn come_back_with(house: &House, after: Duration, had: &str) -> Answer {
    let sent = house.get("/auth/oauth/acme", Shown::Nothing).await;
    let state = goes_to(&sent.headers).split_once("state=").unwrap().1.to_owned();
    house.advance(after);
    let cookie = format!("{had}; {}", cookies(&sent));
    let cookie = cookie.trim_start_matches("; ");
    house.get(&format!("/auth/oauth/acme/callback?state={state}&code=x"), Shown::Header("Cookie", cookie)).await
}

#[tokio::test]
async fn a_login_at_a_provider_leaves_the_session_behind_that_the_browser_had() {
    let house = House::open().await;
    let session = |answer: &Answer| answer.cookie().unwrap();
    let me = async |pair: &str| {
        let (_, cookie) = pair.split_once('=').unwrap();
        house.get("/auth/me", Shown::Credential(cookie)).await.refusal_or_status()
    };
    let first = session(&come_back(&house, Duration::ZERO).await);
    let elsewhere = session(&come_back(&house, Duration::ZERO).await);
    assert_eq!(me(&first).await, "200 OK", "another browser has its own");
    let second = session(&come_back_with(&house, Duration::ZERO, &first).await);
    assert_eq!(me(&first).await, "401 door:revoked");
    assert_eq!((me(&second).await, me(&elsewhere).await), ("200 OK".to_owned(), "200 OK".to_owned()));
}

#[tokio::test]
async fn somebody_may_take_ten_minutes_at_the_provider_and_no_longer() {
    let house = House::open().await;
    assert_eq!(come_back(&house, Duration::from_secs(601)).await.refusal(), "400 invalid_state");
    let back = come_back(&house, Duration::from_secs(570)).await;
    assert_eq!((back.status.as_u16(), goes_to(&back.headers)), (303, "/account/sessions"));
}

#[tokio::test]
async fn who_has_been_away_for_too_long_signs_in_before_they_link() {
    let house = House::open().await;
    let session = come_back(&house, Duration::ZERO).await.cookie().unwrap();
    let begin = async || {
        let sent = house.get("/auth/oauth/acme?link=1", Shown::Header("Cookie", &session)).await;
        goes_to(&sent.headers).to_owned()
    };
    house.advance(Duration::from_mins(50));
    assert!(begin().await.starts_with("https://acme.test/authorize"), "at the provider's");
    house.advance(Duration::from_mins(11));
    assert_eq!(begin().await, "/account/sign-in?return_to=/account/identities");
}

#[tokio::test]
async fn to_unlink_takes_the_owner() {
    let house = House::open().await;
    let ada = house.register("ada@example.com").await;
    let identity = store::NewIdentity { issuer: "https://acme.test", subject: "ada-there", email: "ada@example.com" };
    let subject = store::ExternalSubject { issuer: identity.issuer, subject: identity.subject, claims_at: None };
    house.store.link_external(ada.id, None, subject, None, house.now()).await.unwrap();
    let listed = house.get("/auth/identities", ada.shown()).await.body;
    let path = format!("/auth/identities/{}", listed["items"][0]["id"].as_str().unwrap());
    house.advance(Duration::from_secs(301));
    let refused = house.call("DELETE", &path, ada.shown(), Value::Null).await;
    assert_eq!(refused.refusal(), "401 insufficient_user_authentication");
    let done = house.call("DELETE", &path, ada.shown(), json!({ "password": PASSWORD })).await;
    assert_eq!(done.status, 204, "{}", done.body);
    assert_eq!(house.get("/auth/identities", ada.shown()).await.body, json!({ "items": [], "next_cursor": null }));
}
