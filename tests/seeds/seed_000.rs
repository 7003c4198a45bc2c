//! 000, the AI agent platform: registration with a confirmed address, a magic link, roles, cookies with CSRF protection. It documents
//! features and no calls; its paths are those of the five documents' table.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as B64};
use serde_json::{Value, json};

use crate::{
    doors::{Document, Doors, is_person, on_one_and_three, token},
    platform::eventually,
};

const DOCUMENT: Document = Document { env: &[], routes: "" };

on_one_and_three!(
    super::DOCUMENT;
    a_user_confirms_the_address_and_logs_in_by_a_magic_link,
    developers_users_and_administrators_may_what_their_role_says,
    a_browser_s_session_is_a_cookie_that_foreign_pages_cannot_use,
    what_happened_is_in_the_audit_trail,
    administrators_oversee_the_platform_and_act_for_others_in_the_open,
    developers_publish_agents_and_users_have_instances_of_their_own,
);

const REGISTER: &str =
    "POST /auth/register\n{\"email\": \"user@example.com\", \"password\": \"Correct-Horse-7\", \"name\": \"Ada\"}";
const LOGIN: &str = "POST /auth/login\n{\"email\": \"user@example.com\", \"password\": \"Correct-Horse-7\"}";

fn a_user_confirms_the_address_and_logs_in_by_a_magic_link(doors: &Doors) {
    let access = token(&doors.call(REGISTER));
    let mailed = doors.token_in_mail("Confirm your address");
    assert_eq!(doors.call(&format!("POST /auth/verify-email\n{{\"token\": \"{mailed}\"}}")).status, 200);
    let me = doors.call(&format!("GET /auth/me\nAuthorization: Bearer {access}"));
    is_person(&me.json(), "user@example.com");
    assert_eq!(me.json()["is_verified"], true);

    // The link serves in the browser that has asked for it.
    let asked = doors.call("POST /auth/magic-link\n{\"email\": \"user@example.com\"}");
    assert_eq!(asked.status, 202, "{asked:?}");
    let cookie = asked.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let mailed = doors.token_in_mail("Your link to log in");
    let consume = format!(
        "POST /auth/magic-link/consume\nContent-Type: application/json\nCookie: {cookie}\n{{\"token\": \"{mailed}\"}}"
    );
    let session = doors.call(&consume);
    is_person(&session.json()["user"], "user@example.com");
    assert_ne!(doors.call(&consume).status, 200, "it serves once");
}

fn developers_users_and_administrators_may_what_their_role_says(doors: &Doors) {
    let admin = doors.administrator();
    let registered = doors.call(REGISTER);
    let (user, id) = (token(&registered), registered.json()["user"]["id"].as_str().unwrap().to_owned());
    let as_user = |path: &str| doors.call(&format!("GET {path}\nAuthorization: Bearer {user}")).status;
    assert_eq!((as_user("/demo/x"), as_user("/demo/developer/x"), as_user("/admin/users")), (200, 403, 403));
    let made =
        doors.call(&format!("PATCH /admin/users/{id}\nAuthorization: Bearer {admin}\n{{\"role\": \"developer\"}}"));
    assert_eq!(made.json()["role"], "developer", "{made:?}");
    doors.becomes(200, &format!("GET /demo/developer/x\nAuthorization: Bearer {user}"));
    assert_eq!(as_user("/admin/users"), 403);
    let users = doors.call(&format!("GET /admin/users\nAuthorization: Bearer {admin}"));
    assert_eq!((users.status, users.json()["items"].as_array().unwrap().len()), (200, 2), "{users:?}");
}

fn a_browser_s_session_is_a_cookie_that_foreign_pages_cannot_use(doors: &Doors) {
    doors.call(REGISTER);
    let login = doors.call(&LOGIN.replace("\"email\"", "\"session\": \"cookie\", \"email\""));
    assert_eq!(login.status, 200, "{login:?}");
    let csrf = login.json()["csrf_token"].as_str().unwrap().to_owned();
    let cookies: Vec<_> = login.headers.iter().filter(|(name, _)| name == "set-cookie").collect();
    let session = cookies.iter().find(|(_, value)| value.starts_with("portcullis=")).unwrap();
    assert!(session.1.contains("HttpOnly") && session.1.contains("SameSite="), "{cookies:?}");
    let cookie = session.1.split(';').next().unwrap();
    let me = doors.call(&format!("GET /auth/me\nCookie: {cookie}"));
    assert_eq!(me.json()["email"], "user@example.com", "{me:?}");
    let post = |more: &str| doors.call(&format!("POST /auth/logout\nCookie: {cookie}\n{more}"));
    assert_eq!(post("Sec-Fetch-Site: cross-site").code(), "csrf");
    assert_eq!(post("Sec-Fetch-Site: same-origin").code(), "csrf", "and not without its token");
    assert_eq!(post(&format!("Sec-Fetch-Site: same-origin\nX-CSRF-Token: {csrf}")).status, 200);
    // "Security headers".
    for (name, value) in [("x-content-type-options", "nosniff"), ("x-frame-options", "DENY")] {
        assert_eq!(me.header(name), Some(value), "{me:?}");
    }
}

fn what_happened_is_in_the_audit_trail(doors: &Doors) {
    let admin = doors.administrator();
    doors.call(REGISTER);
    doors.call(LOGIN);
    assert_eq!(doors.call(&LOGIN.replace("Horse", "Cow")).status, 401);
    for outcome in ["ok", "invalid_credentials"] {
        eventually(outcome, || {
            let path = format!("/admin/audit?event=login&outcome={outcome}");
            let found = doors.call(&format!("GET {path}\nAuthorization: Bearer {admin}")).json();
            found["items"].as_array().is_some_and(|items| !items.is_empty())
        });
    }
    let verified = doors.command(&["audit", "verify"]);
    assert!(verified.status.success(), "{verified:?}");
}

fn administrators_oversee_the_platform_and_act_for_others_in_the_open(doors: &Doors) {
    let admin = doors.administrator();
    let registered = doors.call(REGISTER);
    let (user, id) = (token(&registered), registered.json()["user"]["id"].as_str().unwrap().to_owned());
    let ask = |path: &str, by: &str| doors.call(&format!("GET {path}\nAuthorization: Bearer {by}"));
    for path in ["users", "tenants", "keys", "sessions", "limits", "status"].map(|what| format!("/admin/{what}")) {
        let (seen, refused) = (ask(&path, &admin), ask(&path, &user));
        assert_eq!((seen.status, refused.status), (200, 403), "{path}: {seen:?} {refused:?}");
    }
    let acting = doors.call(&format!(
        "POST /admin/users/{id}/impersonate\nAuthorization: Bearer {admin}\n{{\"reason\": \"they cannot find their agent\"}}"
    ));
    assert_eq!(acting.status, 201, "{acting:?}");
    let acting = token(&acting);
    assert_eq!(ask("/auth/me", &acting).json()["id"], json!(id));
    let assertion = ask("/demo/x", &acting).received("x-gateway-assertion").remove(0);
    let claims: Value = serde_json::from_slice(&B64.decode(assertion.split('.').nth(1).unwrap()).unwrap()).unwrap();
    assert_eq!(claims["sub"], json!(id));
    assert!(claims["act"].is_object(), "the service sees that it is somebody else: {claims}");
    let path = format!("/admin/audit?event=impersonate&subject={id}");
    eventually("the trail to tell it", || {
        ask(&path, &admin).json()["items"].as_array().is_some_and(|items| !items.is_empty())
    });
}

/// "Agent", "AgentInstance": developers create and publish, users browse and have instances of their own.
fn developers_publish_agents_and_users_have_instances_of_their_own(doors: &Doors) {
    let admin = doors.administrator();
    let registered = doors.call(REGISTER);
    let (ada, id) = (token(&registered), registered.json()["user"]["id"].as_str().unwrap().to_owned());
    let made =
        doors.call(&format!("PATCH /admin/users/{id}\nAuthorization: Bearer {admin}\n{{\"role\": \"developer\"}}"));
    assert_eq!(made.status, 200, "{made:?}");
    let ask = |method: &str, path: &str, by: &str, body: &str| {
        doors.call(&format!("{method} {path}\nAuthorization: Bearer {by}\n{body}"))
    };
    eventually("the role to be heard of", || ask("GET", "/agents", &ada, "").status == 200);
    let agent = ask("POST", "/agents", &ada, "{\"name\": \"Writer\", \"description\": \"Writes.\"}");
    assert_eq!(agent.status, 201, "{agent:?}");
    assert_eq!(agent.json()["is_published"], false);
    let agent = agent.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(ask("POST", &format!("/agents/{agent}/publish"), &ada, "").status, 200);
    let listed = ask("GET", "/agents", &ada, "").json();
    assert!(listed["items"].as_array().unwrap().iter().any(|item| item["id"] == json!(agent)), "{listed}");

    let body = format!("{{\"agent_id\": \"{agent}\", \"name\": \"mine\", \"config\": {{\"tone\": \"dry\"}}}}");
    let instance = ask("POST", "/agent-instances", &ada, &body);
    assert_eq!(instance.status, 201, "{instance:?}");
    let path = format!("/agent-instances/{}", instance.json()["id"].as_str().unwrap());
    assert_eq!(ask("GET", &path, &ada, "").json()["config"]["tone"], "dry");
    // Nobody else's, of whatever tenant.
    let stranger = token(&doors.call(&REGISTER.replace("user@example.com", "other@example.com")));
    for path in [path.clone(), format!("/agents/{agent}")] {
        assert_eq!(ask("GET", &path, &stranger, "").status, 404, "{path}");
    }
    assert_eq!(ask("POST", "/agents", &stranger, "{\"name\": \"x\"}").code(), "forbidden", "users create none");
    assert_eq!(ask("DELETE", &path, &ada, "").status, 204);

    // "Browse available agents, create personal agent instances": whoever registers does it of what is published to the platform.
    assert_eq!(ask("GET", "/agents", &stranger, "").json()["items"], json!([]));
    let published = ask("POST", &format!("/agents/{agent}/publish"), &ada, "{\"audience\": \"platform\"}");
    assert_eq!((published.status, &published.json()["audience"]), (200, &json!("platform")), "{published:?}");
    let listed = ask("GET", "/agents", &stranger, "");
    assert_eq!(listed.json()["items"][0]["id"], json!(agent), "{listed:?}");
    assert!(!listed.body.contains('@'), "nothing of its developer's address: {listed:?}");
    assert_eq!(ask("GET", &format!("/agents/{agent}"), &stranger, "").json()["name"], "Writer");
    let instance = ask("POST", "/agent-instances", &stranger, &body);
    assert_eq!(instance.status, 201, "{instance:?}");
    let id = instance.json()["id"].as_str().unwrap().to_owned();
    let path = format!("/agent-instances/{id}");
    assert_eq!(ask("GET", &path, &stranger, "").json()["config"]["tone"], "dry");
    // In front of the service that runs it: its owner, and not who made the agent.
    let served = format!("/demo/instances/{id}/chat");
    assert_eq!([&stranger, &ada].map(|who| ask("GET", &served, who, "").status), [200, 404]);
    assert_eq!(ask("GET", &path, &ada, "").status, 404);
    assert_eq!(ask("DELETE", &format!("/agents/{agent}"), &stranger, "").status, 404);
    assert_eq!(ask("POST", &format!("/agents/{agent}/unpublish"), &ada, "").status, 200);
    assert_eq!(ask("GET", "/agents", &stranger, "").json()["items"], json!([]));
    assert_eq!(ask("GET", &path, &stranger, "").status, 200, "what people have they keep");
    // Every door knows whose it is, and hears that it is gone.
    let served = format!("GET {served}\nAuthorization: Bearer {stranger}");
    doors.becomes(200, &served);
    assert_eq!(ask("DELETE", &path, &stranger, "").status, 204);
    doors.becomes(404, &served);
}
