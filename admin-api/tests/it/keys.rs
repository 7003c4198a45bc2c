//! API keys: made, shown once, listed, replaced, deleted, and never worth more than whoever made them.

use std::time::Duration;

use insta::assert_json_snapshot;
use serde_json::{Value, json};

use crate::house::{House, PASSWORD, Person, Shown};

fn text<'a>(key: &'a Value, field: &str) -> &'a str {
    key[field].as_str().unwrap()
}

fn path(key: &Value, rest: &str) -> String {
    format!("/auth/api-keys/{}{rest}", text(key, "id"))
}

async fn works(house: &House, key: &Value) -> bool {
    house.get("/auth/me", Shown::Credential(text(key, "key"))).await.status == 200
}

async fn listed(house: &House, person: &Person) -> Vec<String> {
    let answer = house.get("/auth/api-keys", person.shown()).await;
    let mut names: Vec<_> =
        answer.body["items"].as_array().unwrap().iter().map(|key| text(key, "name").to_owned()).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn a_key_is_shown_once_and_works() {
    let house = House::open().await;
    let person = house.register("ada@example.com").await;
    let key = house
        .make_key(&person, json!({ "name": "My API Key", "scopes": ["agents:read"], "expires_in_days": 90 }))
        .await;
    assert!(text(&key, "key").starts_with(text(&key, "prefix")));
    let life = text(&key, "expires_at").parse::<chrono::DateTime<chrono::Utc>>().unwrap() - house.now();
    assert_eq!((life + chrono::TimeDelta::minutes(1)).num_days(), 90);
    assert_json_snapshot!(key, { ".id" => "[uuid]", ".key" => "[key]", ".prefix" => "[prefix]", ".created_at" => "[time]", ".expires_at" => "[time]" }, @r#"
    {
      "created_at": "[time]",
      "expires_at": "[time]",
      "id": "[uuid]",
      "key": "[key]",
      "last_used_at": null,
      "name": "My API Key",
      "prefix": "[prefix]",
      "scopes": [
        "agents:read"
      ]
    }
    "#);
    assert!(works(&house, &key).await);

    let list = house.get("/auth/api-keys", person.shown()).await.body;
    let mut shown_again = key.as_object().unwrap().clone();
    shown_again.remove("key");
    assert_eq!(list, json!({ "items": [shown_again], "next_cursor": null }));
}

#[tokio::test]
async fn a_deleted_key_is_refused() {
    let house = House::open().await;
    let person = house.register("ada@example.com").await;
    let key = house.make_key(&person, json!({ "name": "ci" })).await;
    let answer = house.call("DELETE", &path(&key, ""), person.shown(), Value::Null).await;
    assert_eq!((answer.status.as_u16(), answer.body), (204, json!("")));
    assert!(!works(&house, &key).await);
    assert_eq!(listed(&house, &person).await, [""; 0]);
    assert_eq!(house.call("DELETE", &path(&key, ""), person.shown(), Value::Null).await.refusal(), "404 not_found");
    assert_eq!(house.post(&path(&key, "/rotate"), person.shown(), Value::Null).await.refusal(), "404 not_found");
}

#[tokio::test]
async fn nobody_touches_the_keys_of_others() {
    let house = House::open().await;
    let (person, other) = (house.register("ada@example.com").await, house.register("eve@example.com").await);
    let key = house.make_key(&person, json!({ "name": "ci" })).await;
    assert_eq!(house.call("DELETE", &path(&key, ""), other.shown(), Value::Null).await.refusal(), "404 not_found");
    assert_eq!(
        house.post(&path(&key, "/rotate"), other.shown(), json!({ "grace": 60 })).await.refusal(),
        "404 not_found"
    );
    assert_eq!(listed(&house, &other).await, [""; 0]);
    assert!(works(&house, &key).await);
    for no_id in ["nonsense", "%00", "0190a5a0-0000-7000-8000-000000000000"] {
        assert_eq!(
            house.call("DELETE", &format!("/auth/api-keys/{no_id}"), person.shown(), Value::Null).await.refusal(),
            "404 not_found"
        );
    }
}

#[tokio::test]
async fn a_rotated_key_keeps_what_it_was_and_the_old_one_goes_at_once() {
    let house = House::open().await;
    let person = house.register("ada@example.com").await;
    let old = house.make_key(&person, json!({ "name": "ci", "scopes": ["agents:read"], "expires_in_days": 10 })).await;
    house.advance(Duration::from_hours(120));
    let person = house.login("ada@example.com").await;
    let answer = house.post(&path(&old, "/rotate"), person.shown(), Value::Null).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let new = answer.body;
    assert_eq!((text(&new, "name"), &new["scopes"]), ("ci", &json!(["agents:read"])));
    let life = text(&new, "expires_at").parse::<chrono::DateTime<chrono::Utc>>().unwrap() - house.now();
    assert_eq!((life + chrono::TimeDelta::minutes(1)).num_days(), 10, "as long a life as the old one was given");
    assert!(works(&house, &new).await);
    assert!(!works(&house, &old).await);
    assert_eq!(listed(&house, &person).await, ["ci"], "the old one is gone");
}

#[tokio::test]
async fn within_the_grace_both_keys_work() {
    let house = House::open().await;
    let person = house.register("ada@example.com").await;
    let old = house.make_key(&person, json!({ "name": "ci" })).await;
    let new = house.post(&path(&old, "/rotate"), person.shown(), json!({ "grace": 3600 })).await.body;
    assert_eq!(new["expires_at"], Value::Null);
    let again = house.post(&path(&old, "/rotate"), person.shown(), json!({ "grace": 60 })).await;
    assert_eq!(again.refusal(), "409 conflict", "a script that runs twice finds its first successor");
    house.advance(Duration::from_secs(3599));
    assert!(works(&house, &old).await && works(&house, &new).await);
    house.advance(Duration::from_secs(2));
    assert!(!works(&house, &old).await && works(&house, &new).await);
    let person = house.login("ada@example.com").await;
    assert_eq!(house.post(&path(&old, "/rotate"), person.shown(), Value::Null).await.refusal(), "404 not_found");
}

#[tokio::test]
async fn a_scoped_key_hands_out_no_more_than_it_has() {
    let house = House::open().await;
    let person = house.register("ada@example.com").await;
    let wide = house.make_key(&person, json!({ "name": "wide" })).await;
    let narrow = house.make_key(&person, json!({ "name": "narrow", "scopes": ["agents:read"] })).await;
    let manager = house.make_key(&person, json!({ "name": "manager", "scopes": ["account:manage", "agents:*"] })).await;
    let (narrow, manager) = (Shown::Credential(text(&narrow, "key")), Shown::Credential(text(&manager, "key")));

    // Managing the account is a permission like any other.
    let refused = [
        house.post("/auth/api-keys", narrow, json!({ "name": "x" })).await,
        house.get("/auth/api-keys", narrow).await,
        house.call("DELETE", &path(&wide, ""), narrow, Value::Null).await,
        house.post(&path(&wide, "/rotate"), narrow, Value::Null).await,
        house.call("PATCH", "/auth/me", narrow, json!({ "name": "Eve" })).await,
        house.post("/auth/change-password", narrow, json!({ "old_password": "x", "new_password": "y" })).await,
        // Scopes beyond its own, and the successor of a key beyond its own.
        house.post("/auth/api-keys", manager, json!({ "name": "x", "scopes": ["*"] })).await,
        house.post("/auth/api-keys", manager, json!({ "name": "x", "scopes": ["agents:read", "billing:read"] })).await,
        house.post(&path(&wide, "/rotate"), manager, Value::Null).await,
        // Nor may it take away what it could not have made.
        house.call("DELETE", &path(&wide, ""), manager, Value::Null).await,
    ];
    for answer in refused {
        assert_eq!(answer.refusal(), "403 forbidden");
    }
    // A service's key makes keys, within its own.
    house.run("UPDATE accounts SET kind = 'service' WHERE email = 'ada@example.com'").await;
    let within = house.post("/auth/api-keys", manager, json!({ "name": "x", "scopes": ["agents:publish"] })).await;
    assert_eq!(within.body["scopes"], json!(["agents:publish"]));
    let unnamed = house.post("/auth/api-keys", manager, json!({ "name": "y" })).await;
    assert_eq!(unnamed.body["scopes"], json!(["account:manage", "agents:*"]));
    assert!(works(&house, &wide).await);
    assert_eq!(house.call("DELETE", &path(&within.body, ""), manager, Value::Null).await.status, 204);
}

#[tokio::test]
async fn an_account_has_no_more_keys_than_it_may() {
    let house = House::open().await;
    let person = house.register("ada@example.com").await;
    for number in 0..100 {
        house.make_key(&person, json!({ "name": format!("key {number}") })).await;
    }
    assert_eq!(
        house.post("/auth/api-keys", person.shown(), json!({ "name": "one more" })).await.refusal(),
        "409 too_many_keys"
    );
    // A key that goes at once makes room for its successor; one that stays a while does not.
    let first = house.get("/auth/api-keys", person.shown()).await.body["items"][0].clone();
    assert_eq!(
        house.post(&path(&first, "/rotate"), person.shown(), json!({ "grace": 1 })).await.refusal(),
        "409 too_many_keys"
    );
    assert_eq!(house.post(&path(&first, "/rotate"), person.shown(), Value::Null).await.status, 201);
}

#[tokio::test]
async fn a_key_is_made_by_who_is_there_and_its_owner_is_told() {
    let house = House::open().await;
    let ada = house.register("ada@example.com").await;
    house.mails().await;
    let first = house.make_key(&ada, json!({ "name": "first" })).await;
    let mail = house.mail().await;
    assert!(mail.to == "ada@example.com" && mail.subject.contains("API key was made"), "{mail:?}");
    // Who finds the session open later makes none that would outlive it.
    house.advance(Duration::from_mins(6));
    let make = async |shown: Shown<'_>, more: Value| house.post("/auth/api-keys", shown, more).await;
    let stale = "401 insufficient_user_authentication";
    assert_eq!(make(ada.shown(), json!({ "name": "second" })).await.refusal(), stale);
    let rotate = format!("/auth/api-keys/{}/rotate", text(&first, "id"));
    assert_eq!(house.post(&rotate, ada.shown(), json!({})).await.refusal(), stale);
    assert_eq!(make(ada.shown(), json!({ "name": "second", "password": "not it" })).await.refusal(), "403 wrong_proof");
    assert_eq!(house.mails().await.len(), 0);
    let shown = json!({ "name": "second", "password": PASSWORD });
    assert_eq!(make(ada.shown(), shown).await.status, 201);
    assert_eq!(house.mails().await.len(), 1);
    assert_eq!(house.post(&rotate, ada.shown(), json!({ "password": PASSWORD })).await.status, 201);
}

#[tokio::test]
async fn a_persons_key_makes_and_rotates_no_keys_and_a_services_does() {
    let house = House::open().await;
    let ada = house.register("ada@example.com").await;
    let key = house.make_key(&ada, json!({ "name": "key" })).await;
    let other = house.make_key(&ada, json!({ "name": "other" })).await;
    let by_key = Shown::Credential(text(&key, "key"));
    // Whoever has found it would have what outlives it; and not even with the password beside it.
    for body in [json!({ "name": "x" }), json!({ "name": "x", "password": PASSWORD })] {
        assert_eq!(house.post("/auth/api-keys", by_key, body).await.refusal(), "403 session_required");
    }
    for rotated in [&key, &other] {
        assert_eq!(house.post(&path(rotated, "/rotate"), by_key, Value::Null).await.refusal(), "403 session_required");
    }
    assert_eq!(listed(&house, &ada).await, ["key", "other"]);
    assert!(works(&house, &key).await && works(&house, &other).await);

    house.run("UPDATE accounts SET kind = 'service' WHERE email = 'ada@example.com'").await;
    assert_eq!(house.post("/auth/api-keys", by_key, json!({ "name": "x" })).await.status, 201);
    assert_eq!(house.post(&path(&other, "/rotate"), by_key, Value::Null).await.status, 201);
    assert!(!works(&house, &other).await);
}
