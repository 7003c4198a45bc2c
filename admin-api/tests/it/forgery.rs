//! The assertion is the only word that counts, and only the door's own.

use std::time::Duration;

use identity::{Algorithm, AssertionClaims, Grant, Principal, SessionId, SigningKey, TokenType};
use uuid::Uuid;

use crate::house::{House, ISSUER, Person, Shown};

/// Whoever the door would say this is, were it an administrator.
fn administrator(person: &Person) -> Principal {
    Principal {
        account: person.id,
        role: "admin".into(),
        tier: "free".into(),
        tenant: None,
        tenant_role: None,
        actor: None,
        is_service: false,
        grant: Grant::Session(SessionId::new(Uuid::now_v7())),
        scopes: None,
        networks: None,
        authentication: None,
        generation: 0,
    }
}

async fn shown(house: &House, assertion: &str) -> String {
    house.get("/admin/users", Shown::Header("X-Gateway-Assertion", assertion)).await.refusal_or_status()
}

#[tokio::test]
async fn only_an_assertion_of_the_door_for_us_and_for_now_is_believed() {
    let house = House::open().await;
    let person = house.register("ada@example.com").await;
    let principal = administrator(&person);
    let keys = house.keys.load_full();
    let (door, ours) = (&keys.assertion.current, |audience, issuer, now, ttl| {
        AssertionClaims::of(&principal, issuer, audience, now, ttl)
    });
    let (now, minute) = (house.now(), chrono::TimeDelta::minutes(1));

    let genuine = door.sign(TokenType::Assertion, &ours("admin-api", ISSUER, now, minute));
    assert_eq!(shown(&house, &genuine).await, "200 OK");

    let stranger = SigningKey::generate(Algorithm::EdDsa, door.kid().to_owned(), &mut rand::rng()).unwrap();
    let forged = [
        ("for another upstream", door.sign(TokenType::Assertion, &ours("demo", ISSUER, now, minute))),
        ("by another issuer", door.sign(TokenType::Assertion, &ours("admin-api", "https://else.test", now, minute))),
        ("expired", door.sign(TokenType::Assertion, &ours("admin-api", ISSUER, now - Duration::from_mins(10), minute))),
        (
            "not yet valid",
            door.sign(TokenType::Assertion, &ours("admin-api", ISSUER, now + Duration::from_mins(10), minute)),
        ),
        ("of another type", door.sign(TokenType::Access, &ours("admin-api", ISSUER, now, minute))),
        (
            "signed with the key of access tokens",
            keys.access.current.sign(TokenType::Assertion, &ours("admin-api", ISSUER, now, minute)),
        ),
        (
            "signed by a stranger under the door's kid",
            stranger.sign(TokenType::Assertion, &ours("admin-api", ISSUER, now, minute)),
        ),
        ("an access token", person.access.clone()),
        ("a refresh token", person.refresh.clone()),
        ("cut short", genuine[..genuine.len() - 1].to_owned()),
        ("without a signature", genuine[..=genuine.rfind('.').unwrap()].to_owned()),
        ("empty", String::new()),
    ];
    for (what, assertion) in &forged {
        assert_eq!(shown(&house, assertion).await, "401 invalid_assertion", "{what}");
    }
}

#[tokio::test]
async fn two_assertions_are_none() {
    let house = House::open().await;
    let person = house.register("ada@example.com").await;
    let assertion = house.assert(&administrator(&person), "admin-api");
    let request = axum::http::Request::get("/admin/users")
        .header("X-Gateway-Assertion", &assertion)
        .header("X-Gateway-Assertion", &assertion);
    assert_eq!(house.send(request.body(axum::body::Body::empty()).unwrap()).await.refusal(), "401 missing_credential");
}

#[tokio::test]
async fn headers_beside_the_assertion_change_nothing() {
    let house = House::open().await;
    let (person, other) = (house.register("ada@example.com").await, house.register("bob@example.com").await);
    let mut principal = administrator(&person);
    principal.role = "user".into();
    let request = |path: &str| {
        let headers = [
            ("X-User-Id", other.id.to_string()),
            ("X-User-Role", "admin".to_owned()),
            ("X-User-Permissions", "*".to_owned()),
        ];
        let request =
            axum::http::Request::get(path).header("X-Gateway-Assertion", house.assert(&principal, "admin-api"));
        headers
            .iter()
            .fold(request, |request, (name, value)| request.header(*name, value))
            .body(axum::body::Body::empty())
            .unwrap()
    };
    assert_eq!(house.send(request("/auth/me")).await.text("id"), person.id.to_string());
    assert_eq!(house.send(request("/admin/users")).await.refusal(), "403 forbidden");
}
