//! Nobody reaches what is somebody else's by its id: every operation of the API's document that takes an id, tried by callers who own
//! nothing of what they name. Foreign and absent are answered alike, and nothing changes. An operation that is added fails here until it
//! is listed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::{
    house::{House, PASSWORD, Person, Shown},
    mfa::armed,
};

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
    let factor = text(&factor["items"][0]["id"]);
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

/// How an id of somebody else's is tried where it is no part of a path.
enum Ask {
    /// At this path, in whose query it is.
    Query(&'static str),
    /// In this body, at the path that follows, where `{own team}` and `{own domain}` are the caller's.
    Body(&'static str, Value),
    /// Nobody's thing is named: why.
    No(&'static str),
}

/// Every parameter of a query and every member of a body that is an id, by operation and name; whose it is; and how it is asked.
fn named() -> Vec<(&'static str, &'static str, &'static str, Ask)> {
    use Ask::{Body, No, Query};
    let report = || json!({ "service": "claude", "cost": 1 });
    vec![
        ("POST /auth/switch-tenant", "tenant_id", "tenant", Body("/auth/switch-tenant", json!({}))),
        ("POST /agent-instances", "agent_id", "agent", Body("/agent-instances", json!({ "name": "Eve's" }))),
        ("POST /domains", "parent_domain_id", "domain", Body("/domains", json!({ "key": "eves" }))),
        ("PATCH /domains/{id}", "parent_domain_id", "domain", Body("/domains/{own domain}", json!({}))),
        (
            "POST /teams/{id}/members",
            "account_id",
            "account",
            Body("/teams/{own team}/members", json!({ "role": "member" })),
        ),
        ("POST /domains/{id}/members", "account_id", "account", Body("/domains/{own domain}/members", json!({}))),
        ("GET /agents", "tenant_id", "tenant", Query("/agents")),
        ("GET /agent-instances", "tenant_id", "tenant", Query("/agent-instances?all=true")),
        ("GET /usage", "account_id", "account", Query("/usage")),
        ("GET /usage", "tenant_id", "tenant", Query("/usage")),
        ("POST /usage", "account_id", "account", Body("/usage", report())),
        ("POST /usage", "key_id", "key", Body("/usage", report())),
        ("POST /usage", "tenant_id", "tenant", Body("/usage", report())),
        ("POST /usage", "event_id", "", No("each service's own: those of others are others")),
        ("GET /quota", "tenant_id", "tenant", Query("/quota")),
        (
            "POST /quota/reserve",
            "tenant_id",
            "tenant",
            Body("/quota/reserve", json!({ "resource": "workbenches", "amount": 1 })),
        ),
        ("POST /quota/commit", "reservation_id", "reservation", Body("/quota/commit", json!({}))),
        ("POST /quota/release", "reservation_id", "reservation", Body("/quota/release", json!({}))),
        ("GET /billing/statements", "tenant_id", "tenant", Query("/billing/statements")),
        ("GET /admin/keys", "account_id", "account", Query("/admin/keys")),
        ("GET /admin/sessions", "account_id", "account", Query("/admin/sessions")),
        ("POST /auth/token", "client_id", "", No("a credential, with its secret beside it")),
    ]
}

/// Every id of the document that stands in a query or a body: the operation and the id's name.
async fn documented_ids(house: &House) -> BTreeSet<(String, String)> {
    let document = house.get("/openapi.json", Shown::Nothing).await.body;
    let mut found = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = format!("{} {path}", method.to_uppercase());
            let in_query = operation["parameters"].as_array().into_iter().flatten();
            let in_query = in_query.filter(|parameter| parameter["in"] == "query");
            let mut ids: Vec<String> = in_query
                .filter(|parameter| is_id(&text(&parameter["name"]), &parameter["schema"]))
                .map(|parameter| text(&parameter["name"]))
                .collect();
            for (_, content) in operation["requestBody"]["content"].as_object().into_iter().flatten() {
                collect_ids(&document, &content["schema"], &mut ids, 0);
            }
            found.extend(ids.into_iter().map(|id| (name.clone(), id)));
        }
    }
    found
}

fn is_id(name: &str, schema: &Value) -> bool {
    name.ends_with("_id") || name.ends_with("_ids") || schema["format"] == "uuid"
}

/// The ids among a schema's properties, and those within them.
fn collect_ids(document: &Value, schema: &Value, ids: &mut Vec<String>, depth: usize) {
    assert!(depth < 20, "a schema that holds itself");
    if let Some(place) = schema["$ref"].as_str() {
        return collect_ids(document, document.pointer(place.trim_start_matches('#')).unwrap(), ids, depth + 1);
    }
    for word in ["allOf", "oneOf", "anyOf"] {
        for part in schema[word].as_array().into_iter().flatten() {
            collect_ids(document, part, ids, depth + 1);
        }
    }
    collect_ids_of_items(document, schema, ids, depth);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        if is_id(name, property) {
            ids.push(name.clone());
        }
        collect_ids(document, property, ids, depth + 1);
    }
}

fn collect_ids_of_items(document: &Value, schema: &Value, ids: &mut Vec<String>, depth: usize) {
    if schema["items"].is_object() {
        collect_ids(document, &schema["items"], ids, depth + 1);
    }
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

/// The victim: she has an authenticator, and comes from elsewhere too.
async fn victim(house: &House, role: &str) -> Person {
    let ada = house.register("ada@example.com").await;
    let subject = store::ExternalSubject { issuer: "https://acme.test", subject: "ada", claims_at: None };
    house.store.link_external(ada.id, None, subject, None, house.now()).await.unwrap();
    house.change(&ada, store::AccountChange { role: Some(role.to_owned()), ..Default::default() }).await;
    armed(house, ada).await.person
}

/// Somebody of a tenant that its owner has asked to join it, acts in it.
pub(crate) async fn joined(house: &House, owner: &Person, tenant: &str, email: &str) -> Person {
    let person = house.register(email).await;
    house.change(&person, store::AccountChange { role: Some("developer".to_owned()), ..Default::default() }).await;
    house.store.confirm_account(person.id, house.now()).await.unwrap();
    let asked = made(house, owner, &format!("/tenants/{tenant}/members"), json!({ "email": email })).await;
    made(house, &person, &format!("/auth/invitations/{}/accept", text(&asked["id"])), Value::Null).await;
    made(house, &person, "/auth/switch-tenant", json!({ "tenant_id": tenant })).await;
    person
}

/// The victim's thing is answered as one that nobody has, and that not because the request was not understood: then nobody has asked
/// whose it is.
async fn is_as_good_as_none(
    house: &House,
    (who, shown): (&str, Shown<'_>),
    (method, template): (&str, &str),
    ids: &[String],
    somebody: &str,
) {
    let absent = vec![ABSENT.to_owned(); template.matches('{').count()];
    let body = body(&format!("{method} {template}"), somebody);
    let foreign = house.call(method, &filled(template, ids), shown, body.clone()).await;
    let absent = house.call(method, &filled(template, &absent), shown, body).await;
    assert_eq!(
        (foreign.status, &foreign.body["code"], &foreign.body["detail"]),
        (absent.status, &absent.body["code"], &absent.body["detail"]),
        "{who} can tell whether {method} {template} is somebody's"
    );
    let is_understood = ![400, 415, 422].contains(&foreign.status.as_u16());
    assert!(
        foreign.status.is_client_error() && is_understood,
        "{who}: {method} {template} is answered {} {}",
        foreign.status,
        foreign.body
    );
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one house, and everything that is asked of it")]
async fn an_id_of_somebody_else_s_is_answered_as_one_that_nobody_has_and_opens_nothing() {
    let house = House::open().await;
    let ada = victim(&house, "admin").await;
    let things = things(&house, &ada).await;
    // An owner of another tenant, a member of that one, and a key.
    let eve = house.register("eve@example.com").await;
    house.change(&eve, store::AccountChange { role: Some("developer".to_owned()), ..Default::default() }).await;
    let hers = text(&house.get("/auth/me", eve.shown()).await.body["tenant_id"]);
    let mallory = joined(&house, &eve, &hers, "mallory@example.com").await;
    let key = text(&house.make_key(&eve, json!({ "name": "eve's" })).await["key"]);
    let scopes = json!(["agents:*", "instances:*", "usage:read", "billing:read", "tenants:manage"]);
    let narrow = text(&house.make_key(&eve, json!({ "name": "eve's", "scopes": scopes })).await["key"]);
    let (_, machine) = house.service(Some(hers.parse().unwrap())).await;
    let (_, loner) = house.loner().await;
    let browser = json!({ "email": "eve@example.com", "password": PASSWORD, "session": "cookie" });
    let browser = house.post("/auth/login", Shown::Nothing, browser).await.cookie().unwrap();
    let (_, cookie) = browser.split_once('=').unwrap();
    // An administrator, who could do all of it as themselves.
    let root = house.administrator("root@example.com").await;
    let acting = format!("/admin/users/{}/impersonate", eve.id);
    let acting = text(&made(&house, &root, &acting, json!({ "reason": "ticket 7" })).await["access_token"]);
    let callers = [
        ("an owner elsewhere", eve.shown()),
        ("an owner elsewhere, in a browser", Shown::Credential(cookie)),
        ("whoever acts as an owner elsewhere", Shown::Credential(&acting)),
        ("a member elsewhere", mallory.shown()),
        ("a key", Shown::Credential(&key)),
        ("a key with scopes", Shown::Credential(&narrow)),
        ("a machine of another tenant's", Shown::Credential(&machine)),
        ("somebody of no tenant", Shown::Credential(&loner)),
    ];

    let others = others(&house, &ada, &things).await;
    let before = seen(&house, &ada, &things).await;
    let mut tried = 0;
    for (method, template) in operations(&house).await {
        let listed = things.iter().find(|(prefix, _)| template.starts_with(prefix));
        let Some((_, ids)) = listed else { panic!("{method} {template} is new: list whose its ids are") };
        for caller in callers {
            is_as_good_as_none(&house, caller, (&method, &template), ids, &eve.id.to_string()).await;
            tried += 1;
        }
    }
    assert!(tried > 80, "{tried}");
    let own = |made: &Value| text(&made["id"]);
    let own = [
        ("{own team}", own(&made(&house, &eve, "/teams", json!({ "name": "Eve's" })).await)),
        ("{own domain}", own(&made(&house, &eve, "/domains", json!({ "key": "eves-own" })).await)),
    ];
    let listed: BTreeSet<_> = named().iter().map(|(of, id, ..)| ((*of).to_owned(), (*id).to_owned())).collect();
    assert_eq!(
        documented_ids(&house).await,
        listed,
        "an id in a query or a body that is not listed in `named`, or is no more"
    );
    for (operation, field, whose, ask) in named() {
        let hers = others.iter().find(|(name, _)| *name == whose).map_or(ABSENT, |(_, id)| id);
        for (who, shown) in callers {
            let ask = async |id: &str| match &ask {
                Ask::No(why) => {
                    assert!(!why.is_empty(), "{operation}: {field}");
                    None
                }
                Ask::Query(path) => {
                    let joint = if path.contains('?') { '&' } else { '?' };
                    Some(house.get(&format!("{path}{joint}{field}={id}"), shown).await)
                }
                Ask::Body(path, body) => {
                    let path = own.iter().fold((*path).to_owned(), |path, (name, id)| path.replace(name, id));
                    let mut body = body.clone();
                    body[field] = json!(id);
                    Some(house.call(operation.split(' ').next().unwrap(), &path, shown, body).await)
                }
            };
            let (Some(foreign), Some(absent)) = (ask(hers).await, ask(ABSENT).await) else { continue };
            let face = |answer: &crate::house::Answer| {
                if answer.status.is_success() {
                    return (answer.status, answer.body.clone());
                }
                let body = &answer.body;
                (answer.status, json!([body["code"], body["detail"], body["errors"]]))
            };
            assert_eq!(face(&foreign), face(&absent), "{who} can tell by {field} of {operation}");
            // A question may have an empty answer.
            let is_empty = foreign.body["items"].as_array().is_some_and(Vec::is_empty);
            assert!(foreign.status.is_client_error() || is_empty, "{who}: {field} of {operation}: {}", foreign.body);
        }
    }
    assert_eq!(seen(&house, &ada, &things).await, before, "something of hers has changed");
}

/// What is one person's own within an organisation, by the beginnings of paths.
const PERSONAL: [&str; 7] = [
    "/agent-instances/",
    "/auth/api-keys/",
    "/auth/identities/",
    "/auth/invitations/",
    "/auth/mfa/",
    "/auth/sessions/",
    "/integrations/",
];

#[tokio::test]
async fn what_is_one_person_s_own_no_colleague_of_theirs_reaches() {
    let house = House::open().await;
    let ada = victim(&house, "developer").await;
    let tenant = text(&house.get("/auth/me", ada.shown()).await.body["tenant_id"]);
    let bob = joined(&house, &ada, &tenant, "bob@example.com").await;
    let dora = joined(&house, &ada, &tenant, "dora@example.com").await;
    let to = format!("/tenants/{tenant}/members/{}", dora.id);
    assert_eq!(house.call("PATCH", &to, ada.shown(), json!({ "role": "admin" })).await.status, 204);
    let key = text(&house.make_key(&bob, json!({ "name": "bob's" })).await["key"]);
    let (_, machine) = house.service(Some(tenant.parse().unwrap())).await;
    let callers = [
        ("a colleague", bob.shown()),
        ("a colleague's key", Shown::Credential(&key)),
        ("a machine of the organisation's", Shown::Credential(&machine)),
        ("an administrator of the organisation", dora.shown()),
    ];
    let things = things(&house, &ada).await;
    let others = others(&house, &ada, &things).await;
    let before = seen(&house, &ada, &things).await;
    let mut tried = 0;
    for (method, template) in operations(&house).await {
        if !PERSONAL.iter().any(|prefix| template.starts_with(prefix)) {
            continue;
        }
        let (prefix, ids) = things.iter().find(|(prefix, _)| template.starts_with(prefix)).unwrap();
        for caller in callers {
            // An administrator sees and ends instances, whatever they are configured with.
            if *prefix == "/agent-instances/" && caller.0.starts_with("an administrator") {
                continue;
            }
            is_as_good_as_none(&house, caller, (&method, &template), ids, &bob.id.to_string()).await;
            tried += 1;
        }
    }
    assert!(tried > 40, "{tried}");
    let hers: Vec<&String> =
        PERSONAL.iter().flat_map(|of| &things.iter().find(|(prefix, _)| prefix == of).unwrap().1).collect();
    for (who, shown) in callers {
        for list in
            ["/auth/api-keys", "/auth/identities", "/auth/invitations", "/auth/mfa", "/auth/sessions", "/integrations"]
        {
            let listed = house.get(list, shown).await.body.to_string();
            assert!(!hers.iter().any(|id| listed.contains(*id)), "{who} finds hers in {list}: {listed}");
        }
    }
    // What she has used is seen by whoever administers the organisation, and by no other colleague.
    let account = others.iter().find(|(name, _)| *name == "account").map(|(_, id)| id).unwrap();
    for (who, shown) in &callers[..3] {
        let asked = |of: &str| format!("/usage?account_id={of}");
        let (foreign, absent) = (house.get(&asked(account), *shown).await, house.get(&asked(ABSENT), *shown).await);
        assert_eq!((foreign.refusal(), &*absent.refusal()), (absent.refusal(), "404 not_found"), "{who}");
        let all = house.get("/usage?group_by=account", *shown).await;
        assert!(all.status == 200 && !all.body.to_string().contains(account.as_str()), "{who}: {}", all.body);
    }
    let all = house.get("/usage?group_by=account", dora.shown()).await.body;
    assert_eq!(all["items"][0]["account_id"], json!(account), "{all}");
    assert_eq!(seen(&house, &ada, &things).await, before, "something of hers has changed");
}

/// The victim's ids by what they are of.
async fn others(house: &House, ada: &Person, things: &Things) -> Vec<(&'static str, String)> {
    let of = |path: &str| things.iter().find(|(prefix, _)| *prefix == path).unwrap().1[0].clone();
    let tenant = of("/tenants/");
    let (_, platform) = house.service(None).await;
    let wanted = json!({ "resource": "workbenches", "amount": 1, "tenant_id": tenant, "ttl_seconds": 3600 });
    let reserved = house.post("/quota/reserve", Shown::Credential(&platform), wanted).await;
    assert_eq!(reserved.status, 201, "a machine of the platform reserves for any tenant: {}", reserved.body);
    let used = json!({ "service": "claude", "cost": 1, "account_id": ada.id.to_string() });
    let reported = house.post("/usage", Shown::Credential(&platform), used).await;
    assert_eq!(reported.status, 202, "and says what anybody has used: {}", reported.body);
    vec![
        ("tenant", tenant),
        ("account", ada.id.to_string()),
        ("agent", of("/agents/")),
        ("domain", of("/domains/")),
        ("key", of("/auth/api-keys/")),
        ("reservation", text(&reserved.body["reservation_id"])),
    ]
}

/// What the victim sees of all that she has.
async fn seen(house: &House, ada: &Person, things: &Things) -> BTreeMap<String, Value> {
    let mut seen = BTreeMap::new();
    let lists = [
        "/auth/api-keys",
        "/auth/mfa",
        "/auth/sessions",
        "/auth/identities",
        "/tenants",
        "/teams/all",
        "/domains/all",
        "/agents",
        "/agent-instances",
        "/integrations",
        "/billing/statements",
        "/usage",
        "/quota",
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
