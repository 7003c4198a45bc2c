//! Nobody reaches what is somebody else's by its id: every operation of the API's document that takes an id, tried by callers who own
//! nothing of what they name. Foreign and absent are answered alike, and nothing changes. An operation that is added fails here until it
//! is listed.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::house::{House, Person, Shown};

/// What nobody has.
const ABSENT: &str = "0190a5a0-0000-7000-8000-00000000000f";

/// The victim's things, by the parameters of paths; the first entry that a path begins with counts.
type Things = Vec<(&'static str, Vec<String>)>;

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

async fn made(house: &House, person: &Person, path: &str, body: Value) -> Value {
    let answer = house.post(path, person.shown(), body).await;
    assert!(answer.status.is_success(), "{path}: {}", answer.body);
    answer.body
}

/// Everything that somebody can have.
async fn things(house: &House, ada: &Person) -> Things {
    let me = house.get("/auth/me", ada.shown()).await.body;
    let (account, tenant) = (text(&me["id"]), text(&me["tenant_id"]));
    let key = made(house, ada, "/auth/api-keys", json!({ "name": "key" })).await;
    let factor = house.get("/auth/mfa", ada.shown()).await.body;
    let factor = factor["items"][0]["id"].as_str().unwrap_or(ABSENT).to_owned();
    let identity = house.get("/auth/identities", ada.shown()).await.body;
    let session = house.get("/auth/sessions", ada.shown()).await.body;
    let asked = format!("/tenants/{tenant}/members");
    let asked = made(house, ada, &asked, json!({ "email": "somebody@example.com" })).await;
    let team = made(house, ada, "/teams", json!({ "name": "Hers" })).await;
    let domain = made(house, ada, "/domains", json!({ "key": "hers" })).await;
    let agent = made(house, ada, "/agents", json!({ "name": "Hers" })).await;
    made(house, ada, &format!("/agents/{}/publish", text(&agent["id"])), Value::Null).await;
    let instance = json!({ "agent_id": agent["id"], "name": "Hers", "config": { "key": "secret" } });
    let instance = made(house, ada, "/agent-instances", instance).await;
    let integration = json!({ "service": "openai", "api_key": "sk-0123456789abcdef0123" });
    let integration = made(house, ada, "/integrations", integration).await;
    let charge = store::Charge {
        tenant: tenant.parse().unwrap(),
        name: None,
        month: "2026-01".to_owned(),
        tier: "free".to_owned(),
        currency: "USD".to_owned(),
        price: 1,
        due_at: house.now(),
        now: house.now(),
    };
    let statement = house.store.bill(&charge, |_| None).await.unwrap().unwrap().id.to_string();
    vec![
        ("/agents/", vec![text(&agent["id"])]),
        ("/agent-instances/", vec![text(&instance["id"])]),
        ("/integrations/", vec![text(&integration["id"])]),
        ("/billing/statements/", vec![statement]),
        ("/auth/api-keys/", vec![text(&key["id"])]),
        ("/auth/mfa/", vec![factor]),
        ("/auth/identities/", vec![text(&identity["items"][0]["id"])]),
        ("/auth/sessions/", vec![text(&session["items"][0]["id"])]),
        ("/auth/invitations/", vec![text(&asked["id"])]),
        ("/tenants/{id}/invitations/", vec![tenant.clone(), text(&asked["id"])]),
        ("/tenants/", vec![tenant, account.clone()]),
        ("/teams/", vec![text(&team["id"]), account.clone()]),
        ("/domains/", vec![text(&domain["id"]), account]),
    ]
}

/// A body that an operation understands, so that what refuses is whose the thing is.
fn body(operation: &str, somebody: &str) -> Value {
    match operation {
        "POST /tenants/{id}/members" => json!({ "email": "eve@example.org" }),
        "PATCH /tenants/{id}/members/{account_id}" => json!({ "role": "admin" }),
        "PATCH /tenants/{id}"
        | "PATCH /teams/{id}"
        | "PATCH /domains/{id}"
        | "PATCH /agents/{id}"
        | "PATCH /agent-instances/{id}"
        | "PATCH /integrations/{id}"
        | "PATCH /auth/mfa/{id}" => json!({ "name": "Eve's" }),
        "POST /teams/{id}/members" => json!({ "account_id": somebody, "role": "member" }),
        "POST /domains/{id}/members" => json!({ "account_id": somebody }),
        "PATCH /billing/statements/{id}" => json!({ "payment_status": "paid" }),
        "PATCH /teams/{id}/members/{account_id}" => json!({ "role": "owner" }),
        _ => json!({}),
    }
}

/// Ids of others in bodies and queries.
fn named(things: &Things) -> Vec<(&'static str, &'static str, &'static str, Value)> {
    let of = |path: &str| things.iter().find(|(prefix, _)| *prefix == path).map_or(ABSENT, |(_, ids)| &*ids[0]);
    vec![
        ("POST", "/auth/switch-tenant", "tenant_id", json!({ "tenant_id": of("/tenants/") })),
        ("POST", "/agent-instances", "agent_id", json!({ "agent_id": of("/agents/"), "name": "Eve's" })),
        ("POST", "/domains", "parent_domain_id", json!({ "key": "eves", "parent_domain_id": of("/domains/") })),
    ]
}

fn filled(template: &str, ids: &[String]) -> String {
    let mut ids = ids.iter();
    let segments = template.split('/').map(|segment| {
        if !segment.starts_with('{') {
            return segment.to_owned();
        }
        ids.next().unwrap_or_else(|| panic!("{template} has more ids than are listed")).clone()
    });
    segments.collect::<Vec<_>>().join("/")
}

/// Every operation of the document that takes an id and a credential.
async fn operations(house: &House) -> Vec<(String, String)> {
    let document = house.get("/openapi.json", Shown::Nothing).await.body;
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.iter().filter(|(path, _)| path.contains('{') && !path.starts_with("/admin/"));
    let operations = operations.flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter().filter(|(_, operation)| operation["security"].is_array());
        methods.map(|(method, _)| (method.to_uppercase(), path.clone()))
    });
    operations.collect()
}

#[tokio::test]
async fn an_id_of_somebody_else_s_is_answered_as_one_that_nobody_has_and_opens_nothing() {
    let house = House::open().await;
    let ada = house.register("ada@example.com").await;
    let subject = store::ExternalSubject { issuer: "https://acme.test", subject: "ada", claims_at: None };
    house.store.link_external(ada.id, subject, house.now()).await.unwrap();
    house.change(&ada, store::AccountChange { role: Some("admin".to_owned()), ..Default::default() }).await;
    let things = things(&house, &ada).await;
    // An owner of another tenant, a member of that one, and a key.
    let eve = house.register("eve@example.com").await;
    let mallory = house.register("mallory@example.com").await;
    for person in [&eve, &mallory] {
        house.change(person, store::AccountChange { role: Some("developer".to_owned()), ..Default::default() }).await;
    }
    house.store.confirm_account(mallory.id, house.now()).await.unwrap();
    let hers = text(&house.get("/auth/me", eve.shown()).await.body["tenant_id"]);
    let asked =
        made(&house, &eve, &format!("/tenants/{hers}/members"), json!({ "email": "mallory@example.com" })).await;
    made(&house, &mallory, &format!("/auth/invitations/{}/accept", text(&asked["id"])), Value::Null).await;
    made(&house, &mallory, "/auth/switch-tenant", json!({ "tenant_id": hers })).await;
    let key = text(&house.make_key(&eve, json!({ "name": "eve's" })).await["key"]);
    let callers = [
        ("an owner elsewhere", eve.shown()),
        ("a member elsewhere", mallory.shown()),
        ("a key", Shown::Credential(&key)),
    ];

    let before = seen(&house, &ada, &things).await;
    let mut tried = 0;
    for (method, template) in operations(&house).await {
        let listed = things.iter().find(|(prefix, _)| template.starts_with(prefix));
        let Some((_, ids)) = listed else { panic!("{method} {template} is new: list whose its ids are") };
        let parameters = template.matches('{').count();
        let (path, nobodys) = (filled(&template, ids), filled(&template, &vec![ABSENT.to_owned(); parameters]));
        let body = body(&format!("{method} {template}"), &eve.id.to_string());
        for (who, shown) in callers {
            let foreign = house.call(&method, &path, shown, body.clone()).await;
            let absent = house.call(&method, &nobodys, shown, body.clone()).await;
            assert_eq!(
                (foreign.status, &foreign.body["code"], &foreign.body["detail"]),
                (absent.status, &absent.body["code"], &absent.body["detail"]),
                "{who} can tell whether {method} {template} is somebody's"
            );
            assert!(foreign.status.is_client_error(), "{who}: {method} {path} is answered {}", foreign.status);
            tried += 1;
        }
    }
    assert!(tried > 80, "{tried}");
    for (method, path, field, body) in named(&things) {
        let mut absent = body.clone();
        absent[field] = json!(ABSENT);
        for (who, shown) in callers {
            let (foreign, absent) = (
                house.call(method, path, shown, body.clone()).await,
                house.call(method, path, shown, absent.clone()).await,
            );
            assert_eq!(
                (foreign.status, &foreign.body["code"]),
                (absent.status, &absent.body["code"]),
                "{who}: {method} {path}"
            );
            assert!(foreign.status.is_client_error(), "{who}: {method} {path} is answered {}", foreign.status);
        }
    }
    assert_eq!(seen(&house, &ada, &things).await, before, "something of hers has changed");
}

/// What the victim sees of all that she has.
async fn seen(house: &House, ada: &Person, things: &Things) -> BTreeMap<String, Value> {
    let mut seen = BTreeMap::new();
    let lists = [
        "/auth/api-keys",
        "/auth/sessions",
        "/auth/identities",
        "/tenants",
        "/teams/all",
        "/domains/all",
        "/agents",
        "/agent-instances",
        "/integrations",
        "/billing/statements",
    ];
    let mut paths: Vec<String> = lists.iter().map(|path| (*path).to_owned()).collect();
    for (prefix, ids) in things {
        paths.extend(["/tenants/", "/teams/", "/domains/"].contains(prefix).then(|| format!("{prefix}{}", ids[0])));
        paths.extend(
            ["/tenants/", "/teams/", "/domains/"].contains(prefix).then(|| format!("{prefix}{}/members", ids[0])),
        );
    }
    for path in paths {
        let answer = house.get(&path, ada.shown()).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        seen.insert(path, answer.body);
    }
    seen
}
