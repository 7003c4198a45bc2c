//! Registration, login, refresh, logout: the life of a session, on each database.

use std::time::Duration;

use insta::{assert_json_snapshot, assert_snapshot};
use serde_json::{Value, json};

use crate::house::{House, PASSWORD, Person, Shown, veiled};

async fn refresh(house: &House, token: &str) -> crate::house::Answer {
    house.post("/auth/refresh", Shown::Nothing, json!({ "refresh_token": token })).await
}

/// The main flow, told once for every database.
async fn a_session_from_registration_to_its_end(house: House) {
    let registered = house.register("Ada@Example.com").await;
    assert_eq!(house.get("/auth/me", registered.shown()).await.text("email"), "Ada@Example.com");

    let session = house.login("ada@example.COM").await;
    assert_eq!(session.id, registered.id);

    // The pair is exchanged; what it bought works.
    let answer = refresh(&house, &session.refresh).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let next = Person::of(&answer);
    assert_ne!(next.refresh, session.refresh);
    assert_eq!(house.get("/auth/me", next.shown()).await.status, 200);

    // Two tabs race: within the grace both win.
    house.advance(Duration::from_secs(5));
    assert_eq!(refresh(&house, &session.refresh).await.status, 200);

    // Later the same token is a theft: the session ends for everybody, and the registration's session lives on.
    house.advance(Duration::from_secs(6));
    assert_eq!(refresh(&house, &session.refresh).await.refusal(), "401 token_reused");
    assert_eq!(refresh(&house, &next.refresh).await.refusal(), "401 revoked");
    assert_eq!(house.get("/auth/me", next.shown()).await.refusal(), "401 door:revoked");
    assert_eq!(house.get("/auth/me", registered.shown()).await.status, 200);

    // Logging out ends one session at once.
    let other = house.login("ada@example.com").await;
    let answer = house.post("/auth/logout", registered.shown(), Value::Null).await;
    assert_eq!((answer.status.as_u16(), answer.body), (200, json!({ "message": "logged out" })));
    assert_eq!(house.get("/auth/me", registered.shown()).await.refusal(), "401 door:revoked");
    assert_eq!(refresh(&house, &registered.refresh).await.refusal(), "401 revoked");
    assert_eq!(house.get("/auth/me", other.shown()).await.status, 200);
}

#[tokio::test]
async fn a_session_lives_and_ends_on_sqlite() {
    a_session_from_registration_to_its_end(House::open().await).await;
}

#[tokio::test]
async fn a_session_lives_and_ends_on_postgres() {
    let database = crate::postgres::Database::create().await;
    let house = House::open_on(database.url(), tempfile::tempdir().unwrap()).await;
    a_session_from_registration_to_its_end(house).await;
}

#[tokio::test]
async fn whoever_registers_is_told_everything_the_older_systems_told() {
    let house = House::open().await;
    let body = json!({ "email": "user@example.com", "password": "SecurePass123", "full_name": "Test User", "tenant_name": "My Company" });
    let answer = house.post("/auth/register", Shown::Nothing, body).await;
    assert_eq!(answer.headers["cache-control"], "no-store");
    let own = [
        ("/access_token", "[token]"),
        ("/refresh_token", "[token]"),
        ("/user/id", "[uuid]"),
        ("/user/tenant_id", "[uuid]"),
        ("/user/created_at", "[time]"),
    ];
    assert_json_snapshot!(veiled(&answer.body, &own), @r#"
    {
      "access_token": "[token]",
      "expires_in": 1800,
      "refresh_token": "[token]",
      "token_type": "bearer",
      "user": {
        "avatar_url": null,
        "created_at": "[time]",
        "domains": [],
        "email": "user@example.com",
        "full_name": "Test User",
        "id": "[uuid]",
        "is_verified": false,
        "name": "Test User",
        "role": "user",
        "teams": [],
        "tenant_id": "[uuid]",
        "tenant_role": "owner",
        "tier": "free"
      }
    }
    "#);
    let login = house
        .post("/auth/login", Shown::Nothing, json!({ "email": "user@example.com", "password": "SecurePass123" }))
        .await;
    assert_eq!(login.body["user"], answer.body["user"]);
    assert_eq!(
        login.body.as_object().unwrap().keys().collect::<Vec<_>>(),
        answer.body.as_object().unwrap().keys().collect::<Vec<_>>()
    );
    assert_eq!(house.get("/auth/me", Shown::Credential(login.text("access_token"))).await.body, answer.body["user"]);
}

#[tokio::test]
async fn an_address_is_registered_once_however_it_is_written() {
    let house = House::open().await;
    house.register("straße@example.com").await;
    for same in ["straße@example.com", "STRASSE@EXAMPLE.COM", "ｓｔｒａｓｓｅ@example.com"] {
        let answer = house.post("/auth/register", Shown::Nothing, json!({ "email": same, "password": PASSWORD })).await;
        assert_eq!(answer.refusal(), "409 email_taken", "{same}");
    }
    assert_eq!(house.metric("portcullis_registrations_total"), 8, "each was begun, and one was done");
}

#[tokio::test]
async fn an_access_token_and_a_session_end_when_their_time_is_over() {
    let house = House::open().await;
    let person = house.register("ada@example.com").await;
    house.advance(Duration::from_secs(1800 + 31));
    assert_eq!(house.get("/auth/me", person.shown()).await.refusal(), "401 door:invalid_token");
    let next = Person::of(&refresh(&house, &person.refresh).await);
    house.advance(Duration::from_secs(7 * 86_400 + 1));
    assert_eq!(refresh(&house, &next.refresh).await.refusal(), "401 expired");
}

#[tokio::test]
async fn what_is_no_refresh_token_in_use_is_refused() {
    let house = House::open().await;
    let person = house.register("ada@example.com").await;
    let made_up = identity::RefreshToken::generate(uuid::Uuid::now_v7(), &mut rand::rng());
    for bad in ["", "garbage", &person.access, made_up.expose(), &person.refresh[..person.refresh.len() - 1]] {
        assert_eq!(refresh(&house, bad).await.refusal(), "401 invalid_token", "{bad}");
    }
    assert_eq!(house.metric("portcullis_refreshes_total"), 5);
}

#[tokio::test]
async fn the_account_of_a_refreshed_session_is_as_it_is_now() {
    let house = House::open().await;
    let person = house.register("ada@example.com").await;
    house
        .change(
            &person,
            store::AccountChange {
                role: Some("helpdesk".to_owned()),
                tier: Some(store::NewTier::Own("pro".to_owned())),
                ..Default::default()
            },
        )
        .await;
    let answer = refresh(&house, &person.refresh).await;
    assert_eq!((&answer.body["user"]["role"], &answer.body["user"]["tier"]), (&json!("helpdesk"), &json!("pro")));
}

#[tokio::test]
async fn a_disabled_account_neither_refreshes_nor_calls() {
    let house = House::open().await;
    let person = house.register("ada@example.com").await;
    house.change(&person, store::AccountChange { status: Some(store::Status::Disabled), ..Default::default() }).await;
    assert_eq!(refresh(&house, &person.refresh).await.refusal(), "401 revoked");
    assert_eq!(house.get("/auth/me", person.shown()).await.status, 401);
}

#[tokio::test]
async fn an_api_key_has_no_session_to_end_or_go_on_with() {
    let house = House::open().await;
    let person = house.register("ada@example.com").await;
    let key = house.make_key(&person, json!({ "name": "ci" })).await["key"].as_str().unwrap().to_owned();
    let answer = house.post("/auth/logout", Shown::Credential(&key), Value::Null).await;
    assert_snapshot!(answer.refusal(), @"409 no_session");
    assert_eq!(refresh(&house, &key).await.refusal(), "401 invalid_token");
    assert_eq!(house.get("/auth/me", person.shown()).await.status, 200);
}
