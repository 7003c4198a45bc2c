//! API keys: made, shown once, listed, replaced, deleted, and never worth more than whoever made them.

use std::time::Duration;

use insta::assert_json_snapshot;
use serde_json::{Value, json};

use crate::{
    browsers::send,
    house::{House, PASSWORD, Person, Shown, veiled},
};

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
    let own = [
        ("/id", "[uuid]"),
        ("/key", "[key]"),
        ("/prefix", "[prefix]"),
        ("/created_at", "[time]"),
        ("/expires_at", "[time]"),
    ];
    assert_json_snapshot!(veiled(&key, &own), @r#"
    {
      "allowed_networks": null,
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
    house.advance(Duration::from_secs(3570));
    assert!(works(&house, &old).await && works(&house, &new).await);
    house.advance(Duration::from_secs(31));
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

#[tokio::test]
async fn what_a_services_key_makes_ends_no_later_than_itself() {
    let house = House::open().await;
    let ada = house.register("ada@example.com").await;
    let short = house.make_key(&ada, json!({ "name": "short", "expires_in_days": 10 })).await;
    let long = house.make_key(&ada, json!({ "name": "long", "expires_in_days": 20 })).await;
    let free = house.make_key(&ada, json!({ "name": "free" })).await;
    house.run("UPDATE accounts SET kind = 'service' WHERE email = 'ada@example.com'").await;
    let make =
        async |by: &Value, body: Value| house.post("/auth/api-keys", Shown::Credential(text(by, "key")), body).await;
    let rotate = async |by: &Value, of: &Value| {
        house.post(&path(of, "/rotate"), Shown::Credential(text(by, "key")), Value::Null).await
    };
    assert_eq!(make(&short, json!({ "name": "x" })).await.body["expires_at"], short["expires_at"]);
    assert_eq!(make(&short, json!({ "name": "x", "expires_in_days": 9 })).await.status, 201);
    assert_eq!(make(&short, json!({ "name": "x", "expires_in_days": 11 })).await.refusal(), "403 forbidden");
    for (by, of) in [(&short, &long), (&short, &free), (&long, &free)] {
        assert_eq!(rotate(by, of).await.refusal(), "403 forbidden", "{of}");
    }
    // By itself it gets no more time either, however often.
    house.advance(Duration::from_hours(24));
    let second = rotate(&short, &short).await.body;
    let third = rotate(&second, &second).await.body;
    assert_eq!((&second["expires_at"], &third["expires_at"]), (&short["expires_at"], &short["expires_at"]));
    assert_eq!(rotate(&long, &third).await.status, 201, "the next one ends before its own time is over");
    for endless in [make(&free, json!({ "name": "x" })).await, rotate(&free, &free).await] {
        assert_eq!((endless.status.as_u16(), &endless.body["expires_at"]), (201, &Value::Null));
    }
}

/// Whoever has a key that has leaked is out when its grace is over.
#[tokio::test]
async fn a_key_in_its_grace_leaves_nothing_behind_and_replaces_no_successor() {
    let house = House::open().await;
    let ada = house.register("ada@example.com").await;
    let old = house.make_key(&ada, json!({ "name": "ci" })).await;
    let next = house.post(&path(&old, "/rotate"), ada.shown(), json!({ "grace": 3600 })).await.body;
    house.run("UPDATE accounts SET kind = 'service' WHERE email = 'ada@example.com'").await;
    let by_old = Shown::Credential(text(&old, "key"));
    assert_eq!(house.post(&path(&next, "/rotate"), by_old, Value::Null).await.refusal(), "403 forbidden");
    assert_eq!(house.post(&path(&old, "/rotate"), by_old, Value::Null).await.refusal(), "409 conflict");
    let made = house.post("/auth/api-keys", by_old, json!({ "name": "x" })).await.body;
    let of_made = house.post(&path(&made, "/rotate"), Shown::Credential(text(&made, "key")), Value::Null).await.body;
    house.advance(Duration::from_mins(50));
    assert!(works(&house, &old).await && works(&house, &of_made).await && works(&house, &next).await);
    house.advance(Duration::from_mins(11));
    assert!(!works(&house, &old).await && !works(&house, &of_made).await && works(&house, &next).await);
}

#[tokio::test]
async fn a_key_is_bound_to_networks_and_so_is_its_successor() {
    let house = House::open().await;
    let ada = house.register("ada@example.com").await;
    let given = json!(["192.0.2.7/24", "::ffff:10.0.0.1", "2001:DB8::1", "192.0.2.0/24"]);
    let key = house.make_key(&ada, json!({ "name": "ci", "allowed_networks": given })).await;
    let kept = json!(["192.0.2.0/24", "10.0.0.1/32", "2001:db8::1/128"]);
    assert_eq!(key["allowed_networks"], kept);
    let seen = async || house.get("/auth/api-keys", ada.shown()).await.body["items"][0].clone();
    assert_eq!(seen().await["allowed_networks"], kept);
    let next = house.post(&path(&key, "/rotate"), ada.shown(), Value::Null).await;
    assert_eq!((next.status.as_u16(), &next.body["allowed_networks"]), (201, &kept));
    assert_eq!((&seen().await["id"], &seen().await["allowed_networks"]), (&next.body["id"], &kept));
    for nowhere in [json!({ "name": "free" }), json!({ "name": "free", "allowed_networks": null })] {
        assert_eq!(house.make_key(&ada, nowhere).await["allowed_networks"], Value::Null);
    }
    let refused = async |networks: Value| {
        let body = json!({ "name": "x", "allowed_networks": networks });
        house.post("/auth/api-keys", ada.shown(), body).await.refusal()
    };
    let count = "must hold 1 to 16 networks; leave it out for a key that may be shown from anywhere";
    let second =
        "must hold networks such as 192.0.2.0/24 or 2001:db8::/32, or single addresses; the one at 1 is neither";
    for (networks, why) in
        [(json!([]), count), (json!(vec!["::1"; 17]), count), (json!(["::1", "10.0.0.0/33"]), second)]
    {
        assert_eq!(refused(networks).await, format!("422 invalid_fields\n  allowed_networks: {why}"));
    }
    for wrong in [json!(["office"]), json!([""]), json!([7]), json!("10.0.0.0/8"), json!({})] {
        let said = refused(wrong.clone()).await;
        assert!(said.starts_with("422 ") && said.contains("\n  allowed_networks"), "{wrong}: {said}");
    }
    assert_eq!(listed(&house, &ada).await, ["ci", "free", "free"]);
}

#[tokio::test]
async fn a_bound_key_reaches_nothing_from_where_it_may_not_be_shown() {
    let house = House::open().await;
    let ada = house.register("ada@example.com").await;
    let bound = json!({ "name": "bound", "allowed_networks": ["10.0.0.0/8"] });
    let (bound, free) = (house.make_key(&ada, bound).await, house.make_key(&ada, json!({ "name": "free" })).await);
    // To ask about it, one has to be there: to all others it is nobody's.
    let worth = async |at: &str| {
        let body = json!({ "token": text(&bound, "key") });
        let body = house.post("/auth/validate", Shown::Header("x-gateway-client", at), body).await.body;
        (body["valid"].as_bool().unwrap(), body["error"].as_str().unwrap_or("").to_owned())
    };
    assert_eq!(worth("10.1.2.3").await, (true, String::new()));
    for elsewhere in ["192.0.2.7", "", "::a01:203"] {
        assert_eq!(worth(elsewhere).await, (false, "invalid_token".to_owned()), "{elsewhere}");
    }

    house.run("UPDATE accounts SET kind = 'service' WHERE email = 'ada@example.com'").await;
    let by_bound = Shown::Credential(text(&bound, "key"));
    let make = async |networks: Value| {
        house.post("/auth/api-keys", by_bound, json!({ "name": "x", "allowed_networks": networks })).await
    };
    for wider in [json!(["0.0.0.0/0"]), json!(["10.1.0.0/16", "192.0.2.7"]), json!(["::/0"])] {
        assert_eq!(make(wider.clone()).await.refusal(), "403 forbidden", "{wider}");
    }
    assert_eq!(make(Value::Null).await.body["allowed_networks"], json!(["10.0.0.0/8"]), "no further than itself");
    let narrow = make(json!(["10.1.0.0/16"])).await.body;
    assert_eq!(narrow["allowed_networks"], json!(["10.1.0.0/16"]));
    // Whoever rotates a key holds its successor.
    assert_eq!(house.post(&path(&free, "/rotate"), by_bound, Value::Null).await.refusal(), "403 forbidden");
    assert_eq!(house.post(&path(&narrow, "/rotate"), by_bound, Value::Null).await.status, 201);
    // What it bought could be shown anywhere.
    let buy = async |key: &Value| {
        let form = format!("grant_type=client_credentials&client_id={}&client_secret={}", ada.id, text(key, "key"));
        send(&house, "POST", "/auth/token", &[("x-gateway-client", "10.1.2.3")], &form).await.status.as_u16()
    };
    assert_eq!((buy(&bound).await, buy(&free).await), (401, 200));
}
