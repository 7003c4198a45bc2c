//! Agents that are published to the platform: whoever belongs to whatever organisation sees them and has instances of them, and nobody of
//! another one changes them.

use serde_json::{Value, json};
use store::AccountChange;

use crate::house::{House, Person, Shown};

/// Somebody with an organisation of their own.
async fn founder(house: &House, email: &str, role: &str) -> Person {
    let person = house.register(email).await;
    house.change(&person, AccountChange { role: Some(role.to_owned()), ..AccountChange::default() }).await;
    person
}

/// The ids that a list shows.
async fn listed(house: &House, path: &str, by: Shown<'_>) -> Value {
    let answer = house.get(path, by).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    answer.body["items"].as_array().unwrap().iter().map(|item| item["id"].clone()).collect()
}

#[tokio::test]
async fn an_agent_of_the_platform_is_everybodys_to_use_and_its_own_organisations_to_change() {
    let house = House::open().await;
    let ada = founder(&house, "ada@example.com", "developer").await;
    // Each of them administers an organisation: another one.
    let eve = founder(&house, "eve@example.com", "developer").await;
    let root = house.administrator("root@example.com").await;
    let agent = house.made_id("/agents", ada.shown(), json!({ "name": "Writer", "description": "Writes." })).await;
    let path = format!("/agents/{agent}");
    let publish = format!("{path}/publish");
    assert_eq!(house.get(&path, ada.shown()).await.body["audience"], Value::Null);
    assert_eq!(house.post(&publish, ada.shown(), Value::Null).await.body["audience"], "tenant");
    assert_eq!(house.get(&path, eve.shown()).await.refusal(), "404 not_found");
    assert_eq!(listed(&house, "/agents", eve.shown()).await, json!([]));

    let shown = house.post(&publish, ada.shown(), json!({ "audience": "platform" })).await;
    assert_eq!((shown.status.as_u16(), &shown.body["audience"]), (200, &json!("platform")));
    let seen = house.get(&path, eve.shown()).await;
    assert_eq!((seen.status.as_u16(), &seen.body), (200, &shown.body));
    let fields: Vec<_> = seen.body.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        fields,
        ["audience", "created_at", "description", "developer_id", "id", "is_published", "name", "updated_at"],
        "what strangers learn of somebody's work"
    );
    assert_eq!(listed(&house, "/agents", eve.shown()).await, json!([agent]));
    let hers = house.store.account(eve.id).await.unwrap().unwrap().tenant.unwrap().tenant;
    for none in ["/agents?mine=true".to_owned(), format!("/agents?tenant_id={hers}")] {
        assert_eq!(listed(&house, &none, eve.shown()).await, json!([]), "{none}");
    }

    let config = json!({ "token": "s3cret" });
    let wanted = json!({ "agent_id": agent, "name": "Mine", "config": config });
    let instance = format!("/agent-instances/{}", house.made_id("/agent-instances", eve.shown(), wanted.clone()).await);
    assert_eq!(house.get(&instance, eve.shown()).await.body["config"], config);
    assert_eq!(house.get(&instance, ada.shown()).await.refusal(), "404 not_found", "its developer is not its owner");
    assert_eq!(listed(&house, "/agent-instances?all=true", ada.shown()).await, json!([]));
    assert_eq!(house.get(&instance, root.shown()).await.body.get("config"), None);
    for (method, path) in
        [("PATCH", &path), ("DELETE", &path), ("POST", &publish), ("POST", &format!("{path}/unpublish"))]
    {
        let body = if method == "PATCH" { json!({ "name": "Eve's" }) } else { json!({}) };
        assert_eq!(house.call(method, path, eve.shown(), body).await.refusal(), "404 not_found", "{method} {path}");
    }
    assert_eq!(house.get(&path, eve.shown()).await.body, shown.body, "and nothing has changed");
    assert_eq!(house.call("DELETE", &path, ada.shown(), Value::Null).await.refusal(), "409 conflict");

    // Taken back by its developer or whoever administers the platform, it is in nobody's list; what people have they keep.
    let back = house.post(&format!("{path}/unpublish"), root.shown(), Value::Null).await;
    assert_eq!((back.status.as_u16(), &back.body["audience"]), (200, &Value::Null));
    assert_eq!(listed(&house, "/agents", eve.shown()).await, json!([]));
    assert_eq!(house.get(&path, eve.shown()).await.refusal(), "404 not_found");
    assert_eq!(house.post("/agent-instances", eve.shown(), wanted).await.refusal(), "404 not_found");
    assert_eq!(house.get(&instance, eve.shown()).await.body["config"], config);
}

#[tokio::test]
async fn publishing_to_the_platform_takes_a_permission_of_its_own_and_the_trail_tells_for_whom() {
    let house = House::open().await;
    let ada = founder(&house, "ada@example.com", "developer").await;
    let root = house.administrator("root@example.com").await;
    let path = format!("/agents/{}/publish", house.made_id("/agents", ada.shown(), json!({ "name": "A" })).await);
    let platform = || json!({ "audience": "platform" });
    let mut keys = Vec::new();
    for scopes in [json!(["agents:*"]), json!(["agents:publish", "platform:publish"])] {
        let key = house.make_key(&ada, json!({ "name": "key", "scopes": scopes })).await;
        keys.push(key["key"].as_str().unwrap().to_owned());
    }
    let narrow = house.post(&path, Shown::Credential(&keys[0]), platform()).await;
    assert_eq!(narrow.refusal(), "403 forbidden", "what was made for one's own organisation");
    assert_eq!(house.post(&path, Shown::Credential(&keys[0]), json!({})).await.body["audience"], "tenant");
    assert_eq!(house.post(&path, Shown::Credential(&keys[1]), platform()).await.body["audience"], "platform");
    // An operator has taken it out of a role.
    let cyd = founder(&house, "cyd@example.com", "author").await;
    let own = format!("/agents/{}/publish", house.made_id("/agents", cyd.shown(), json!({ "name": "C" })).await);
    assert_eq!(house.post(&own, cyd.shown(), platform()).await.refusal(), "403 forbidden");
    assert_eq!(house.post(&own, cyd.shown(), json!({ "audience": "tenant" })).await.body["audience"], "tenant");
    insta::assert_snapshot!(house.post(&own, cyd.shown(), json!({ "audience": "all" })).await.refusal(), @r"
    422 invalid_fields
      audience: must be `tenant` or `platform`
    ");

    let events = house.get("/admin/audit?event=publish_agent", root.shown()).await.body;
    let mut told: Vec<_> = events["items"].as_array().unwrap().iter().collect();
    told.reverse();
    let told: Vec<_> = told.iter().map(|event| (&event["outcome"], &event["details"]["audience"])).collect();
    let (ok, forbidden) = (json!("ok"), json!("forbidden"));
    let (tenant, platform) = (json!("tenant"), json!("platform"));
    assert_eq!(
        told,
        [(&forbidden, &platform), (&ok, &tenant), (&ok, &platform), (&forbidden, &platform), (&ok, &tenant)]
    );
}
