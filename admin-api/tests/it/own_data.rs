//! One's own data: all of it can be had, and all of it can be deleted but what happened.

use std::collections::BTreeSet;

use identity::AccountId;
use serde_json::{Value, json};

use crate::house::{House, PASSWORD, Shown};

/// A request in this organisation.
fn one_request(house: &House, tenant: &Value, account: AccountId, route: String) -> store::Used {
    store::Used {
        tenant: Some(tenant.as_str().unwrap().parse().unwrap()),
        account,
        key: None,
        at: house.now(),
        route,
        service: String::new(),
        model: String::new(),
        request_type: String::new(),
        requests: 1,
        tokens: 0,
        cost: 0,
    }
}

#[tokio::test]
async fn a_person_gets_everything_that_is_kept_of_them_and_no_secret() {
    let house = House::open().await;
    let ada = house.register("ada@example.com").await;
    house.register("bob@example.com").await;
    house.post("/auth/login", Shown::Nothing, json!({ "email": "ada@example.com", "password": "wrong horse" })).await;
    let key = house.post("/auth/api-keys", ada.shown(), json!({ "name": "ci" })).await.body;
    let export = house.get("/auth/me/export", ada.shown()).await.body;
    assert_eq!(export["account"]["email"], "ada@example.com");
    assert_eq!((&export["sessions"][0]["current"], &export["api_keys"][0]["name"]), (&json!(true), &json!("ci")));
    let events: Vec<_> = export["events"].as_array().unwrap().iter().map(|event| &event["event"]).collect();
    assert_eq!(events, ["create_key", "login", "register"]);
    let text = export.to_string();
    for hidden in ["bob@", "argon2", key["key"].as_str().unwrap(), &ada.refresh] {
        assert!(!text.contains(hidden), "{text}");
    }
}

#[tokio::test]
async fn what_is_a_persons_in_each_of_their_organisations_is_theirs_to_have() {
    let house = House::open().await;
    let (ada, bob) = (house.register("ada@example.com").await, house.register("bob@example.com").await);
    let developer = store::AccountChange { role: Some("developer".to_owned()), ..Default::default() };
    house.change(&ada, developer.clone()).await;
    house.change(&bob, developer).await;
    house.confirm(ada.id).await;
    let theirs = house.tenant_of(&bob).await;
    house.made(&format!("/tenants/{theirs}/members"), bob.shown(), json!({ "email": "ada@example.com" })).await;
    let agent = house.made("/agents", ada.shown(), json!({ "name": "Hers" })).await;
    house.made("/agents", bob.shown(), json!({ "name": "His" })).await;
    let config = json!({ "agent_id": agent["id"], "name": "Mine", "config": { "endpoint": "confidential" } });
    house.made("/agent-instances", ada.shown(), config).await;
    let team = house.made("/teams", ada.shown(), json!({ "name": "Engines" })).await;
    let joins = json!({ "account_id": ada.id.to_string(), "role": "member" });
    house.made(&format!("/teams/{}/members", team["id"].as_str().unwrap()), ada.shown(), joins).await;
    let second = house.made("/tenants", ada.shown(), json!({ "name": "Second" })).await;
    let used = one_request(&house, &second["id"], ada.id, "elsewhere".to_owned());
    assert!(house.store.count_batch(uuid::Uuid::now_v7(), &[used], house.now()).await.unwrap());
    let export = house.get("/auth/me/export", ada.shown()).await.body;
    let [first, other] = export["organisations"].as_array().unwrap().as_slice() else { panic!("{export}") };
    assert_eq!((&first["role"], &other["id"]), (&json!("owner"), &second["id"]));
    assert_eq!((&first["agents"][0]["name"], first["agents"].as_array().unwrap().len()), (&json!("Hers"), 1));
    assert_eq!(first["instances"][0]["config"], json!({ "endpoint": "confidential" }));
    assert_eq!((&first["teams"][0]["name"], &other["teams"]), (&json!("Engines"), &json!([])));
    assert_eq!((&export["usage"][0]["tenant_id"], &export["usage"][0]["route"]), (&second["id"], &json!("elsewhere")));
    assert_eq!(export["invitations"][0]["tenant_id"], json!(theirs));
    // A key that may read no instance reads none so, nor what is another organisation's.
    let key = house.make_key(&ada, json!({ "name": "ci", "scopes": ["account:manage"] })).await;
    let export = house.get("/auth/me/export", Shown::Credential(key["key"].as_str().unwrap())).await.body;
    let [only] = export["organisations"].as_array().unwrap().as_slice() else { panic!("{export}") };
    assert_eq!((&only["id"], &only["instances"][0]["name"]), (&first["id"], &json!("Mine")));
    assert!(!export.to_string().contains("confidential") && export["usage"] == json!([]), "{export}");
}

#[tokio::test]
async fn what_somebody_has_used_in_an_organisation_is_theirs_to_have_after_they_have_left_it() {
    let house = House::open().await;
    let (ada, bob) = (house.register("ada@example.com").await, house.register("bob@example.com").await);
    house.confirm(ada.id).await;
    let mut tenants = Vec::new();
    for name in ["Left", "Ended"] {
        let made = house.post("/tenants", bob.shown(), json!({ "name": name })).await.body;
        let members = format!("/tenants/{}/members", made["id"].as_str().unwrap());
        let asked = house.post(&members, bob.shown(), json!({ "email": "ada@example.com" })).await;
        let accept = format!("/auth/invitations/{}/accept", asked.text("id"));
        assert_eq!(house.post(&accept, ada.shown(), Value::Null).await.status, 200);
        for (whose, account) in [("hers", ada.id), ("his", bob.id)] {
            let used = one_request(&house, &made["id"], account, format!("{whose}-{name}"));
            assert!(house.store.count_batch(uuid::Uuid::now_v7(), &[used], house.now()).await.unwrap());
        }
        tenants.push(made["id"].clone());
    }
    let of = |export: &Value| -> BTreeSet<(String, String)> {
        let lines = export["usage"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        lines.map(|line| (text(&line["tenant_id"]), text(&line["route"]))).collect()
    };
    let before = of(&house.get("/auth/me/export", ada.shown()).await.body);
    let [left, ended] = [0, 1].map(|number| tenants[number].as_str().unwrap().to_owned());
    assert_eq!(before, [(left.clone(), "hers-Left".to_owned()), (ended.clone(), "hers-Ended".to_owned())].into());
    let away = format!("/tenants/{left}/members/{}", ada.id);
    assert_eq!(house.call("DELETE", &away, bob.shown(), Value::Null).await.status, 204);
    assert_eq!(house.call("DELETE", &format!("/tenants/{ended}"), bob.shown(), Value::Null).await.status, 204);
    let export = house.get("/auth/me/export", ada.shown()).await;
    assert_eq!(export.headers["content-type"], "application/json");
    assert_eq!(of(&export.body), before);
    assert_eq!(export.body["organisations"].as_array().unwrap().len(), 1, "of the organisations themselves nothing");
    assert!(!export.body.to_string().contains("his-"), "{}", export.body);
    // A key has its own organisation's, as before.
    let key = house.make_key(&ada, json!({ "name": "ci" })).await;
    let by_key = house.get("/auth/me/export", Shown::Credential(key["key"].as_str().unwrap())).await.body;
    assert_eq!(by_key["usage"], json!([]));
    // Whoever comes back has it once.
    let asked =
        house.post(&format!("/tenants/{left}/members"), bob.shown(), json!({ "email": "ada@example.com" })).await;
    let accept = format!("/auth/invitations/{}/accept", asked.text("id"));
    assert_eq!(house.post(&accept, ada.shown(), Value::Null).await.status, 200);
    let export = house.get("/auth/me/export", ada.shown()).await.body;
    assert_eq!((export["usage"].as_array().unwrap().len(), of(&export)), (2, before));
}

/// What was sent so far is no document that a program could take for the whole.
#[tokio::test]
async fn an_export_that_cannot_go_on_breaks_off() {
    let house = House::open().await;
    let ada = house.register("ada@example.com").await;
    house.run("INSERT INTO usage_days SELECT tenant_id, '2026-01-01', account_id, x'00', '', '', '', '', 1, 1, 1 FROM tenant_members").await;
    let assertion = house.assertion_of(&ada).await;
    let request = axum::http::Request::builder().uri("/auth/me/export").header("X-Gateway-Assertion", assertion);
    let answer =
        tower::ServiceExt::oneshot(house.router.clone(), request.body(axum::body::Body::empty()).unwrap()).await;
    let answer = answer.unwrap();
    assert_eq!(answer.status(), 200);
    let whole = axum::body::to_bytes(answer.into_body(), usize::MAX).await;
    assert!(whole.is_err(), "{whole:?}");
}

/// Whoever asks slowly holds a page of them in memory and not all.
#[tokio::test]
async fn however_many_instances_somebody_has_an_export_carries_them_some_at_a_time() {
    const MANY: usize = 120;
    let house = House::open().await;
    let ada = house.register("ada@example.com").await;
    house.change(&ada, store::AccountChange { role: Some("developer".to_owned()), ..Default::default() }).await;
    let tenant = house.tenant_of(&ada).await;
    let agent = house.post("/agents", ada.shown(), json!({ "name": "Hers" })).await;
    let agent: uuid::Uuid = agent.text("id").parse().unwrap();
    let make = async |number: usize| {
        let body = json!({ "agent_id": agent, "name": format!("i-{number}"), "config": { "number": number } });
        let made = house.post("/agent-instances", ada.shown(), body).await;
        assert_eq!(made.status, 201, "{}", made.body);
    };
    for number in 0..MANY {
        make(number).await;
    }
    let second = house.post("/tenants", ada.shown(), json!({ "name": "Second" })).await;
    let assertion = house.assertion_of(&ada).await;
    let request = axum::http::Request::builder().uri("/auth/me/export").header("X-Gateway-Assertion", assertion);
    let answer =
        tower::ServiceExt::oneshot(house.router.clone(), request.body(axum::body::Body::empty()).unwrap()).await;
    let (mut pieces, mut whole, mut most) = (answer.unwrap().into_body().into_data_stream(), Vec::new(), 0);
    while let Some(piece) = futures_util::StreamExt::next(&mut pieces).await {
        let piece = piece.unwrap();
        most = most.max(String::from_utf8_lossy(&piece).matches("\"config\"").count());
        whole.extend_from_slice(&piece);
    }
    assert_eq!(most, 50);
    let export: Value = serde_json::from_slice(&whole).unwrap();
    let [first, other] = export["organisations"].as_array().unwrap().as_slice() else { panic!("{export}") };
    assert_eq!((&first["id"], &other["id"]), (&json!(tenant), &second.body["id"]));
    let numbers = first["instances"].as_array().unwrap().iter().map(|instance| instance["config"]["number"].as_u64());
    assert_eq!(numbers.collect::<Vec<_>>(), (0..MANY as u64).map(Some).collect::<Vec<_>>());
    assert_eq!((first["agents"].as_array().unwrap().len(), &other["instances"]), (1, &json!([])));
}

#[tokio::test]
async fn of_what_a_person_has_used_no_line_is_left_out_however_many_there_are() {
    const LINES: usize = 10_050;
    let house = House::open().await;
    let ada = house.register("ada@example.com").await;
    let me = house.get("/auth/me", ada.shown()).await.body;
    let used = |number| one_request(&house, &me["tenant_id"], ada.id, format!("route-{number}"));
    let all: Vec<_> = (0..LINES).map(used).collect();
    for some in all.chunks(1_000) {
        assert!(house.store.count_batch(uuid::Uuid::now_v7(), some, house.now()).await.unwrap());
    }
    let export = house.get("/auth/me/export", ada.shown()).await.body;
    let routes: BTreeSet<_> = export["usage"].as_array().unwrap().iter().map(|line| line["route"].as_str()).collect();
    assert_eq!((export["usage"].as_array().unwrap().len(), routes.len()), (LINES, LINES));
}

#[tokio::test]
async fn a_person_deletes_their_account_and_what_happened_stays_without_their_address() {
    let house = House::open().await;
    let administrator = house.administrator("root@example.com").await;
    let ada = house.register("ada@example.com").await;
    let key = house.post("/auth/api-keys", ada.shown(), json!({ "name": "ci" })).await.body;
    // A session that was begun a while ago is not enough, nor is a wrong password, nor a key.
    house.advance(std::time::Duration::from_mins(10));
    let delete = async |body: Value| house.call("DELETE", "/auth/me", ada.shown(), body).await;
    assert_eq!(delete(json!({})).await.status, 401);
    assert_eq!(delete(json!({ "password": "wrong horse" })).await.status, 403);
    let by_key = Shown::Credential(key["key"].as_str().unwrap());
    assert_eq!(house.call("DELETE", "/auth/me", by_key, json!({ "password": PASSWORD })).await.status, 403);
    assert_eq!(delete(json!({ "password": PASSWORD })).await.status, 204);

    let login = json!({ "email": "ada@example.com", "password": PASSWORD });
    assert_eq!(house.post("/auth/login", Shown::Nothing, login).await.status, 401);
    assert_eq!(house.post("/auth/refresh", Shown::Nothing, json!({ "refresh_token": ada.refresh })).await.status, 401);
    let events = house.get(&format!("/admin/audit?subject={}", ada.id), administrator.shown()).await.body;
    assert!(events["items"].as_array().unwrap().iter().any(|event| event["event"] == "register"), "{events}");
    assert!(!events.to_string().contains("ada@"), "{events}");
    // The address is free.
    house.register("ada@example.com").await;
}

#[tokio::test]
async fn an_administrator_deletes_others_and_not_themselves() {
    let house = House::open().await;
    let administrator = house.administrator("root@example.com").await;
    let ada = house.register("ada@example.com").await;
    let delete =
        async |id: String, shown| house.call("DELETE", &format!("/admin/users/{id}"), shown, Value::Null).await;
    assert_eq!(
        delete(administrator.id.to_string(), administrator.shown()).await.refusal_or_status(),
        "403 own_account"
    );
    assert_eq!(delete(ada.id.to_string(), ada.shown()).await.status, 403);
    assert_eq!(delete(ada.id.to_string(), administrator.shown()).await.status, 204);
    assert_eq!(delete(ada.id.to_string(), administrator.shown()).await.status, 404);
    assert_eq!(delete("x".to_owned(), administrator.shown()).await.status, 404);
}
