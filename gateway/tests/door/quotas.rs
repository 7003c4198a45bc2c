//! Quotas through the door: what backends are told, what services reserve, and keys.

use serde_json::{Value, json};

use crate::platform::{Platform, Setup, token_of};

#[test]
fn a_backend_that_asks_is_told_what_the_tier_includes() {
    let platform = Setup::default()
        .edit(
            "gateway.toml",
            "\"x-tenant-id\", \"x-auth-method\"",
            "\"x-tenant-id\", \"x-tenant-quotas\", \"x-auth-method\"",
        )
        .start();
    let ada = token_of(&platform.register("ada@example.com"));
    let headers = [("Authorization", &*format!("Bearer {ada}")), ("X-Tenant-Quotas", "storage_gb=unlimited")];
    let seen = platform.send("GET", "/demo/x", &headers, "");
    assert_eq!(seen.received("x-tenant-quotas"), ["agents=5, instances=20, storage_gb=10, workbenches=3"]);
    // They are the organisation's: a tier of the caller's own changes nothing, one of the organisation's does at once.
    let admin = platform.admin();
    let set = |path: &str, tier: Value| {
        let changed = platform.json("PATCH", path, Some(&admin), &json!({ "tier": tier }));
        assert_eq!(changed.status, 200, "{changed:?}");
    };
    let me = platform.get("/auth/me", &ada).json();
    let (account, tenant) = (me["id"].as_str().unwrap(), me["tenant_id"].as_str().unwrap());
    set(&format!("/admin/tenants/{tenant}"), json!("enterprise"));
    let enterprise = platform.send("GET", "/demo/x", &headers, "").received("x-tenant-quotas");
    assert_ne!(enterprise, seen.received("x-tenant-quotas"));
    set(&format!("/admin/users/{account}"), json!("free"));
    assert_eq!(platform.send("GET", "/demo/x", &headers, "").received("x-tenant-quotas"), enterprise);
    // Without one it has its owner's.
    set(&format!("/admin/tenants/{tenant}"), Value::Null);
    set(&format!("/admin/users/{account}"), json!("enterprise"));
    assert_eq!(platform.send("GET", "/demo/x", &headers, "").received("x-tenant-quotas"), enterprise);
    let public = platform.send("GET", "/demo/public/x", &headers[1..], "");
    assert_eq!(public.received("x-tenant-quotas"), Vec::<String>::new());
}

#[test]
fn a_service_reserves_gives_and_gives_back_and_never_more_than_there_is() {
    let platform = Platform::start();
    let admin = platform.admin();
    let ada = token_of(&platform.register("ada@example.com"));
    let tenant = platform.get("/auth/me", &ada).json()["tenant_id"].clone();
    let [benches, other] = ["benches", "other"].map(|name| platform.service_account(name).1);
    let reserve = |who: &str, amount: i64| {
        let wanted = json!({ "resource": "workbenches", "amount": amount, "tenant_id": tenant, "ttl_seconds": 60 });
        platform.post("/quota/reserve", Some(who), &wanted)
    };
    let of = |answer: &crate::platform::Answer| json!({ "reservation_id": answer.json()["reservation_id"] });
    let left = || {
        let quotas = platform.get("/quota", &ada).json();
        let found = quotas["items"].as_array().unwrap().iter().find(|item| item["resource"] == "workbenches").cloned();
        found.map(|item| format!("{} of {}, {} asked for", item["used"], item["limit"], item["reserved"])).unwrap()
    };
    assert_eq!(left(), "0 of 3, 0 asked for");
    let two = reserve(&benches, 2);
    assert_eq!(two.status, 201, "{two:?}");
    let refused = reserve(&other, 2);
    assert_eq!((refused.status, refused.code().as_str()), (409, "quota_exceeded"));
    assert!(refused.body.contains("has 1 of `workbenches` left"), "{refused:?}");
    assert_eq!(left(), "0 of 3, 2 asked for");
    assert_eq!(platform.post("/quota/commit", Some(&other), &of(&two)).status, 404, "another service's");
    for _ in 0..2 {
        assert_eq!(platform.post("/quota/commit", Some(&benches), &of(&two)).status, 204);
        assert_eq!(left(), "2 of 3, 0 asked for");
    }
    for who in [&ada, &admin] {
        assert_eq!(reserve(who, 1).code(), "forbidden");
        for path in ["/quota/commit", "/quota/release"] {
            assert_eq!(platform.post(path, Some(who), &of(&two)).code(), "forbidden", "{path}");
        }
    }
    for who in [&ada, &benches] {
        assert_eq!(platform.post("/admin/quota/release", Some(who), &of(&two)).code(), "forbidden");
    }
    assert_eq!(left(), "2 of 3, 0 asked for");
    // Whoever administers the platform sees anybody's, and gives back for a service that cannot.
    let asked =
        |who: &str, tenant: &Value| platform.get(&format!("/quota?tenant_id={}", tenant.as_str().unwrap()), who);
    assert_eq!(asked(&admin, &tenant).json()["tenant_id"], tenant);
    let of_admin = platform.get("/auth/me", &admin).json()["tenant_id"].clone();
    assert_eq!(asked(&ada, &of_admin).status, 404);
    assert_eq!(platform.get("/quota?tenant=1", &ada).code(), "invalid_query");
    let one = reserve(&benches, 1);
    assert_eq!(platform.post("/admin/quota/release", Some(&admin), &of(&one)).status, 204);
    assert_eq!(left(), "2 of 3, 0 asked for");
    for _ in 0..2 {
        assert_eq!(platform.post("/quota/release", Some(&benches), &of(&two)).status, 204);
        assert_eq!(left(), "0 of 3, 0 asked for");
    }
    assert_eq!(platform.post("/quota/commit", Some(&benches), &of(&two)).code(), "conflict");
    // Of the other tenants of people, and of what there is not.
    for (wanted, status) in [
        (json!({ "resource": "workbenches", "amount": 0, "tenant_id": tenant }), 422),
        (json!({ "resource": "workbenches", "amount": -1, "tenant_id": tenant }), 422),
        (json!({ "resource": "castles", "amount": 1, "tenant_id": tenant }), 422),
        (json!({ "resource": "agents", "amount": 1, "tenant_id": tenant }), 422),
        (json!({ "resource": "instances", "amount": 1, "tenant_id": tenant }), 422),
        (json!({ "resource": "workbenches", "amount": 1, "ttl_seconds": 0, "tenant_id": tenant }), 422),
        (json!({ "resource": "workbenches", "amount": 1, "tenant_id": "0190a5a0-0000-7000-8000-000000000001" }), 404),
        (json!({ "resource": "workbenches", "amount": 1, "tenant_id": tenant, "limit": 9 }), 422),
    ] {
        assert_eq!(platform.post("/quota/reserve", Some(&benches), &wanted).status, status, "{wanted}");
    }
    assert_eq!(left(), "0 of 3, 0 asked for");
}

/// What is counted where it is made is told as it is, and a disabled organisation is given nothing.
#[test]
fn agents_and_keys_are_counted_where_they_are_made_and_a_disabled_tenant_is_given_nothing() {
    let platform = Platform::start();
    let admin = platform.admin();
    let registered = platform.register("ada@example.com");
    let (ada, account) = (token_of(&registered), registered["user"]["id"].as_str().unwrap().to_owned());
    let change = json!({ "role": "developer" });
    assert_eq!(platform.json("PATCH", &format!("/admin/users/{account}"), Some(&admin), &change).status, 200);
    let agent = platform.post("/agents", Some(&ada), &json!({ "name": "Helper" })).json()["id"].clone();
    let instance = json!({ "agent_id": agent, "name": "Mine" });
    assert_eq!(platform.post("/agent-instances", Some(&ada), &instance).status, 201);
    let quotas = platform.get("/quota", &ada).json();
    let used = |name: &str| quotas["items"].as_array().unwrap().iter().find(|item| item["resource"] == name).cloned();
    assert_eq!(used("agents").unwrap(), json!({ "resource": "agents", "limit": 5, "used": 1, "reserved": 0 }));
    assert_eq!(used("instances").unwrap()["used"], 1);
    // Of these there is an end where no tier speaks of them, too.
    for (name, limit) in [("api_keys", 100), ("integrations", 50)] {
        assert_eq!(used(name), Some(json!({ "resource": name, "limit": limit, "used": 0, "reserved": 0 })));
    }

    let service = platform.service_account("benches").1;
    let tenant = platform.get("/auth/me", &ada).json()["tenant_id"].as_str().unwrap().to_owned();
    let status = json!({ "status": "disabled" });
    assert_eq!(platform.json("PATCH", &format!("/admin/tenants/{tenant}"), Some(&admin), &status).status, 200);
    let wanted = json!({ "resource": "workbenches", "amount": 1, "tenant_id": tenant });
    assert_eq!(platform.post("/quota/reserve", Some(&service), &wanted).code(), "tenant_disabled");
}

#[test]
fn an_account_has_as_many_keys_as_its_tier_says() {
    let platform = Setup::default()
        .edit(
            "tiers.toml",
            "quotas = { storage_gb = 10, workbenches = 3, agents = 5, instances = 20 }",
            "quotas = { storage_gb = 10, workbenches = 3, api_keys = 2 }",
        )
        .start();
    let ada = token_of(&platform.register("ada@example.com"));
    let make = || platform.post("/auth/api-keys", Some(&ada), &json!({ "name": "a key" }));
    let first = make();
    assert_eq!((first.status, make().status), (201, 201));
    let refused = make();
    assert_eq!((refused.status, refused.code().as_str()), (409, "too_many_keys"));
    assert!(refused.body.contains("may have 2 keys"), "{refused:?}");
    let id = first.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(
        platform
            .send("DELETE", &format!("/auth/api-keys/{id}"), &[("Authorization", &format!("Bearer {ada}"))], "")
            .status
            / 100,
        2
    );
    assert_eq!(make().status, 201);
}
