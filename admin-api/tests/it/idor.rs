//! Nobody reaches what is somebody else's by its id: every operation of the API's document that takes an id (`operations`), tried by
//! callers who own nothing of what they name. Foreign and absent are answered alike, and nothing changes. An operation that is added fails
//! here until it is listed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::{
    house::{House, PASSWORD, Person, Shown},
    mfa::armed,
    operations::{Document, filled},
    passkeys::Browser,
};

/// What nobody has.
const ABSENT: &str = "0190a5a0-0000-7000-8000-00000000000f";

/// The victim's things, by the parameters of paths; the first entry that a path begins with counts.
type Things = Vec<(&'static str, Vec<String>)>;

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// Everything that somebody can have.
async fn things(house: &House, ada: &Person) -> Things {
    let me = house.get("/auth/me", ada.shown()).await.body;
    let (account, tenant) = (text(&me["id"]), text(&me["tenant_id"]));
    let key = house.made("/auth/api-keys", ada.shown(), json!({ "name": "key" })).await;
    let factor = house.get("/auth/mfa", ada.shown()).await.body;
    let factor = text(&factor["items"][0]["id"]);
    let identity = house.get("/auth/identities", ada.shown()).await.body;
    let session = house.get("/auth/sessions", ada.shown()).await.body;
    let asked = format!("/tenants/{tenant}/members");
    let asked = house.made(&asked, ada.shown(), json!({ "email": "somebody@example.com" })).await;
    let team = house.made("/teams", ada.shown(), json!({ "name": "Hers" })).await;
    let domain = house.made("/domains", ada.shown(), json!({ "key": "hers" })).await;
    let agent = house.made("/agents", ada.shown(), json!({ "name": "Hers" })).await;
    house.made(&format!("/agents/{}/publish", text(&agent["id"])), ada.shown(), Value::Null).await;
    let instance = json!({ "agent_id": agent["id"], "name": "Hers", "config": { "key": "secret" } });
    let instance = house.made("/agent-instances", ada.shown(), instance).await;
    let integration = json!({ "service": "openai", "api_key": "sk-0123456789abcdef0123" });
    let integration = house.made("/integrations", ada.shown(), integration).await;
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
        ("/domains/", vec![text(&domain["id"]), account.clone()]),
        ("/admin/users/", vec![account]),
        ("/admin/tenants/", vec![text(&me["tenant_id"])]),
        ("/admin/keys/", vec![text(&key["id"])]),
        ("/admin/sessions/", vec![text(&session["items"][0]["id"])]),
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
        "POST /agents/{id}/publish" => json!({ "audience": "platform" }),
        "POST /teams/{id}/members" => json!({ "account_id": somebody, "role": "member" }),
        "POST /domains/{id}/members" => json!({ "account_id": somebody }),
        "PATCH /billing/statements/{id}" => json!({ "payment_status": "paid" }),
        "PATCH /teams/{id}/members/{account_id}" => json!({ "role": "owner" }),
        "PATCH /admin/users/{id}" => json!({ "role": "user" }),
        "PATCH /admin/tenants/{id}" => json!({ "tier": "pro" }),
        "POST /admin/users/{id}/impersonate" => json!({ "reason": "ticket 8" }),
        "DELETE /admin/users/{id}/mfa" => json!({ "reason": "ticket 8", "password": PASSWORD }),
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
        ("POST /admin/quota/release", "reservation_id", "reservation", Body("/admin/quota/release", json!({}))),
        ("GET /billing/statements", "tenant_id", "tenant", Query("/billing/statements")),
        ("GET /admin/audit", "actor", "account", Query("/admin/audit")),
        ("GET /admin/audit", "subject", "account", Query("/admin/audit")),
        ("GET /admin/keys", "account_id", "account", Query("/admin/keys")),
        ("GET /admin/sessions", "account_id", "account", Query("/admin/sessions")),
        ("POST /auth/token", "client_id", "", No("a credential, with its secret beside it")),
    ]
}

/// The victim: she has an authenticator, and comes from elsewhere too.
async fn victim(house: &House, role: &str) -> Person {
    let ada = house.register("ada@example.com").await;
    let subject = store::ExternalSubject { issuer: "https://acme.test", subject: "ada", claims_at: None };
    house.store.link_external(ada.id, None, subject, None, house.now()).await.unwrap();
    house.change(&ada, store::AccountChange { role: Some(role.to_owned()), ..Default::default() }).await;
    armed(house, ada).await.person
}

/// What they show who have just logged in with a browser.
async fn browser(house: &House, email: &str) -> String {
    let login = json!({ "email": email, "password": PASSWORD, "session": "cookie" });
    let cookie = house.post("/auth/login", Shown::Nothing, login).await.cookie().unwrap();
    cookie.split_once('=').unwrap().1.to_owned()
}

/// What an administrator shows who acts as somebody.
async fn acting_as(house: &House, administrator: &Person, whom: &Person) -> String {
    let path = format!("/admin/users/{}/impersonate", whom.id);
    text(&house.made(&path, administrator.shown(), json!({ "reason": "ticket 7" })).await["access_token"])
}

/// A key of somebody's that may do no more than these.
async fn scoped(house: &House, person: &Person, scopes: Value) -> String {
    text(&house.make_key(person, json!({ "name": "narrow", "scopes": scopes })).await["key"])
}

/// Whose the ids in a path are.
fn ids_of<'a>(things: &'a Things, method: &str, template: &str) -> &'a [String] {
    let listed = things.iter().find(|(prefix, _)| template.starts_with(prefix));
    let Some((_, ids)) = listed else { panic!("{method} {template} is new: list whose its ids are") };
    ids
}

/// Somebody of a tenant that its owner has asked to join it, acts in it.
pub(crate) async fn joined(house: &House, owner: &Person, tenant: &str, email: &str) -> Person {
    let person = house.register(email).await;
    house.change(&person, store::AccountChange { role: Some("developer".to_owned()), ..Default::default() }).await;
    house.confirm(person.id).await;
    let asked = house.made(&format!("/tenants/{tenant}/members"), owner.shown(), json!({ "email": email })).await;
    house.made(&format!("/auth/invitations/{}/accept", text(&asked["id"])), person.shown(), Value::Null).await;
    house.made("/auth/switch-tenant", person.shown(), json!({ "tenant_id": tenant })).await;
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
    house.confirm(eve.id).await;
    house.change(&eve, store::AccountChange { role: Some("developer".to_owned()), ..Default::default() }).await;
    let hers = text(&house.get("/auth/me", eve.shown()).await.body["tenant_id"]);
    let mallory = joined(&house, &eve, &hers, "mallory@example.com").await;
    let key = text(&house.make_key(&eve, json!({ "name": "eve's" })).await["key"]);
    let scopes = json!(["agents:*", "instances:*", "usage:read", "billing:read", "tenants:manage", "users:manage"]);
    let narrow = scoped(&house, &eve, scopes).await;
    let (_, machine) = house.service(Some(hers.parse().unwrap())).await;
    let (_, loner) = house.loner().await;
    let cookie = browser(&house, "eve@example.com").await;
    // An administrator, who could do all of it as themselves.
    let root = house.administrator("root@example.com").await;
    let acting = acting_as(&house, &root, &eve).await;
    let callers = [
        ("a stranger", Shown::Nothing),
        ("an owner elsewhere", eve.shown()),
        ("an owner elsewhere, in a browser", Shown::Credential(&cookie)),
        ("whoever acts as an owner elsewhere", Shown::Credential(&acting)),
        ("a member elsewhere", mallory.shown()),
        ("a key", Shown::Credential(&key)),
        ("a key with scopes", Shown::Credential(&narrow)),
        ("a machine of another tenant's", Shown::Credential(&machine)),
        ("somebody of no tenant", Shown::Credential(&loner)),
    ];

    let document = Document::of(&house).await;
    let others = others(&house, &ada, &things).await;
    let before = seen(&house, &ada, &things).await;
    // Before they have named anything themselves, which is theirs to see again.
    let hers: Vec<&String> = things.iter().flat_map(|(_, ids)| ids).collect();
    for path in document.lists() {
        for (who, shown) in callers {
            let answer = house.get(&path, shown).await;
            let said = answer.body.to_string();
            assert!(![400, 404, 422, 500].contains(&answer.status.as_u16()), "{who}: {path}: {said}");
            assert!(!hers.iter().any(|id| said.contains(*id)), "{who} finds hers in {path}: {said}");
        }
    }
    let mut tried = 0;
    for (method, template) in document.with_ids() {
        let ids = ids_of(&things, &method, &template);
        for caller in callers {
            is_as_good_as_none(&house, caller, (&method, &template), ids, &eve.id.to_string()).await;
            tried += 1;
        }
    }
    assert!(tried > 400, "{tried}");
    let own = |made: &Value| text(&made["id"]);
    let own = [
        ("{own team}", own(&house.made("/teams", eve.shown(), json!({ "name": "Eve's" })).await)),
        ("{own domain}", own(&house.made("/domains", eve.shown(), json!({ "key": "eves-own" })).await)),
    ];
    let listed: BTreeSet<_> = named().iter().map(|(of, id, ..)| ((*of).to_owned(), (*id).to_owned())).collect();
    assert_eq!(document.named(), listed, "an id in a query or a body that is not listed in `named`, or is no more");
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

/// The forms of pages that take an id, and under which path of the API its like are.
const FORMS: [(&str, &str); 9] = [
    ("/account/security/{id}/remove", "/auth/mfa/"),
    ("/account/security/{id}/rename", "/auth/mfa/"),
    ("/account/sessions/{id}/end", "/auth/sessions/"),
    ("/account/keys/{id}/delete", "/auth/api-keys/"),
    ("/account/identities/{id}/unlink", "/auth/identities/"),
    ("/account/identities/{id}/allow", "/auth/identities/"),
    ("/account/organisations/{id}/switch", "/tenants/"),
    ("/account/invitations/{id}/accept", "/auth/invitations/"),
    ("/account/invitations/{id}/decline", "/auth/invitations/"),
];

#[tokio::test]
async fn a_form_opens_no_more_by_an_id_than_the_operation_behind_it() {
    let routed = include_str!("../../src/pages/mod.rs").split('"').filter(|text| text.contains("{id}"));
    let security = include_str!("../../src/pages/security.rs").split('"').filter(|text| text.contains("/{id}/"));
    let routed: BTreeSet<&str> = routed.chain(security).collect();
    assert_eq!(routed, FORMS.map(|(form, _)| form).into(), "list whose its id is");
    let house = House::open().await;
    let ada = victim(&house, "developer").await;
    let things = things(&house, &ada).await;
    let eve = house.register("eve@example.com").await;
    house.confirm(eve.id).await;
    let cookie = browser(&house, "eve@example.com").await;
    let browser = Browser { house: &house, cookie: identity::SessionCookie::parse(&cookie).unwrap() };
    let before = seen(&house, &ada, &things).await;
    for (form, of) in FORMS {
        let id = &ids_of(&things, "POST", of)[0];
        let send = async |id: &str| browser.send("POST", &form.replace("{id}", id), &[("name", "Eve's")]).await;
        let (foreign, absent) = (send(id).await, send(ABSENT).await);
        assert!(foreign.status.is_client_error() && foreign.status != 422, "{form}: {}", foreign.body);
        let said = foreign.body.to_string().replace(id, ABSENT);
        assert_eq!((foreign.status, said), (absent.status, absent.body.to_string()), "{form}");
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
    let scopes = json!(["account:manage", "instances:*", "integrations:*", "usage:read", "users:manage"]);
    let narrow = scoped(&house, &bob, scopes).await;
    let cookie = browser(&house, "bob@example.com").await;
    let root = house.administrator("root@example.com").await;
    let acting = acting_as(&house, &root, &bob).await;
    let (_, machine) = house.service(Some(tenant.parse().unwrap())).await;
    let callers = [
        ("a colleague", bob.shown()),
        ("a colleague in a browser", Shown::Credential(&cookie)),
        ("whoever acts as a colleague", Shown::Credential(&acting)),
        ("a colleague's key", Shown::Credential(&key)),
        ("a colleague's key with scopes", Shown::Credential(&narrow)),
        ("a machine of the organisation's", Shown::Credential(&machine)),
        ("an administrator of the organisation", dora.shown()),
    ];
    let things = things(&house, &ada).await;
    let others = others(&house, &ada, &things).await;
    let before = seen(&house, &ada, &things).await;
    let mut tried = 0;
    for (method, template) in Document::of(&house).await.with_ids() {
        // Who administers an organisation administers no platform.
        if !PERSONAL.iter().chain(&["/admin/"]).any(|prefix| template.starts_with(prefix)) {
            continue;
        }
        let ids = ids_of(&things, &method, &template);
        for caller in callers {
            // An administrator sees and ends instances, whatever they are configured with.
            if template.starts_with("/agent-instances/") && caller.0.starts_with("an administrator") {
                continue;
            }
            is_as_good_as_none(&house, caller, (&method, &template), ids, &bob.id.to_string()).await;
            tried += 1;
        }
    }
    assert!(tried > 150, "{tried}");
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
    for (who, shown) in &callers[..callers.len() - 1] {
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

/// Under which whoever manages users finds those of everybody.
const OF_USERS: [&str; 3] = ["/admin/users/", "/admin/keys/", "/admin/sessions/"];

#[tokio::test]
async fn whoever_manages_users_reads_of_who_may_do_more_and_changes_nothing_of_theirs() {
    let house = House::open().await;
    let ada = victim(&house, "admin").await;
    let things = things(&house, &ada).await;
    let desk = house.register("desk@example.com").await;
    house.change(&desk, store::AccountChange { role: Some("helpdesk".to_owned()), ..Default::default() }).await;
    let key = text(&house.make_key(&desk, json!({ "name": "the desk's" })).await["key"]);
    let narrow = scoped(&house, &desk, json!(["users:manage"])).await;
    let cookie = browser(&house, "desk@example.com").await;
    let root = house.administrator("root@example.com").await;
    let of_root = scoped(&house, &root, json!(["users:manage"])).await;
    let acting = acting_as(&house, &root, &desk).await;
    let (_, platform) = house.service(None).await;
    let callers = [
        ("a help desk", desk.shown()),
        ("a help desk in a browser", Shown::Credential(&cookie)),
        ("whoever acts as a help desk", Shown::Credential(&acting)),
        ("a help desk's key", Shown::Credential(&key)),
        ("a help desk's key with scopes", Shown::Credential(&narrow)),
        ("an administrator's key for users alone", Shown::Credential(&of_root)),
        ("a machine of the platform", Shown::Credential(&platform)),
    ];
    let before = seen(&house, &ada, &things).await;
    let mut tried = 0;
    for (method, template) in Document::of(&house).await.with_ids() {
        let ids = ids_of(&things, &method, &template);
        for (who, shown) in callers {
            tried += 1;
            if who.starts_with("a machine") || !OF_USERS.iter().any(|prefix| template.starts_with(prefix)) {
                is_as_good_as_none(&house, (who, shown), (&method, &template), ids, &desk.id.to_string()).await;
                continue;
            }
            let body = body(&format!("{method} {template}"), &desk.id.to_string());
            let answer = house.call(&method, &filled(&template, ids), shown, body).await;
            let wanted = if method == "GET" { 200 } else { 403 };
            assert_eq!(answer.status, wanted, "{who}: {method} {template} is answered {}", answer.body);
        }
    }
    assert!(tried > 300, "{tried}");
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
        "/auth/me",
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
