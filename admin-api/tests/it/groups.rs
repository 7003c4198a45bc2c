//! Who in an organisation may do what with its teams, agents and instances; and that sealed configurations open in their place alone.

use identity::{AccountId, Email, Grant, PasswordHash, Principal, SessionId, TenantId, TenantRole};
use serde_json::{Value, json};
use store::{AccountKind, Belonging, NewAccount};
use tower::ServiceExt as _;
use uuid::Uuid;

use crate::house::{House, Person, Shown};

/// Another member of somebody's organisation, with a key of their own.
async fn joined(house: &House, person: &Person, email: &str) -> (AccountId, String) {
    let tenant: TenantId = house.tenant_of(person).await.parse().unwrap();
    let address = Email::parse(email).unwrap();
    let new = NewAccount {
        id: AccountId::new(Uuid::now_v7()),
        email: &address,
        password_hash: PasswordHash::from("a hash".to_owned()),
        name: None,
        role: "developer",
        tier: "free",
        has_own_tier: false,
        is_verified: false,
        kind: AccountKind::Person,
        tenant: Belonging::Joins(tenant),
        now: house.now(),
    };
    let account = house.store.create_account(new).await.unwrap().id;
    let key = identity::ApiKey::generate(identity::KeyId::new(Uuid::now_v7()), &mut rand::rng());
    let new = store::NewKey {
        id: key.id(),
        account,
        by: None,
        tenant: Some(tenant),
        name: "key".to_owned(),
        prefix: key.prefix(),
        digest: key.digest(),
        scopes: None,
        networks: None,
        expires_at: None,
        most: 10,
        now: house.now(),
    };
    house.store.create_key(new).await.unwrap();
    (account, key.expose().to_owned())
}

#[tokio::test]
async fn members_read_teams_and_domains_and_administrators_change_them() {
    let house = House::open().await;
    let ada = house.register("ada@example.com").await;
    let (bob, key) = joined(&house, &ada, "bob@example.com").await;
    let member = Shown::Credential(&key);
    let team = house.made_id("/teams", ada.shown(), json!({ "name": "Lab", "external_ref": "grp-1" })).await;
    let domain = house.made_id("/domains", ada.shown(), json!({ "key": "it" })).await;
    let below = house.made_id("/domains", ada.shown(), json!({ "key": "web", "parent_domain_id": domain })).await;
    for path in [format!("/teams/{team}"), format!("/domains/{domain}")] {
        assert_eq!(house.get(&path, member).await.status, 200);
        for (method, path) in [
            ("PATCH", path.clone()),
            ("DELETE", path.clone()),
            ("GET", format!("{path}/members")),
            ("POST", format!("{path}/members")),
            ("DELETE", format!("{path}/members/{bob}")),
        ] {
            let body = if method == "POST" { json!({ "account_id": bob.to_string() }) } else { json!({}) };
            assert_eq!(house.call(method, &path, member, body).await.refusal(), "403 forbidden", "{method} {path}");
        }
    }
    assert_eq!(house.post("/teams", member, json!({ "name": "X" })).await.refusal(), "403 forbidden");
    assert_eq!(house.post("/domains", member, json!({ "key": "x" })).await.refusal(), "403 forbidden");
    // A key that is limited to something else stands for no administrator.
    let limited = house.make_key(&ada, json!({ "name": "k", "scopes": ["agents:read"] })).await;
    let limited = Shown::Credential(limited["key"].as_str().unwrap());
    assert_eq!(house.post("/teams", limited, json!({ "name": "X" })).await.refusal(), "403 forbidden");
    // Nor does it read them, until its scopes say so.
    let reader = house.make_key(&ada, json!({ "name": "r", "scopes": ["teams:read"] })).await;
    let reader = Shown::Credential(reader["key"].as_str().unwrap());
    for path in
        ["/teams", "/teams/all", &format!("/teams/{team}"), "/domains", "/domains/all", &format!("/domains/{domain}")]
    {
        assert_eq!(house.get(path, limited).await.refusal(), "403 forbidden", "{path}");
        assert_eq!(house.get(path, reader).await.status, 200, "{path}");
    }
    assert_eq!(house.post("/teams", reader, json!({ "name": "X" })).await.refusal(), "403 forbidden");

    let path = format!("/teams/{team}/members");
    let answer = house.post(&path, ada.shown(), json!({ "account_id": bob.to_string() })).await;
    assert_eq!((answer.status.as_u16(), answer.text("role")), (201, "member"), "{}", answer.body);
    let me = house.get("/auth/me", member).await.body;
    assert_eq!((&me["teams"][0]["name"], &me["teams"][0]["external_ref"]), (&json!("Lab"), &json!("grp-1")));
    let conflict = house.call("DELETE", &format!("/teams/{team}"), ada.shown(), Value::Null).await;
    assert_eq!(conflict.refusal(), "409 conflict");
    let looped = json!({ "parent_domain_id": below });
    let looped = house.call("PATCH", &format!("/domains/{domain}"), ada.shown(), looped).await;
    assert_eq!(looped.refusal(), "409 conflict");
    let kept = house.call("DELETE", &format!("/domains/{domain}"), ada.shown(), Value::Null).await;
    assert_eq!(kept.refusal(), "409 conflict");
    let gone = house.call("DELETE", &format!("/domains/{domain}?cascade=true"), ada.shown(), Value::Null).await;
    assert_eq!(gone.status, 204);
    assert_eq!(house.get("/domains/all", member).await.body, json!([]));

    let wrong = json!({ "account_id": "7", "role": "Team Lead" });
    let wrong = house.post(&path, ada.shown(), wrong).await.refusal();
    insta::assert_snapshot!(wrong, @r"
    422 invalid_fields
      account_id: must be an id
      role: must be 1 to 64 of a-z, 0-9, _ and -
    ");
}

#[tokio::test]
async fn administrators_oversee_agents_and_instances_without_their_configurations() {
    let house = House::open().await;
    let ada = house.register("ada@example.com").await;
    let (_, key) = joined(&house, &ada, "bob@example.com").await;
    let (_, other) = joined(&house, &ada, "cyd@example.com").await;
    let (bob, cyd) = (Shown::Credential(&key), Shown::Credential(&other));
    let draft = house.made_id("/agents", bob, json!({ "name": "Draft" })).await;
    let shown = house.made_id("/agents", bob, json!({ "name": "Shown" })).await;
    assert_eq!(house.post(&format!("/agents/{shown}/publish"), cyd, json!({})).await.refusal(), "404 not_found");
    assert_eq!(house.post(&format!("/agents/{shown}/publish"), bob, json!({})).await.status, 200);
    assert_eq!(house.get(&format!("/agents/{draft}"), cyd).await.refusal(), "404 not_found");
    assert_eq!(house.get("/agents", cyd).await.body["items"].as_array().unwrap().len(), 1);
    assert_eq!(house.get("/agents", bob).await.body["items"].as_array().unwrap().len(), 2);

    let wanted = json!({ "agent_id": shown, "name": "I", "config": { "token": "s3cret" } });
    let instance = house.made_id("/agent-instances", cyd, wanted).await;
    let path = format!("/agent-instances/{instance}");
    assert_eq!(house.get(&path, cyd).await.body["config"], json!({ "token": "s3cret" }));
    assert_eq!(house.get(&path, bob).await.refusal(), "404 not_found", "its developer is not its owner");
    assert_eq!(house.get("/agent-instances?all=true", bob).await.refusal(), "403 forbidden");
    // Whoever acts as its owner sees that it is there.
    let owner = house.get(&path, cyd).await.body["account_id"].as_str().unwrap().parse::<Uuid>().unwrap();
    let acting = Principal {
        account: owner.into(),
        role: "developer".into(),
        tier: "free".into(),
        tenant: house.store.account(ada.id).await.unwrap().unwrap().tenant.map(|in_it| in_it.tenant),
        tenant_role: Some(TenantRole::Member),
        actor: Some(Box::new(ada.id)),
        is_service: false,
        grant: Grant::Session(SessionId::new(Uuid::now_v7())),
        scopes: None,
        networks: None,
        authentication: None,
        generation: 0,
    };
    let acting = house.assert(&acting, "admin-api");
    let seen = house.get(&path, Shown::Header("X-Gateway-Assertion", &acting)).await;
    assert_eq!((seen.status.as_u16(), &seen.body["name"]), (200, &json!("I")));
    assert!(seen.body.get("config").is_none(), "{}", seen.body);

    house.make_admin_role(&ada).await;
    for answer in [house.get(&path, ada.shown()).await, house.get("/agent-instances?all=true", ada.shown()).await] {
        assert_eq!(answer.status, 200);
        assert!(!answer.body.to_string().contains("config"), "{}", answer.body);
    }
    let foreign = house.call("PATCH", &path, ada.shown(), json!({ "config": {} })).await;
    assert_eq!(foreign.refusal(), "404 not_found", "not even administrators change it");
    assert_eq!(
        house.call("PATCH", &format!("/agents/{draft}"), ada.shown(), json!({ "name": "Ours" })).await.status,
        200
    );
    assert_eq!(house.call("DELETE", &path, ada.shown(), Value::Null).await.status, 204);
}

#[tokio::test]
async fn who_administers_an_organisation_looks_after_what_others_have_left_whatever_their_role_is() {
    let house = House::open().await;
    let ada = house.register("ada@example.com").await;
    let (bob, key) = joined(&house, &ada, "bob@example.com").await;
    let (cyd, other) = joined(&house, &ada, "cyd@example.com").await;
    let change = store::AccountChange { role: Some("user".to_owned()), ..store::AccountChange::default() };
    house.store.change_account(cyd, change, house.now()).await.unwrap();
    let agent = house.made_id("/agents", Shown::Credential(&key), json!({ "name": "Left" })).await;
    let path = format!("/agents/{agent}");
    assert_eq!(house.post(&format!("{path}/publish"), Shown::Credential(&key), json!({})).await.status, 200);
    house.store.delete_account(bob, None, house.now()).await.unwrap();
    let scoped = house.make_key(&ada, json!({ "name": "x", "scopes": ["agents:read", "account:manage"] })).await;
    let scoped = Shown::Credential(scoped["key"].as_str().unwrap());
    for nobody in [Shown::Credential(&other), scoped] {
        for (method, path) in [("PATCH", &path), ("DELETE", &path), ("POST", &format!("{path}/unpublish"))] {
            let answer = house.call(method, path, nobody, json!({ "name": "Mine" })).await;
            assert_eq!(answer.refusal(), "403 forbidden", "{method} {path}");
        }
    }
    // She is its owner, and a `user` of the platform, who makes and publishes none.
    assert_eq!(house.get("/auth/me", ada.shown()).await.body["role"], "user");
    assert_eq!(house.post("/agents", ada.shown(), json!({ "name": "A" })).await.refusal(), "403 forbidden");
    assert_eq!(house.post(&format!("{path}/publish"), ada.shown(), json!({})).await.refusal(), "403 forbidden");
    let changed = house.call("PATCH", &path, ada.shown(), json!({ "name": "Ours" })).await;
    assert_eq!((changed.status.as_u16(), &changed.body["developer_id"]), (200, &Value::Null));
    let back = house.post(&format!("{path}/unpublish"), ada.shown(), json!({})).await;
    assert_eq!((back.status.as_u16(), &back.body["is_published"]), (200, &json!(false)));
    assert_eq!(house.call("DELETE", &path, ada.shown(), Value::Null).await.status, 204);
}

#[tokio::test]
async fn a_configuration_that_was_altered_or_moved_does_not_open() {
    let house = House::open().await;
    let ada = house.administrator("ada@example.com").await;
    let agent = house.made_id("/agents", ada.shown(), json!({ "name": "A" })).await;
    let mut paths = Vec::new();
    for secret in ["one", "two", "three"] {
        let wanted = json!({ "agent_id": agent, "name": secret, "config": { "token": secret } });
        paths.push(format!("/agent-instances/{}", house.made_id("/agent-instances", ada.shown(), wanted).await));
    }
    assert!(house.holds_nowhere(b"\"token\""), "it lies open in the database");
    house.run("UPDATE agent_instances SET sealed = (SELECT sealed FROM agent_instances WHERE name = 'two') WHERE name = 'one'").await;
    house.run("UPDATE agent_instances SET sealed = CAST(substr(sealed, 1, length(sealed) - 1) || x'00' AS BLOB) WHERE name = 'three'").await;
    let answers = [
        house.get(&paths[0], ada.shown()).await.refusal_or_status(),
        house.get(&paths[1], ada.shown()).await.refusal_or_status(),
        house.get(&paths[2], ada.shown()).await.refusal_or_status(),
    ];
    assert_eq!(answers, ["503 unreadable", "200 OK", "503 unreadable"]);
    assert_eq!(house.unreadable(), 2, "the process hears of those that do not open");
    // What is refused has changed nothing.
    let renamed = house.call("PATCH", &paths[0], ada.shown(), json!({ "name": "renamed" })).await;
    assert_eq!(renamed.refusal(), "503 unreadable");
    let names = house.get("/agent-instances", ada.shown()).await.body["items"].clone();
    let names: Vec<_> = names.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["one", "two", "three"]);
    // A new one takes its place, and it can be deleted.
    let anew = house.call("PATCH", &paths[0], ada.shown(), json!({ "config": { "token": "new" } })).await;
    assert_eq!(anew.body["config"], json!({ "token": "new" }), "{}", anew.body);
    assert_eq!(house.call("DELETE", &paths[2], ada.shown(), Value::Null).await.status, 204);
}

/// Who administers the platform sees what there is anywhere, without what it is configured with, and ends it; nobody else asks about others.
#[tokio::test]
async fn administrators_of_the_platform_oversee_agents_and_instances_of_every_tenant() {
    let house = House::open().await;
    let ada = house.register("ada@example.com").await;
    house.change(&ada, store::AccountChange { role: Some("developer".to_owned()), ..Default::default() }).await;
    let root = house.administrator("root@example.com").await;
    let tenant = house.tenant_of(&ada).await;
    let agent = house.made_id("/agents", ada.shown(), json!({ "name": "Hers" })).await;
    let config = json!({ "agent_id": agent, "name": "Hers", "config": { "key": "secret" } });
    let instance = house.made_id("/agent-instances", ada.shown(), config).await;
    for (list, id) in [("/agents?", &agent), ("/agent-instances?all=true&", &instance)] {
        let path = format!("{list}tenant_id={tenant}");
        let seen = house.get(&path, root.shown()).await.body;
        assert_eq!((&seen["items"][0]["id"], &seen["items"][0]["config"]), (&json!(id), &Value::Null), "{seen}");
        let own = house.get(list, root.shown()).await.body;
        assert_eq!(own["items"], json!([]), "its own by default");
        let foreign = format!("{list}tenant_id={}", house.tenant_of(&root).await);
        assert_eq!(house.get(&foreign, ada.shown()).await.refusal(), "404 not_found");
        assert_eq!(house.get(&path, ada.shown()).await.status, 200, "her own by its name");
    }
    // A key with scopes does not stand for an administrator.
    let key = house.make_key(&root, json!({ "name": "key", "scopes": ["agents:*", "instances:*"] })).await;
    let scoped = Shown::Credential(key["key"].as_str().unwrap());
    assert_eq!(house.get(&format!("/agents/{agent}"), scoped).await.refusal(), "404 not_found");
    for path in [format!("/agent-instances/{instance}"), format!("/agents/{agent}")] {
        let seen = house.get(&path, root.shown()).await;
        assert_eq!((seen.status.as_u16(), &seen.body["config"]), (200, &Value::Null), "{}", seen.body);
        assert_eq!(house.call("DELETE", &path, root.shown(), Value::Null).await.status, 204);
        assert_eq!(house.get(&path, ada.shown()).await.refusal(), "404 not_found");
    }
}

/// It is sealed as it is written: the platform does not understand it, and changes nothing of it.
#[tokio::test]
async fn a_configuration_comes_back_to_the_letter_and_null_is_no_way_to_wipe_it() {
    let house = House::open().await;
    let ada = house.register("ada@example.com").await;
    house.change(&ada, store::AccountChange { role: Some("developer".to_owned()), ..Default::default() }).await;
    let agent = house.made_id("/agents", ada.shown(), json!({ "name": "Hers" })).await;
    let assertion = house.assertion_of(&ada).await;
    let raw = async |method: &str, path: &str, body: String| {
        let request = axum::http::Request::builder().method(method).uri(path);
        let request = request.header("X-Gateway-Assertion", &assertion).header("Content-Type", "application/json");
        let answer = house.router.clone().oneshot(request.body(axum::body::Body::from(body)).unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    };
    let config = r#"{"z":12345678901234567890123,"a":1.10,"b":[1e2,"x"]}"#;
    let (status, said) =
        raw("POST", "/agent-instances", format!(r#"{{"agent_id":"{agent}","name":"Hers","config":{config}}}"#)).await;
    assert!(status == 201 && said.contains(&format!(r#""config":{config}"#)), "{said}");
    let id = serde_json::from_str::<Value>(&said).unwrap()["id"].as_str().unwrap().to_owned();
    let path = format!("/agent-instances/{id}");
    assert!(raw("GET", &path, String::new()).await.1.contains(config));
    for (path, body) in [
        (&path, r#"{"config":null}"#),
        (&path, r#"{"name":null}"#),
        (&path, r#"{"config":[1]}"#),
        (&path, "{}"),
        (&format!("/agents/{agent}"), "{}"),
        (&format!("/agents/{agent}"), r#"{"description":null}"#),
    ] {
        assert_eq!(raw("PATCH", path, body.to_owned()).await.0, 422, "{path} {body}");
    }
    assert!(raw("GET", &path, String::new()).await.1.contains(config), "nothing of that has changed it");
    assert!(raw("PATCH", &path, r#"{"config":{}}"#.to_owned()).await.1.contains(r#""config":{}"#));
}

/// Where a spreadsheet is refused none is sent, and a year that is asked for by its first day is answered.
#[tokio::test]
async fn usage_is_a_table_where_that_is_liked_better_and_begins_where_it_is_asked_to() {
    let house = House::open().await;
    let ada = house.register("ada@example.com").await;
    let assertion = house.assertion_of(&ada).await;
    for (accept, is_table) in [
        ("text/csv", true),
        ("application/json, text/csv;q=0", false),
        ("text/csv;q=0.5, application/json", false),
        ("application/json;q=0.5, text/csv", true),
        ("text/csv, application/json", false),
        ("*/*", false),
    ] {
        let request = axum::http::Request::get("/usage").header("X-Gateway-Assertion", &assertion);
        let request = request.header("Accept", accept).body(axum::body::Body::empty()).unwrap();
        let answer = house.send(request).await;
        let kind = answer.headers["content-type"].to_str().unwrap();
        assert_eq!(kind.starts_with("text/csv"), is_table, "{accept}: {kind}");
    }
    let year = house.get("/usage?from=2024-01-01", ada.shown()).await.body;
    assert_eq!((&year["from"], &year["to"]), (&json!("2024-01-01"), &json!("2024-12-31")));
}
