//! No endpoint without a line here that says who may call it, and none of them lets a stranger in.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::house::{House, Shown};

/// Who may call an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    /// Whoever comes.
    Anyone,
    /// Whoever has an account.
    Account,
    /// Whoever has an account whose role may do just that; which roles may, the tests through the door say.
    Permitted,
    /// Whoever may manage users or the configuration, or govern organisations.
    Administrator,
    /// Service accounts alone.
    Service,
}
use Who::{Account, Administrator, Anyone, Permitted, Service};

const ENDPOINTS: [(&str, &str, Who); 130] = [
    ("GET", "/.well-known/jwks.json", Anyone),
    ("POST", "/admin/config/reload", Administrator),
    ("GET", "/admin/audit", Administrator),
    ("GET", "/admin/users", Administrator),
    ("POST", "/admin/users", Administrator),
    ("POST", "/admin/users/{id}/invite", Administrator),
    ("GET", "/admin/users/{id}", Administrator),
    ("PATCH", "/admin/users/{id}", Administrator),
    ("DELETE", "/admin/users/{id}", Administrator),
    ("GET", "/auth/api-keys", Account),
    ("POST", "/auth/api-keys", Account),
    ("DELETE", "/auth/api-keys/{id}", Account),
    ("POST", "/auth/api-keys/{id}/rotate", Account),
    ("POST", "/admin/users/{id}/unlock", Administrator),
    ("POST", "/auth/accept-invite", Anyone),
    ("POST", "/auth/change-email", Account),
    ("POST", "/auth/confirm-email", Anyone),
    ("POST", "/auth/change-password", Account),
    ("DELETE", "/admin/users/{id}/mfa", Administrator),
    ("GET", "/auth/mfa", Account),
    ("DELETE", "/auth/mfa/{id}", Account),
    ("PATCH", "/auth/mfa/{id}", Account),
    ("POST", "/auth/mfa/recovery-codes", Account),
    ("POST", "/auth/mfa/totp", Account),
    ("POST", "/auth/mfa/totp/confirm", Account),
    ("POST", "/auth/mfa/verify", Anyone),
    ("GET", "/auth/oauth/{provider}", Anyone),
    ("GET", "/auth/oauth/{provider}/callback", Anyone),
    ("GET", "/auth/identities", Account),
    ("DELETE", "/auth/identities/{id}", Account),
    ("POST", "/auth/identities/{id}/allow", Account),
    ("POST", "/auth/mfa/passkeys", Account),
    ("POST", "/auth/mfa/passkeys/confirm", Account),
    ("POST", "/auth/mfa/passkeys/options", Anyone),
    ("POST", "/auth/passkey/options", Anyone),
    ("POST", "/auth/passkey/login", Anyone),
    ("POST", "/auth/reauthenticate", Account),
    ("POST", "/auth/reauthenticate/passkey", Account),
    ("POST", "/auth/magic-link", Anyone),
    ("POST", "/auth/magic-link/consume", Anyone),
    ("POST", "/auth/request-password-reset", Anyone),
    ("POST", "/auth/resend-verification", Anyone),
    ("POST", "/auth/reset-password", Anyone),
    ("GET", "/auth/sessions", Account),
    ("DELETE", "/auth/sessions", Account),
    ("DELETE", "/auth/sessions/{id}", Account),
    ("POST", "/auth/verify-email", Anyone),
    ("POST", "/auth/login", Anyone),
    ("POST", "/auth/logout", Account),
    ("GET", "/auth/me", Account),
    ("PATCH", "/auth/me", Account),
    ("DELETE", "/auth/me", Account),
    ("GET", "/auth/me/export", Account),
    ("POST", "/auth/refresh", Anyone),
    ("POST", "/auth/register", Anyone),
    ("POST", "/auth/validate", Anyone),
    ("GET", "/health", Anyone),
    ("POST", "/auth/token", Anyone),
    ("GET", "/tenants", Account),
    ("POST", "/tenants", Account),
    ("GET", "/tenants/{id}", Account),
    ("PATCH", "/tenants/{id}", Account),
    ("DELETE", "/tenants/{id}", Account),
    ("GET", "/tenants/{id}/members", Account),
    ("POST", "/tenants/{id}/members", Account),
    ("PATCH", "/tenants/{id}/members/{account_id}", Account),
    ("DELETE", "/tenants/{id}/members/{account_id}", Account),
    ("GET", "/tenants/{id}/invitations", Account),
    ("DELETE", "/tenants/{id}/invitations/{invitation_id}", Account),
    ("GET", "/auth/invitations", Account),
    ("POST", "/auth/invitations/{id}/accept", Account),
    ("DELETE", "/auth/invitations/{id}", Account),
    ("POST", "/auth/switch-tenant", Account),
    ("GET", "/admin/tenants", Administrator),
    ("GET", "/admin/tenants/{id}", Administrator),
    ("PATCH", "/admin/tenants/{id}", Administrator),
    ("POST", "/admin/users/{id}/impersonate", Administrator),
    ("GET", "/admin/keys", Administrator),
    ("DELETE", "/admin/keys/{id}", Administrator),
    ("GET", "/admin/sessions", Administrator),
    ("DELETE", "/admin/sessions/{id}", Administrator),
    ("GET", "/admin/status", Administrator),
    ("GET", "/admin/limits", Administrator),
    ("GET", "/teams", Account),
    ("GET", "/teams/all", Account),
    ("POST", "/teams", Account),
    ("GET", "/teams/{id}", Account),
    ("PATCH", "/teams/{id}", Account),
    ("DELETE", "/teams/{id}", Account),
    ("GET", "/teams/{id}/members", Account),
    ("POST", "/teams/{id}/members", Account),
    ("PATCH", "/teams/{id}/members/{account_id}", Account),
    ("DELETE", "/teams/{id}/members/{account_id}", Account),
    ("GET", "/domains", Account),
    ("GET", "/domains/all", Account),
    ("POST", "/domains", Account),
    ("GET", "/domains/{id}", Account),
    ("PATCH", "/domains/{id}", Account),
    ("DELETE", "/domains/{id}", Account),
    ("GET", "/domains/{id}/members", Account),
    ("POST", "/domains/{id}/members", Account),
    ("DELETE", "/domains/{id}/members/{account_id}", Account),
    ("GET", "/agents", Permitted),
    ("POST", "/agents", Permitted),
    ("GET", "/agents/{id}", Permitted),
    ("PATCH", "/agents/{id}", Permitted),
    ("DELETE", "/agents/{id}", Permitted),
    ("POST", "/agents/{id}/publish", Permitted),
    ("POST", "/agents/{id}/unpublish", Permitted),
    ("GET", "/agent-instances", Permitted),
    ("POST", "/agent-instances", Permitted),
    ("GET", "/agent-instances/{id}", Permitted),
    ("PATCH", "/agent-instances/{id}", Permitted),
    ("DELETE", "/agent-instances/{id}", Permitted),
    ("GET", "/integrations", Account),
    ("POST", "/integrations", Account),
    ("GET", "/integrations/{id}", Account),
    ("PATCH", "/integrations/{id}", Account),
    ("DELETE", "/integrations/{id}", Account),
    ("GET", "/usage", Account),
    ("POST", "/usage", Service),
    ("GET", "/quota", Account),
    ("POST", "/quota/reserve", Service),
    ("POST", "/quota/commit", Service),
    ("POST", "/quota/release", Service),
    ("POST", "/admin/quota/release", Administrator),
    ("GET", "/billing/statements", Account),
    ("GET", "/billing/statements/{id}", Account),
    ("PATCH", "/billing/statements/{id}", Administrator),
    ("POST", "/billing/webhook", Anyone),
];

/// Ids that nobody has, in the place of every parameter.
fn path_of(endpoint: &str) -> String {
    let segments = endpoint.split('/').map(|segment| match segment {
        "{provider}" => "acme",
        "{id}" => "0190a5a0-0000-7000-8000-000000000000",
        _ if segment.starts_with('{') => "0190a5a0-0000-7000-8000-000000000001",
        literal => literal,
    });
    segments.collect::<Vec<_>>().join("/")
}

/// Every operation of the served document, with whether it asks for a credential.
async fn documented(house: &House) -> BTreeSet<(String, String, bool)> {
    let document = house.get("/openapi.json", Shown::Nothing).await.body;
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter();
        methods.map(|(method, operation)| (method.to_uppercase(), path.clone(), operation["security"].is_array()))
    });
    operations.collect()
}

#[tokio::test]
async fn every_endpoint_is_listed_and_documented_as_what_it_is() {
    let house = House::open().await;
    let listed = ENDPOINTS.map(|(method, path, who)| (method.to_owned(), path.to_owned(), who != Anyone));
    assert_eq!(documented(&house).await, BTreeSet::from(listed));
}

/// Whoever looks for an endpoint finds it by its file's name.
#[test]
fn each_endpoint_has_a_file_of_its_own() {
    for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/routes")).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        // The document does not document itself.
        let endpoints = usize::from(!["mod", "docs"].contains(&name));
        assert_eq!(text.matches("#[utoipa::path(").count(), endpoints, "{name}");
        assert_eq!(text.matches(&format!("pub(crate) async fn {name}(")).count(), endpoints, "{name}");
    }
}

#[tokio::test]
async fn whatever_takes_a_token_takes_a_cookie_and_what_changes_something_a_csrf_token_beside_it() {
    let house = House::open().await;
    let document = house.get("/openapi.json", Shown::Nothing).await.body;
    let scheme = |name: &str| document["components"]["securitySchemes"][name].clone();
    let place = |name: &str| (scheme(name)["in"].clone(), scheme(name)["name"].clone());
    assert_eq!(place("session_cookie"), (json!("cookie"), json!("__Host-portcullis")));
    assert_eq!(place("csrf_token"), (json!("header"), json!("X-CSRF-Token")));
    for (method, path, who) in ENDPOINTS {
        let shown = &document["paths"][path][method.to_lowercase()]["security"];
        let by = |schemes: Value| shown.as_array().is_some_and(|all| all.contains(&schemes));
        let by_cookie = if method == "GET" {
            by(json!({ "session_cookie": [] }))
        } else {
            by(json!({ "csrf_token": [], "session_cookie": [] }))
        };
        assert_eq!(by_cookie, by(json!({ "access_token": [] })), "{method} {path}: {shown}");
        assert!(who == Anyone || !shown.is_null(), "{method} {path}");
    }
}

#[tokio::test]
async fn every_listed_endpoint_exists() {
    let house = House::open().await;
    for (method, path, _) in ENDPOINTS {
        let answer = house.call(method, &path_of(path), Shown::Nothing, Value::Null).await;
        assert!(![404, 405].contains(&answer.status.as_u16()), "{method} {path} is answered {}", answer.status);
    }
}

#[tokio::test]
async fn strangers_are_refused_wherever_an_account_is_needed() {
    let house = House::open().await;
    let person = house.register("ada@example.com").await;
    let id = person.id.to_string();
    let shown = [
        Shown::Nothing,
        Shown::Header("X-User-Id", &id),
        Shown::Header("X-Gateway-Assertion", "garbage"),
        Shown::Header("X-Gateway-Assertion", &person.access),
        Shown::Header("Authorization", &person.access),
    ];
    for (method, path, who) in ENDPOINTS {
        for shown in shown {
            // A body that would be wrong: nothing is read before the caller is known.
            let answer = house.call(method, &path_of(path), shown, json!({ "unknown": 1 })).await;
            assert_eq!(
                answer.status == 401,
                who != Anyone,
                "{method} {path} is answered {}",
                answer.refusal_or_status()
            );
        }
    }
}

#[tokio::test]
async fn only_administrators_may_administer() {
    let house = House::open().await;
    let person = house.register("ada@example.com").await;
    let administrator = house.administrator("root@example.com").await;
    let helpdesk = house.register("desk@example.com").await;
    house.change(&helpdesk, store::AccountChange { role: Some("helpdesk".to_owned()), ..Default::default() }).await;
    // Some of the others end the session that asks.
    let mut endpoints = ENDPOINTS;
    endpoints.sort_by_key(|(_, _, who)| !matches!(who, Administrator | Service));
    for (method, path, who) in endpoints {
        let path = path_of(path);
        let by_person = house.call(method, &path, person.shown(), json!({ "unknown": 1 })).await;
        let by_administrator = house.call(method, &path, administrator.shown(), json!({ "unknown": 1 })).await;
        assert_eq!(
            by_person.status == 403 && who != Permitted,
            matches!(who, Administrator | Service),
            "{method} {path} is answered {}",
            by_person.refusal_or_status()
        );
        assert_eq!(by_administrator.status == 403, who == Service, "{method} {path}");
    }
    // A role that may manage users and nothing else.
    assert_eq!(house.get("/admin/users", helpdesk.shown()).await.status, 200);
    assert_eq!(house.post("/admin/config/reload", helpdesk.shown(), Value::Null).await.refusal(), "403 forbidden");
}
