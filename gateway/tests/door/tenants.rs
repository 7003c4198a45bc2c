//! Organisations through the door: what upstreams are told of them, at once; and machines, which act by themselves.

use std::process::Command;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::json;

use crate::{
    mail::{next_mail, token_in},
    platform::{Answer, PORTCULLIS, Platform, Setup, eventually},
};

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

fn registered(platform: &Platform, email: &str) -> (String, String) {
    let made = platform.register(email);
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    (text(&made["access_token"]), text(&made["user"]["tenant_id"]))
}

#[test]
fn upstreams_are_told_in_which_organisation_a_caller_acts_and_as_what() {
    let setup = Setup::default().edit("gateway.toml", "\"x-tenant-id\", ", "\"x-tenant-id\", \"x-tenant-role\", ");
    let platform = setup.start();
    let (ada, home) = registered(&platform, "ada@example.com");
    let bearer = format!("Bearer {ada}");
    let seen = platform.send("GET", "/demo/x", &[("Authorization", &bearer), ("X_Tenant_Role", "admin")], "");
    assert_eq!(seen.received("x-tenant-id"), [home]);
    assert_eq!(
        (seen.received("x-tenant-role"), seen.received("x-user-role")),
        (vec!["owner".to_owned()], vec!["user".to_owned()])
    );
    let made = platform.post("/tenants", Some(&ada), &json!({ "name": "Two" })).json();
    let switched = platform.post("/api/v2/auth/switch-tenant", Some(&ada), &json!({ "tenant_id": made["id"] }));
    assert_eq!(switched.status, 200, "{switched:?}");
    assert_eq!(platform.get("/demo/x", &ada).received("x-tenant-id"), [made["id"].as_str().unwrap()]);
}

#[test]
fn a_disabled_organisation_is_refused_at_once_and_served_again_as_soon() {
    let platform = Platform::start();
    let (root, (ada, home)) = (platform.admin(), registered(&platform, "ada@example.com"));
    let set = |status: &str| {
        let path = format!("/admin/tenants/{home}");
        assert_eq!(platform.json("PATCH", &path, Some(&root), &json!({ "status": status })).status, 200);
    };
    assert_eq!(platform.get("/demo/x", &ada).status, 200);
    set("disabled");
    let refused = platform.get("/demo/x", &ada);
    assert_eq!((refused.status, &*refused.code()), (403, "tenant_disabled"));
    set("active");
    assert_eq!(platform.get("/demo/x", &ada).status, 200);
    let path = format!("/admin/tenants/{home}");
    platform.json("PATCH", &path, Some(&root), &json!({ "tier": "pro" }));
    assert_eq!(platform.get("/demo/pro/x", &ada).status, 200, "its tier counts for the members at once");
}

#[test]
fn people_of_a_disabled_organisation_end_their_session_and_do_nothing_else() {
    let platform = Platform::start();
    let (root, (ada, home)) = (platform.admin(), registered(&platform, "ada@example.com"));
    let other = platform.login("ada@example.com");
    let key = platform.post("/auth/api-keys", Some(&ada), &json!({ "name": "key" })).json()["key"].clone();
    let (id, secret) = platform.service_account_in(&home);
    let bought = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
    let bought = platform.send("POST", "/auth/token", &[FORM], &bought).json()["access_token"].clone();
    let set = |status: &str| {
        let path = format!("/admin/tenants/{home}");
        assert_eq!(platform.json("PATCH", &path, Some(&root), &json!({ "status": status })).status, 200);
    };
    set("disabled");
    for (method, path) in [
        ("GET", "/demo/x"),
        ("GET", "/auth/me"),
        ("DELETE", "/auth/sessions"),
        ("POST", "/auth/switch-tenant"),
        ("POST", "/auth/api-keys"),
        ("GET", "/tenants"),
    ] {
        let refused = platform.json(method, path, Some(&ada), &json!({}));
        assert_eq!((refused.status, &*refused.code()), (403, "tenant_disabled"), "{method} {path}");
    }
    let out = |token: &str| platform.post("/api/v2/auth/logout", Some(token), &json!({}));
    assert_eq!(out(key.as_str().unwrap()).code(), "tenant_disabled", "a key has nothing to end");
    assert_eq!(out(bought.as_str().unwrap()).code(), "tenant_disabled", "nor has a machine");
    assert_eq!(out(&ada).status, 200);
    // It is not kept that it was let in, nor does it end twice.
    assert_eq!((out(&ada).code(), platform.get("/demo/x", &ada).code()), ("revoked".to_owned(), "revoked".to_owned()));
    assert_eq!(platform.get("/demo/x", &other).code(), "tenant_disabled");
    set("active");
    assert_eq!(
        (platform.get("/demo/x", &ada).code(), platform.get("/demo/x", &other).status),
        ("revoked".to_owned(), 200)
    );
}

#[test]
fn a_machine_acts_by_its_key_and_by_tokens_that_the_key_buys() {
    let platform = Platform::start();
    let (id, secret) = platform.service_account("reporter");
    let seen = platform.send("GET", "/demo/pro/x", &[("X-API-Key", &secret)], "");
    assert_eq!(
        (seen.received("x-user-id"), seen.received("x-user-role")),
        (vec![id.clone()], vec!["service".to_owned()])
    );
    let buy = |body: &str, headers: &[(&str, &str)]| {
        let headers = [&[FORM][..], headers].concat();
        platform.send("POST", "/auth/token", &headers, body)
    };
    let good = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
    let bought = buy(&good, &[]);
    assert_eq!((bought.status, bought.header("cache-control")), (200, Some("no-store")), "{bought:?}");
    let token = bought.json()["access_token"].as_str().unwrap().to_owned();
    let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("{id}:{secret}")));
    assert_eq!(buy("grant_type=client_credentials", &[("Authorization", &basic)]).status, 200);
    assert_eq!(platform.get("/demo/pro/x", &token).received("x-auth-method"), ["client_credentials"]);
    let as_session = platform.post("/auth/switch-tenant", Some(&token), &json!({ "tenant_id": id }));
    assert_eq!(as_session.status, 403, "it is bought with a key and may what a key may: {as_session:?}");

    let (person, _) = registered(&platform, "ada@example.com");
    let hers = platform.post("/auth/api-keys", Some(&person), &json!({ "name": "hers" })).json();
    let her_id = platform.get("/auth/me", &person).json()["id"].as_str().unwrap().to_owned();
    let hers = hers["key"].as_str().unwrap();
    for (body, headers, status, error) in [
        (format!("grant_type=password&client_id={id}&client_secret={secret}"), None, 400, "unsupported_grant_type"),
        (format!("{good}&scope=admin"), None, 400, "invalid_scope"),
        (format!("{good}&grant_type=client_credentials"), None, 400, "invalid_request"),
        (good.clone(), Some(basic.as_str()), 400, "invalid_request"),
        (format!("grant_type=client_credentials&client_id={id}"), None, 401, "invalid_client"),
        (
            format!("grant_type=client_credentials&client_id={her_id}&client_secret={secret}"),
            None,
            401,
            "invalid_client",
        ),
        (format!("grant_type=client_credentials&client_id={her_id}&client_secret={hers}"), None, 401, "invalid_client"),
        (format!("grant_type=client_credentials&client_id={id}&client_secret={secret}x"), None, 401, "invalid_client"),
        ("grant_type=client_credentials".to_owned(), Some("Basic !"), 401, "invalid_client"),
    ] {
        let headers: Vec<_> = headers.map(|value| ("Authorization", value)).into_iter().collect();
        let refused = buy(&body, &headers);
        assert_eq!((refused.status, refused.json()["error"].as_str()), (status, Some(error)), "{body}: {refused:?}");
    }

    // With the key goes what it has bought.
    let root = platform.admin();
    let keys = platform.get(&format!("/admin/keys?account_id={id}"), &root).json();
    let path = format!("/admin/keys/{}", keys["items"][0]["id"].as_str().unwrap());
    assert_eq!(platform.json("DELETE", &path, Some(&root), &json!({})).status, 204);
    assert_eq!(platform.get("/demo/pro/x", &token).code(), "revoked");
    assert_eq!(platform.send("GET", "/demo/pro/x", &[("X-API-Key", &secret)], "").code(), "revoked");
    assert_eq!(buy(&good, &[]).status, 401);
}

/// A machine's name stands beside those of people, on pages and in logs.
#[test]
fn a_machine_has_a_name_that_people_can_read_or_is_not_made() {
    let folder = Setup::default().folder();
    let create = |name: &str| {
        let mut command = Command::new(PORTCULLIS);
        command.args(["service-account", "create", name, "--config"]).arg(folder.path().join("config"));
        let made = command.arg("--data").arg(folder.path().join("data")).output().unwrap();
        (made.status.code(), String::from_utf8_lossy(&made.stderr).into_owned())
    };
    for (name, why) in [
        (" ", "must not be empty"),
        ("meter\u{9b}31m", "must not contain control characters"),
        ("\u{200b}", "must have a character that can be seen"),
        ("\u{202e}retem", "must not contain characters that turn the direction of writing"),
        (&"x".repeat(101), "must have 100 characters at most"),
    ] {
        let (code, said) = create(name);
        assert_eq!(code, Some(65), "{name:?}: {said}");
        assert!(said.contains(&format!("a service account's name {why}")), "{name:?}: {said}");
    }
    // Of one that can be read the database is what is missing.
    assert_eq!(create("ünï meter").0, Some(69));
}

/// A secret that is lost or has leaked is replaced, and nothing else of the account changes.
#[test]
fn a_machines_secret_is_replaced_and_the_old_one_is_worth_nothing_at_once() {
    let platform = Platform::start();
    let (id, secret) = platform.service_account("reporter");
    let buy = |secret: &str| {
        let form = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
        platform.send("POST", "/auth/token", &[FORM], &form)
    };
    let token = buy(&secret).json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(platform.get("/demo/pro/x", &token).status, 200);
    let command = |id: &str| {
        let mut command = Command::new(PORTCULLIS);
        command.args(["service-account", "key", id, "--config"]).arg(platform.folder.path().join("config"));
        command.arg("--data").arg(platform.folder.path().join("data")).output().unwrap()
    };
    let made = command(&id);
    let said = String::from_utf8(made.stdout).unwrap();
    let fresh = said.lines().find_map(|line| line.strip_prefix("client_secret: ")).unwrap().to_owned();
    assert!(said.contains(&format!("client_id: {id}")) && fresh != secret, "{said}");
    let by = |secret: &str| platform.send("GET", "/demo/pro/x", &[("X-API-Key", secret)], "");
    eventually("the old secret to be refused", || by(&secret).code() == "revoked");
    eventually("what it has bought to end", || platform.get("/demo/pro/x", &token).code() == "revoked");
    assert_eq!((by(&fresh).status, buy(&fresh).status, buy(&secret).status), (200, 200, 401));
    // Of people, and of nobody, there is no such secret.
    let person = platform.register("ada@example.com")["user"]["id"].as_str().unwrap().to_owned();
    for id in [&*person, "0190a5a0-0000-7000-8000-000000000001"] {
        assert_eq!(command(id).status.code(), Some(65), "{id}");
    }
}

/// Else its next secret would be the platform's, which says what anybody used and reserves for them.
#[test]
fn a_machine_of_an_organisation_that_is_gone_gets_no_secret_any_more() {
    let platform = Platform::start();
    let (ada, home) = registered(&platform, "ada@example.com");
    let (id, _) = platform.service_account_in(&home);
    let replace = || platform.command(&["service-account", "key", &id]).output().unwrap();
    assert!(replace().status.success());
    assert_eq!(platform.json("DELETE", &format!("/tenants/{home}"), Some(&ada), &json!({})).status, 204);
    let refused = replace();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(65), "{said}");
    assert!(said.contains("was made for a tenant that is gone"), "{said}");
}

#[test]
fn whoever_acts_as_somebody_is_named_in_the_log_and_acts_no_longer_than_their_own_sessions_go_on() {
    let mut platform = Platform::start();
    let registered = platform.register("ada@example.com");
    let root = platform.admin();
    let path = format!("/admin/users/{}/impersonate", registered["user"]["id"].as_str().unwrap());
    let acting = platform.post(&path, Some(&root), &json!({ "reason": "ticket 7" }));
    assert_eq!(acting.status, 201, "{acting:?}");
    let acting = acting.json()["access_token"].as_str().unwrap().to_owned();
    let (seen, own) = (platform.get("/demo/x", &acting), platform.get("/demo/x", &root));
    assert_eq!(seen.status, 200);
    let by = platform.get("/auth/me", &root).json()["id"].clone();
    assert_eq!(platform.json("DELETE", "/auth/sessions", Some(&root), &json!({})).status, 200);
    assert_eq!(platform.get("/demo/x", &acting).code(), "revoked");
    assert_eq!(platform.get("/demo/x", &root).status, 200);
    platform.gateway().signal("TERM");
    assert_eq!(platform.gateway().wait(), Some(0));
    let log = platform.log();
    let line = |answer: &Answer| -> serde_json::Value {
        let id = answer.header("x-request-id").unwrap();
        serde_json::from_str(log.lines().find(|line| line.contains(id)).unwrap()).unwrap()
    };
    assert_eq!((&line(&seen)["actor"], &line(&seen)["account"]), (&by, &registered["user"]["id"]));
    assert_eq!((&line(&own)["actor"], &line(&own)["account"]), (&serde_json::Value::Null, &by));
}

#[test]
fn what_an_organisation_may_do_together_is_counted_together_and_of_no_other() {
    let route = "[[route]]\nname = \"together\"\npaths = [\"/together\"]\nupstream = \"demo\"\nauth = \"required\"\n\
                 limits = [{ per = \"tenant\", requests = \"3/hour\" }]\ntier_limits = false\n";
    let platform = Setup::default().append("routes.toml", &format!("\n{route}")).start();
    let ((ada, home), (eve, _)) = (registered(&platform, "ada@example.com"), registered(&platform, "eve@example.com"));
    let (bob, own) = registered(&platform, "bob@example.com");
    let token = token_in(&next_mail(&platform, "To: bob@example.com"));
    assert_eq!(platform.post("/auth/verify-email", None, &json!({ "token": token })).status, 200);
    let asked = platform.post(&format!("/tenants/{home}/members"), Some(&ada), &json!({ "email": "bob@example.com" }));
    let accept = format!("/auth/invitations/{}/accept", asked.json()["id"].as_str().unwrap());
    assert!(platform.post(&accept, Some(&bob), &json!({})).status < 300);
    let act_in = |tenant: &str| {
        assert_eq!(platform.post("/auth/switch-tenant", Some(&bob), &json!({ "tenant_id": tenant })).status, 200);
        assert_eq!(platform.get("/demo/x", &bob).received("x-tenant-id"), [tenant]);
    };
    act_in(&home);
    let key = platform.post("/auth/api-keys", Some(&ada), &json!({ "name": "hers" })).json();
    let key = key["key"].as_str().unwrap();
    let (_, machine) = platform.service_account_in(&home);
    // A person, another one of them, and a key each take one.
    for by in [&*ada, &*bob, key] {
        assert_eq!(platform.get("/together", by).status, 200);
    }
    for by in [&*ada, &*bob, key, &*machine] {
        let refused = platform.get("/together", by);
        assert_eq!((refused.status, &*refused.code()), (429, "rate_limited"), "{refused:?}");
    }
    assert_eq!(platform.get("/together", &eve).status, 200, "who belongs to another one");
    act_in(&own);
    assert_eq!(platform.get("/together", &bob).status, 200, "and who acts in another one");
}
