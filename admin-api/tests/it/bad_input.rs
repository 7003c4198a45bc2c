//! What bad input gets, endpoint by endpoint: the field by name and a sentence, never a 500.

use axum::{body::Body, http::Request};
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::house::{House, PASSWORD, Shown};

#[tokio::test]
async fn a_registration_is_told_everything_that_is_wrong_with_it_at_once() {
    let house = House::open().await;
    let register = async |body: Value| house.post("/auth/register", Shown::Nothing, body).await.refusal();
    assert_snapshot!(register(json!({ "email": "a@evil@example.com", "password": "short", "name": "", "full_name": "x", "tenant_name": "a\nb" })).await, @"
    422 invalid_fields
      email: an address has one @ between a name and a domain
      password: the password needs at least 8 characters
      full_name: is another word for `name`; give one of them
      tenant_name: must not contain control characters
    ");
    assert_snapshot!(register(json!({ "email": "a@example.com", "password": "x".repeat(1025), "name": "x".repeat(101) })).await, @"
    422 invalid_fields
      password: the password is longer than 1024 bytes
      name: must have 100 characters at most
    ");
    assert_snapshot!(register(json!({ "email": "", "password": "" })).await, @"
    422 invalid_fields
      email: an address has one @ between a name and a domain
      password: a password is needed
    ");
    assert_snapshot!(register(json!({ "email": "a@example.com", "password": PASSWORD, "name": "\u{200b}", "tenant_name": "a\u{2028}b" })).await, @"
    422 invalid_fields
      name: must have a character that can be seen
      tenant_name: must not contain control characters
    ");
    assert_snapshot!(register(json!({ "password": PASSWORD })).await, @"
    422 invalid_fields
      email: is required
    ");
    assert_snapshot!(register(json!({ "email": 7, "password": PASSWORD })).await, @"
    422 invalid_fields
      email: must be a string
    ");
    assert_snapshot!(register(json!({ "email": "a@example.com", "password": PASSWORD, "role": "admin" })).await, @"
    422 invalid_fields
      role: is not a field here; expected one of email, password, name, full_name, tenant_name, session
    ");
    assert_eq!(
        house.metric("portcullis_password_hashes_total"),
        0,
        "nothing is hashed for a registration that is refused"
    );
}

#[tokio::test]
async fn every_body_is_checked_the_same_way() {
    let house = House::open().await;
    let person = house.administrator("ada@example.com").await;
    let key = house.make_key(&person, json!({ "name": "ci" })).await;
    let rotate = format!("/auth/api-keys/{}/rotate", key["id"].as_str().unwrap());
    let other = house.register("bob@example.com").await;
    let user = format!("/admin/users/{}", other.id);
    let bodies: [(&str, &str, Value); 9] = [
        ("POST", "/auth/login", json!({ "email": "x", "password": "" })),
        ("POST", "/auth/refresh", json!({ "refresh_token": null })),
        ("POST", "/auth/validate", json!({ "token": ["a"] })),
        ("PATCH", "/auth/me", json!({ "name": "\u{0}", "full_name": "\u{0}", "avatar_url": "javascript:alert(1)" })),
        ("POST", "/auth/change-password", json!({ "old_password": PASSWORD })),
        ("POST", "/auth/api-keys", json!({ "name": "", "scopes": ["Agents Read"], "expires_in_days": 0 })),
        ("POST", "/auth/api-keys", json!({ "name": "x", "scopes": [], "expires_in_days": 3651 })),
        ("POST", &rotate, json!({ "grace": 604_801 })),
        ("PATCH", &user, json!({ "status": true })),
    ];
    let mut answers = Vec::new();
    for (method, path, body) in bodies {
        let answer = house.call(method, path, person.shown(), body).await;
        let path = path.replace(&rotate, "/rotate").replace(&user, "/user");
        answers.push(format!("{method} {path}: {}", answer.refusal()));
    }
    assert_snapshot!(answers.join("\n"), @r#"
    POST /auth/login: 422 invalid_fields
      email: an address has one @ between a name and a domain
      password: a password is needed
    POST /auth/refresh: 422 invalid_fields
      refresh_token: must be a string
    POST /auth/validate: 422 invalid_fields
      token: must be a string
    PATCH /auth/me: 422 invalid_fields
      name: must not contain control characters
      avatar_url: must be an http or https address of 2048 bytes at most
    POST /auth/change-password: 422 invalid_fields
      new_password: is required
    POST /auth/api-keys: 422 invalid_fields
      name: must not be empty
      scopes: "Agents Read" is not a permission: words of a-z, 0-9, `_` and `-`, joined by `:`, such as "agents:publish"
      expires_in_days: must be between 1 and 3650
    POST /auth/api-keys: 422 invalid_fields
      scopes: must hold 1 to 64 scopes; leave it out for a key without limits of its own
      expires_in_days: must be between 1 and 3650
    POST /rotate: 422 invalid_fields
      grace: must be between 0 and 604800
    PATCH /user: 422 invalid_fields
      status: must be a string
    "#);
}

#[tokio::test]
async fn a_problem_carries_the_id_of_the_request() {
    let house = House::open().await;
    let request =
        Request::post("/auth/login").header("content-type", "application/json").header("x-request-id", "req-7");
    let answer =
        house.send(request.body(Body::from(r#"{"email":"a@example.com","email":"b@example.com"}"#)).unwrap()).await;
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    insta::assert_json_snapshot!(answer.body, @r#"
    {
      "code": "malformed_json",
      "detail": "The body names a member twice.",
      "errors": [
        {
          "field": "email",
          "message": "is given twice"
        }
      ],
      "request_id": "req-7",
      "status": 400,
      "title": "Malformed JSON",
      "type": "urn:portcullis:problem:malformed_json"
    }
    "#);
}

#[tokio::test]
async fn no_header_or_path_brings_the_office_down() {
    let house = House::open().await;
    for path in [
        "/",
        "/auth",
        "/auth/",
        "/auth/login/",
        "/admin",
        "/auth/api-keys/a/b/c",
        "/%2e%2e",
        "/auth/api-keys/%ff",
        "/docs/../etc/passwd",
        "/docs/%2e%2e/x",
    ] {
        let answer = house.get(path, Shown::Header("X-Gateway-Assertion", "\t~")).await;
        assert!(answer.status.is_client_error(), "{path} is answered {}", answer.status);
    }
    for method in ["PUT", "TRACE", "OPTIONS", "BREW"] {
        assert_eq!(
            house.call(method, "/auth/login", Shown::Nothing, Value::Null).await.refusal(),
            "405 method_not_allowed"
        );
    }
}
