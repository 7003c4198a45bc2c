//! Keys at providers: given once, shown to nobody, kept for their owner alone.

use serde_json::{Value, json};

use crate::{
    house::{House, Shown},
    idor::joined,
};

const KEY: &str = "sk-ant-SECRET-0123456789";

async fn make(house: &House, shown: Shown<'_>, service: &str) -> Value {
    let answer =
        house.post("/integrations", shown, json!({ "service": service, "api_key": KEY, "name": "Mine" })).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    answer.body
}

#[tokio::test]
async fn a_key_is_given_and_never_shown_again() {
    let house = House::open().await;
    let ada = house.register("ada@example.com").await;
    let made = make(&house, ada.shown(), "claude").await;
    let path = format!("/integrations/{}", made["id"].as_str().unwrap());
    let listed = house.get("/integrations", ada.shown()).await.body;
    assert_eq!((&listed["items"][0], &listed["next_cursor"]), (&made, &Value::Null));
    assert_eq!(house.get(&path, ada.shown()).await.body, made);
    let shown =
        json!({ "service": "claude", "owner": "account", "name": "Mine", "last_four": "6789", "status": "active" });
    for (name, value) in shown.as_object().unwrap() {
        assert_eq!(&made[name], value);
    }
    let changed =
        house.call("PATCH", &path, ada.shown(), json!({ "api_key": "sk-another-key", "status": "disabled" })).await;
    assert_eq!((&changed.body["last_four"], &changed.body["status"]), (&json!(""), &json!("disabled")));
    let exported = house.get("/auth/me/export", ada.shown()).await.body;
    assert_eq!(exported["integrations"], json!([changed.body]));
    for said in [made, listed, changed.body, exported] {
        let said = said.to_string();
        assert!(!said.contains("SECRET") && !said.contains("sk-another") && !said.contains("sealed"), "{said}");
    }
    assert_eq!(house.call("DELETE", &path, ada.shown(), Value::Null).await.status, 204);
    assert_eq!(house.get(&path, ada.shown()).await.refusal(), "404 not_found");
}

#[tokio::test]
async fn what_cannot_be_a_key_or_a_service_is_refused_and_not_repeated() {
    let house = House::open().await;
    let ada = house.register("ada@example.com").await;
    for (body, field) in [
        (json!({ "service": "claude", "api_key": "sk-SECRET\r\nX-User-Role: admin" }), "api_key"),
        (json!({ "service": "claude", "api_key": "short" }), "api_key"),
        (json!({ "service": "claude", "api_key": "x".repeat(4097) }), "api_key"),
        (json!({ "service": "claude", "api_key": " leading-space" }), "api_key"),
        (json!({ "service": "Claude!", "api_key": KEY }), "service"),
        (json!({ "service": "x".repeat(65), "api_key": KEY }), "service"),
        (json!({ "service": "claude", "api_key": KEY, "owner": "world" }), "owner"),
        (json!({ "service": "claude", "api_key": KEY, "tenant_id": "x" }), "tenant_id"),
        (json!({ "service": "claude" }), "api_key"),
    ] {
        let answer = house.post("/integrations", ada.shown(), body.clone()).await;
        assert!(answer.refusal().starts_with("422 invalid_fields"), "{}", answer.body);
        assert_eq!(answer.body["errors"][0]["field"], json!(field));
        assert!(!answer.body.to_string().contains("SECRET"), "{}", answer.body);
    }
    let made = make(&house, ada.shown(), "claude").await;
    let path = format!("/integrations/{}", made["id"].as_str().unwrap());
    for body in
        [json!({}), json!({ "service": "openai" }), json!({ "status": "unreadable" }), json!({ "api_key": "a\nb" })]
    {
        let answer = house.call("PATCH", &path, ada.shown(), body).await;
        assert!(answer.refusal().starts_with("422 invalid_fields"), "{}", answer.body);
    }
}

#[tokio::test]
async fn somebody_elses_integration_is_none() {
    let house = House::open().await;
    let (ada, eve) = (house.register("ada@example.com").await, house.register("eve@example.com").await);
    let made = make(&house, ada.shown(), "claude").await;
    let path = format!("/integrations/{}", made["id"].as_str().unwrap());
    for method in ["GET", "PATCH", "DELETE"] {
        for path in [path.as_str(), "/integrations/none", "/integrations/0190a5a0-0000-7000-8000-000000000000"] {
            let answer = house.call(method, path, eve.shown(), json!({ "name": "Hers" })).await;
            assert_eq!(answer.refusal(), "404 not_found", "{method} {path}");
        }
    }
    assert_eq!(house.get("/integrations", eve.shown()).await.body["items"], json!([]));
    assert_eq!(house.get(&path, ada.shown()).await.body, made);
}

#[tokio::test]
async fn there_is_one_for_each_service_and_not_any_number() {
    let house = House::open().await;
    let ada = house.register("ada@example.com").await;
    make(&house, ada.shown(), "claude").await;
    let again = house.post("/integrations", ada.shown(), json!({ "service": "claude", "api_key": KEY })).await;
    assert_eq!(again.refusal(), "409 conflict");
    for n in 1..50 {
        make(&house, ada.shown(), &format!("service-{n}")).await;
    }
    let one_more = house.post("/integrations", ada.shown(), json!({ "service": "openai", "api_key": KEY })).await;
    assert_eq!(one_more.refusal(), "409 too_many_integrations");
    let page = house.get("/integrations?limit=30", ada.shown()).await.body;
    let next = format!("/integrations?limit=30&cursor={}", page["next_cursor"].as_str().unwrap());
    let rest = house.get(&next, ada.shown()).await.body;
    assert_eq!((page["items"].as_array().unwrap().len(), rest["items"].as_array().unwrap().len()), (30, 20));
}

#[tokio::test]
async fn a_scoped_key_manages_them_if_it_says_so() {
    let house = House::open().await;
    let ada = house.register("ada@example.com").await;
    for (scopes, status) in [(json!(["agents:read"]), 403), (json!(["integrations:manage"]), 200)] {
        let key = house.make_key(&ada, json!({ "name": "k", "scopes": scopes })).await;
        let answer = house.get("/integrations", Shown::Credential(key["key"].as_str().unwrap())).await;
        assert_eq!(answer.status, status, "{}", answer.body);
    }
}

#[tokio::test]
async fn a_tenants_integration_is_its_administrators_to_give() {
    let house = House::open().await;
    let (ada, eve) = (house.register("ada@example.com").await, house.register("eve@example.com").await);
    let tenant = house.tenant_of(&ada).await;
    let bob = joined(&house, &ada, &tenant, "bob@example.com").await;
    let cleo = joined(&house, &ada, &tenant, "cleo@example.com").await;
    let promoted = format!("/tenants/{tenant}/members/{}", cleo.id);
    assert_eq!(house.call("PATCH", &promoted, ada.shown(), json!({ "role": "admin" })).await.status, 204);
    let scoped = house.make_key(&cleo, json!({ "name": "ci", "scopes": ["integrations:manage"] })).await;
    let (plain, administrator) = (bob.shown(), cleo.shown());
    let scoped = Shown::Credential(scoped["key"].as_str().unwrap());
    let body = || json!({ "service": "claude", "api_key": KEY, "owner": "tenant" });

    for not_for_the_tenant in [plain, scoped] {
        assert_eq!(house.post("/integrations", not_for_the_tenant, body()).await.refusal(), "403 forbidden");
    }
    let made = house.post("/integrations", administrator, body()).await;
    assert_eq!((made.status.as_u16(), &made.body["owner"]), (201, &json!("tenant")));
    let path = format!("/integrations/{}", made.body["id"].as_str().unwrap());
    // Its owner sees and changes it; members and other tenants do not know of it, nor does a scoped key.
    assert_eq!(house.get("/integrations", ada.shown()).await.body["items"], json!([made.body]));
    for stranger in [plain, scoped, eve.shown()] {
        assert_eq!(house.get("/integrations", stranger).await.body["items"], json!([]));
        for method in ["GET", "PATCH", "DELETE"] {
            let answer = house.call(method, &path, stranger, json!({ "name": "Mine" })).await;
            assert_eq!(answer.refusal(), "404 not_found", "{method}");
        }
    }
    assert_eq!(house.post("/integrations", ada.shown(), body()).await.refusal(), "409 conflict");
    assert_eq!(house.call("DELETE", &path, ada.shown(), Value::Null).await.status, 204);
}

#[tokio::test]
async fn the_trail_says_what_was_done_and_not_with_which_key() {
    let house = House::open().await;
    let (ada, root) = (house.register("ada@example.com").await, house.administrator("root@example.com").await);
    let made = make(&house, ada.shown(), "claude").await;
    let path = format!("/integrations/{}", made["id"].as_str().unwrap());
    house.call("PATCH", &path, ada.shown(), json!({ "api_key": "sk-SECRET-2", "name": "New" })).await;
    house.call("DELETE", &path, ada.shown(), Value::Null).await;
    let events = house.get(&format!("/admin/audit?subject={}", made["id"].as_str().unwrap()), root.shown()).await.body;
    let mut said: Vec<_> =
        events["items"].as_array().unwrap().iter().map(|event| event["event"].as_str().unwrap()).collect();
    said.sort_unstable();
    assert_eq!(said, ["change_integration", "create_integration", "delete_integration"]);
    assert!(!events.to_string().contains("SECRET"), "{events}");
}
