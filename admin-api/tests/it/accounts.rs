//! One's own account: seen, changed within bounds, and shown to services that ask.

use std::time::Duration;

use insta::{assert_json_snapshot, assert_snapshot};
use serde_json::{Value, json};

use crate::house::{House, Person, Shown, veiled};

async fn change(house: &House, person: &Person, body: Value) -> crate::house::Answer {
    house.call("PATCH", "/auth/me", person.shown(), body).await
}

async fn validate(house: &House, token: &str) -> crate::house::Answer {
    house.post("/auth/validate", Shown::Nothing, json!({ "token": token })).await
}

#[tokio::test]
async fn a_person_changes_name_and_picture() {
    let house = House::open().await;
    let person = house.register("ada@example.com").await;
    let answer =
        change(&house, &person, json!({ "full_name": " Ada L. ", "avatar_url": "https://example.com/a.png" })).await;
    let own = [("/id", "[uuid]"), ("/tenant_id", "[uuid]"), ("/created_at", "[time]")];
    assert_json_snapshot!(veiled(&answer.body, &own), @r#"
    {
      "avatar_url": "https://example.com/a.png",
      "created_at": "[time]",
      "domains": [],
      "email": "ada@example.com",
      "full_name": "Ada L.",
      "id": "[uuid]",
      "is_verified": false,
      "name": "Ada L.",
      "role": "user",
      "teams": [],
      "tenant_id": "[uuid]",
      "tenant_role": "owner",
      "tier": "free"
    }
    "#);
    assert_eq!(house.get("/auth/me", person.shown()).await.body, answer.body);
    let answer = change(&house, &person, json!({ "avatar_url": null })).await;
    assert_eq!((&answer.body["name"], &answer.body["avatar_url"]), (&json!("Ada L."), &Value::Null));
    assert_eq!(change(&house, &person, json!({})).await.body["name"], "Ada L.");
    for name in ["name", "full_name"] {
        assert_eq!(change(&house, &person, json!({ "name": "Ada L." })).await.body["name"], "Ada L.");
        assert_eq!(change(&house, &person, json!({ name: null })).await.body["full_name"], Value::Null);
    }
    let both = change(&house, &person, json!({ "name": null, "full_name": "Ada" })).await;
    assert_eq!(both.status, 422, "they must not differ: {}", both.body);
}

#[tokio::test]
async fn nobody_promotes_themselves() {
    let house = House::open().await;
    let person = house.register("ada@example.com").await;
    let before = house.get("/auth/me", person.shown()).await.body;
    for field in ["role", "tier", "status", "email", "id", "is_verified", "tenant_id", "teams", "password_hash"] {
        let answer = change(&house, &person, json!({ "name": "Eve", field: "admin" })).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.body["errors"][0]["field"]),
            (422, &json!(field)),
            "{}",
            answer.body
        );
        let body = json!({ "email": "eve@example.com", "password": "password123", field: "admin" });
        if field != "email" {
            let answer = house.post("/auth/register", Shown::Nothing, body).await;
            assert_eq!(
                (answer.status.as_u16(), &answer.body["errors"][0]["field"]),
                (422, &json!(field)),
                "{}",
                answer.body
            );
        }
    }
    assert_eq!(house.get("/auth/me", person.shown()).await.body, before);
}

#[tokio::test]
async fn a_good_credential_validates_as_its_person() {
    let house = House::open().await;
    let person = house.register("ada@example.com").await;
    let me = house.get("/auth/me", person.shown()).await.body;
    let mut answer = validate(&house, &person.access).await.body;
    assert!(answer["auth_time"].take().is_string(), "{answer}");
    assert_eq!(
        answer,
        json!({ "valid": true, "user": me, "scopes": null, "acr": "single", "auth_time": null, "error": null })
    );
    let key = house.make_key(&person, json!({ "name": "ci", "scopes": ["agents:read"] })).await;
    let answer = validate(&house, key["key"].as_str().unwrap()).await;
    assert_eq!(
        answer.body,
        json!({ "valid": true, "user": me, "scopes": ["agents:read"], "acr": null, "auth_time": null, "error": null })
    );
}

#[tokio::test]
async fn a_bad_credential_is_an_answer_and_not_an_error() {
    let house = House::open().await;
    let person = house.register("ada@example.com").await;
    let key = house.make_key(&person, json!({ "name": "ci" })).await;
    let key = key["key"].as_str().unwrap();
    let verdict = |answer: crate::house::Answer| format!("{} {}", answer.status.as_u16(), answer.body);
    assert_snapshot!(verdict(validate(&house, "").await), @r#"200 {"acr":null,"auth_time":null,"error":"invalid_token","scopes":null,"user":null,"valid":false}"#);
    let last = if key.ends_with('0') { "1" } else { "0" };
    let tampered = format!("{}{last}", &key[..key.len() - 1]);
    // Well-formed and of a key that exists, but not its secret.
    let guessed = identity::ApiKey::generate(identity::ApiKey::parse(key).unwrap().id(), &mut rand::rng());
    let other_key = identity::ApiKey::generate(identity::KeyId::new(uuid::Uuid::now_v7()), &mut rand::rng());
    for bad in [
        "x",
        "a.b.c",
        "pck_",
        &person.refresh,
        &person.access[..person.access.len() - 1],
        &tampered,
        guessed.expose(),
        other_key.expose(),
    ] {
        let answer = validate(&house, bad).await;
        assert_eq!((answer.status.as_u16(), answer.text("error")), (200, "invalid_token"), "{bad}");
    }
}

#[tokio::test]
async fn validation_knows_what_has_happened_since_the_credential_was_issued() {
    let house = House::open().await;
    let person = house.register("ada@example.com").await;
    let ended = house.login("ada@example.com").await;
    house.post("/auth/logout", ended.shown(), Value::Null).await;
    assert_eq!(validate(&house, &ended.access).await.text("error"), "revoked");

    let key = house.make_key(&person, json!({ "name": "ci", "expires_in_days": 1 })).await;
    let deleted = house.make_key(&person, json!({ "name": "old" })).await;
    house
        .call("DELETE", &format!("/auth/api-keys/{}", deleted["id"].as_str().unwrap()), person.shown(), Value::Null)
        .await;
    assert_eq!(validate(&house, deleted["key"].as_str().unwrap()).await.text("error"), "revoked");

    house.change(&person, store::AccountChange { status: Some(store::Status::Disabled), ..Default::default() }).await;
    assert_eq!(validate(&house, &person.access).await.text("error"), "account_disabled");
    house.change(&person, store::AccountChange { status: Some(store::Status::Active), ..Default::default() }).await;

    house.advance(Duration::from_secs(86_401));
    assert_eq!(validate(&house, &person.access).await.text("error"), "expired");
    assert_eq!(validate(&house, key["key"].as_str().unwrap()).await.text("error"), "expired");
}
