//! Other people's accounts, for those who may manage them.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::house::{House, Person, Shown};

async fn change(house: &House, by: &Person, whom: &Person, body: Value) -> crate::house::Answer {
    house.call("PATCH", &format!("/admin/users/{}", whom.id), by.shown(), body).await
}

#[tokio::test]
async fn role_tier_and_status_count_at_once() {
    let house = House::open().await;
    let (root, person) = (house.administrator("root@example.com").await, house.register("ada@example.com").await);
    let answer = change(&house, &root, &person, json!({ "role": "helpdesk", "tier": "pro" })).await;
    assert_eq!((answer.text("role"), answer.text("tier")), ("helpdesk", "pro"));
    assert_eq!(house.get("/admin/users", person.shown()).await.status, 200);
    assert_eq!(change(&house, &root, &person, json!({ "status": "disabled" })).await.status, 200);
    assert_eq!(house.get("/auth/me", person.shown()).await.status, 401);
    assert_eq!(change(&house, &root, &person, json!({ "status": "active" })).await.status, 200);
    assert_eq!(
        house.get("/auth/me", Shown::Credential(&house.login("ada@example.com").await.access)).await.text("tier"),
        "pro"
    );
}

#[tokio::test]
async fn who_is_disabled_is_seen_and_one_account_is_found_by_its_id_or_address() {
    let house = House::open().await;
    let (root, ada) = (house.administrator("root@example.com").await, house.register("ada@example.com").await);
    let disabled = change(&house, &root, &ada, json!({ "status": "disabled" })).await;
    assert_eq!((disabled.text("status"), disabled.text("email")), ("disabled", "ada@example.com"));
    let get = async |path: &str| house.get(path, root.shown()).await;
    let listed = get("/admin/users").await.body;
    let standing: Vec<_> = listed["items"].as_array().unwrap().iter().map(|one| one["status"].clone()).collect();
    assert_eq!(standing, ["active", "disabled"]);
    let found = get("/admin/users?email=ADA%40Example.com").await.body;
    assert_eq!((&found["items"], &found["next_cursor"]), (&json!([listed["items"][1]]), &Value::Null));
    assert_eq!(get("/admin/users?email=nobody@example.com").await.body["items"], json!([]));
    assert_eq!(get(&format!("/admin/users/{}", ada.id)).await.body, found["items"][0], "each is told as one alone");
    for wrong in ["email=nobody", "email=", "email=a@b.c&email=a@b.c", "e-mail=a@b.c"] {
        assert_eq!(get(&format!("/admin/users?{wrong}")).await.status, 400, "{wrong}");
    }
    let one = get(&format!("/admin/users/{}", ada.id)).await;
    assert_eq!((one.text("status"), one.text("tenant_role")), ("disabled", "owner"));
    assert_eq!(one.body["teams"].as_array().map(Vec::len), Some(0));
    for nobody in ["0190a5a0-0000-7000-8000-000000000000", "nonsense"] {
        assert_eq!(get(&format!("/admin/users/{nobody}")).await.refusal(), "404 not_found");
        assert_eq!(get(&format!("/admin/tenants/{nobody}")).await.refusal(), "404 not_found");
    }
    let tenant = get(&format!("/admin/tenants/{}", one.text("tenant_id"))).await;
    assert_eq!((tenant.text("name"), tenant.text("status"), &tenant.body["role"]), ("Ada", "active", &Value::Null));
    assert!(
        house.get("/auth/me", root.shown()).await.body["status"].is_null(),
        "that is for those who manage accounts"
    );
}

#[tokio::test]
async fn what_does_not_exist_is_not_given() {
    let house = House::open().await;
    let (root, person) = (house.administrator("root@example.com").await, house.register("ada@example.com").await);
    assert_snapshot!(change(&house, &root, &person, json!({ "role": "emperor", "tier": "platinum" })).await.refusal(), @"
    422 invalid_fields
      role: there is no role `emperor`
      tier: there is no tier `platinum`
    ");
    assert_snapshot!(change(&house, &root, &person, json!({ "status": { "disabled": null } })).await.refusal(), @"
    422 invalid_fields
      status: must be a string
    ");
    assert_snapshot!(change(&house, &root, &person, json!({ "status": "asleep" })).await.refusal(), @"
    422 invalid_fields
      status: must be `active` or `disabled`
    ");
    assert_snapshot!(change(&house, &root, &person, json!({})).await.refusal(), @"
    422 invalid_fields
      : give a role, a tier or a status
    ");
    assert_snapshot!(change(&house, &root, &person, json!({ "email": "eve@example.com" })).await.refusal(), @"
    422 invalid_fields
      email: is not a field here; expected one of role, tier, status
    ");
    for nobody in ["0190a5a0-0000-7000-8000-000000000000", "nonsense"] {
        let answer =
            house.call("PATCH", &format!("/admin/users/{nobody}"), root.shown(), json!({ "tier": "pro" })).await;
        assert_eq!(answer.refusal(), "404 not_found");
    }
    assert_eq!(house.get("/auth/me", person.shown()).await.text("role"), "user");
}

#[tokio::test]
async fn administrators_do_not_change_their_own_account() {
    let house = House::open().await;
    let root = house.administrator("root@example.com").await;
    for body in [json!({ "role": "user" }), json!({ "status": "disabled" }), json!({ "tier": "pro" })] {
        assert_eq!(change(&house, &root, &root, body).await.refusal(), "403 own_account");
    }
}

#[tokio::test]
async fn nobody_gives_or_takes_over_what_they_may_not_do_themselves() {
    let house = House::open().await;
    let (root, user) = (house.administrator("root@example.com").await, house.register("ada@example.com").await);
    let (help, peer) = (house.register("help@example.com").await, house.register("peer@example.com").await);
    for person in [&help, &peer] {
        assert_eq!(change(&house, &root, person, json!({ "role": "helpdesk" })).await.status, 200);
    }
    // A role holds what theirs does not: of users `agents:read`, of administrators everything.
    for whom in [&root, &user] {
        assert_eq!(change(&house, &help, whom, json!({ "status": "disabled" })).await.refusal(), "403 forbidden");
        for path in [format!("/admin/users/{}", whom.id), format!("/admin/users/{}/mfa", whom.id)] {
            assert_eq!(house.call("DELETE", &path, help.shown(), Value::Null).await.refusal(), "403 forbidden");
        }
    }
    for role in ["admin", "user"] {
        assert_eq!(change(&house, &help, &peer, json!({ "role": role })).await.refusal(), "403 forbidden");
        let body = json!({ "email": "new@example.com", "role": role, "invite": true });
        assert_eq!(house.post("/admin/users", help.shown(), body).await.refusal(), "403 forbidden");
    }
    let body = json!({ "email": "new@example.com", "invite": true });
    assert_eq!(house.post("/admin/users", help.shown(), body).await.refusal(), "403 forbidden", "that of newcomers");
    let body = json!({ "email": "new@example.com", "role": "helpdesk", "invite": true });
    assert_eq!(house.post("/admin/users", help.shown(), body).await.status, 201);
    assert_eq!(change(&house, &help, &peer, json!({ "tier": "pro" })).await.status, 200);
    // A key reaches as far as its scopes.
    let narrow = house.make_key(&root, json!({ "name": "a", "scopes": ["users:manage"] })).await;
    let wide = json!({ "name": "b", "scopes": ["users:manage", "account:*", "agents:*", "integrations:*"] });
    let wide = house.make_key(&root, wide).await;
    let path = format!("/admin/users/{}", user.id);
    for (key, role, status) in [(&narrow, "user", 403), (&wide, "user", 200), (&wide, "admin", 403)] {
        let by = Shown::Credential(key["key"].as_str().unwrap());
        assert_eq!(house.call("PATCH", &path, by, json!({ "role": role })).await.status, status, "{role}");
    }
    assert_eq!(house.call("DELETE", &path, root.shown(), Value::Null).await.status, 204);
}

#[tokio::test]
async fn a_scoped_key_of_an_administrator_administers_only_if_it_says_so() {
    let house = House::open().await;
    let root = house.administrator("root@example.com").await;
    for (scopes, status) in
        [(json!(["agents:*"]), 403), (json!(["users:manage"]), 200), (json!(["*"]), 200), (Value::Null, 200)]
    {
        let key = house.make_key(&root, json!({ "name": "key", "scopes": scopes })).await;
        let answer = house.get("/admin/users", Shown::Credential(key["key"].as_str().unwrap())).await;
        assert_eq!(answer.status, status, "{scopes}");
    }
}

#[tokio::test]
async fn every_account_is_on_exactly_one_page() {
    let house = House::open().await;
    let root = house.administrator("root@example.com").await;
    let mut registered = vec![root.id.to_string()];
    for number in 0..6 {
        registered.push(house.register(&format!("person{number}@example.com")).await.id.to_string());
    }
    let (mut seen, mut path) = (Vec::new(), "/admin/users?limit=3".to_owned());
    let mut sizes = Vec::new();
    loop {
        let page = house.get(&path, root.shown()).await;
        let items = page.body["items"].as_array().unwrap();
        sizes.push(items.len());
        seen.extend(items.iter().map(|user| user["id"].as_str().unwrap().to_owned()));
        let Some(cursor) = page.body["next_cursor"].as_str() else { break };
        path = format!("/admin/users?limit=3&cursor={cursor}");
    }
    assert_eq!((sizes, &seen), (vec![3, 3, 1], &registered));
    assert_eq!(house.get("/admin/users", root.shown()).await.body["items"].as_array().unwrap().len(), 7);
}

#[tokio::test]
async fn query_parameters_are_read_strictly() {
    let house = House::open().await;
    let root = house.administrator("root@example.com").await;
    for (path, field) in [
        ("/admin/audit?event=%00", "event"),
        ("/admin/audit?outcome=a%00b", "outcome"),
        ("/admin/sessions?account_id=%0a", "account_id"),
    ] {
        let expected = format!("400 invalid_query\n  {field}: must hold no control characters");
        assert_eq!(house.get(path, root.shown()).await.refusal(), expected, "{path}");
    }
    let mut answers = Vec::new();
    for query in [
        "limit=0",
        "limit=201",
        "limit=x",
        "limit=-1",
        "limit=",
        "limit=1&limit=2",
        "cursor=nonsense",
        "role=admin",
        "limit=%ff",
    ] {
        let answer = house.get(&format!("/admin/users?{query}"), root.shown()).await;
        answers.push(format!("{query}: {}", answer.refusal()));
    }
    assert_snapshot!(answers.join("\n"), @"
    limit=0: 400 invalid_query
      limit: must be a number between 1 and 200
    limit=201: 400 invalid_query
      limit: must be a number between 1 and 200
    limit=x: 400 invalid_query
      limit: must be a number between 1 and 200
    limit=-1: 400 invalid_query
      limit: must be a number between 1 and 200
    limit=: 400 invalid_query
      limit: must be a number between 1 and 200
    limit=1&limit=2: 400 invalid_query
      limit: is given twice
    cursor=nonsense: 400 invalid_query
      cursor: must be a cursor of ours
    role=admin: 400 invalid_query
      role: is not a parameter here; expected one of cursor, limit, email
    limit=%ff: 400 invalid_query
      limit: must be a number between 1 and 200
    ");
}

#[tokio::test]
async fn nobody_says_what_a_reload_reads() {
    let house = House::open().await;
    let root = house.administrator("root@example.com").await;
    let reload = async |body: Value| house.post("/admin/config/reload", root.shown(), body).await.refusal();
    for nothing in [Value::Null, json!({})] {
        assert_eq!(house.post("/admin/config/reload", root.shown(), nothing).await.status, 200);
    }
    // What is refused for its body is not tried.
    house.next_reload(Err(vec!["routes.toml:3:1: unknown key `pathz`".to_owned()]));
    assert_snapshot!(reload(json!({ "path": "/etc" })).await, @"
    422 invalid_fields
      path: is not a field here; there are none
    ");
    assert_snapshot!(reload(json!(["/etc"])).await, @"
    422 invalid_fields
      : must be an object
    ");
    assert!(reload(json!({})).await.starts_with("422 config_refused"));
}

#[tokio::test]
async fn a_reload_tells_what_it_did() {
    let house = House::open().await;
    let root = house.administrator("root@example.com").await;
    let answer = house.post("/admin/config/reload", root.shown(), Value::Null).await;
    assert_eq!((answer.status.as_u16(), answer.body), (200, json!({ "generation": 2, "needs_restart": ["tokens"] })));

    let errors = [
        "routes.toml:3:1: unknown key `pathz`; did you mean `paths`?".to_owned(),
        "tiers.toml:9:5: negative rate".to_owned(),
    ];
    house.next_reload(Err(errors.to_vec()));
    assert_snapshot!(house.post("/admin/config/reload", root.shown(), Value::Null).await.refusal(), @"
    422 config_refused
      config: routes.toml:3:1: unknown key `pathz`; did you mean `paths`?
      config: tiers.toml:9:5: negative rate
    ");
}
