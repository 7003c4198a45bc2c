//! The main job, end to end, through the real binary: register, log in, call, be refused, be limited, get a key, log out.

use crate::platform::{Answer, PASSWORD, Platform, Setup, eventually};
use serde_json::json;

#[test]
fn a_new_person_calls_the_service_with_a_token_and_the_service_knows_who_it_is() {
    let platform = Platform::start();
    let registered = platform.register("Ada@Example.com");
    assert_eq!(registered["token_type"], "bearer");
    assert_eq!(registered["expires_in"], 1800);
    let user = &registered["user"];
    let token = platform.login("ada@example.com");

    let answer = platform.get("/demo/hello?x=1", &token);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["path"], "/demo/hello");
    assert_eq!(answer.json()["query"], "x=1");
    assert_eq!(answer.received("x-user-id"), [user["id"].as_str().unwrap()]);
    assert_eq!(answer.received("x-user-email"), ["Ada@Example.com"]);
    assert_eq!(answer.received("x-user-role"), ["user"]);
    assert_eq!(answer.received("x-user-tier"), ["free"]);
    assert_eq!(answer.received("x-auth-method"), ["jwt"]);
    assert_eq!(answer.received("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(answer.received("x-request-id"), [answer.header("x-request-id").unwrap()]);
    assert_eq!(answer.received("authorization"), Vec::<String>::new(), "the credential was meant for the door");
    assert_eq!(answer.received("x-gateway-assertion").len(), 1);
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("server"), None);
}

#[test]
fn an_assertion_is_verifiable_with_the_published_keys_and_meant_for_one_upstream() {
    let platform = Platform::start();
    let token = platform.register("a@example.com")["access_token"].as_str().unwrap().to_owned();
    let first = platform.get("/demo/x", &token).received("x-gateway-assertion");
    let again = platform.get("/demo/y", &token).received("x-gateway-assertion");
    assert_eq!(first, again, "it is minted once and reused");

    let jwks = platform.send("GET", "/.well-known/jwks.json", &[], "");
    assert_eq!(jwks.status, 200, "{jwks:?}");
    let keys = jwks.json()["keys"].as_array().unwrap().clone();
    let kid = part(&first[0], 0)["kid"].clone();
    assert!(keys.iter().any(|key| key["kid"] == kid && key.get("d").is_none()), "{kid} is not in {keys:?}");
    let claims = part(&first[0], 1);
    assert_eq!(claims["aud"], "demo");
    assert_eq!(claims["role"], "user");
    let life = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert!((1..=300).contains(&life), "{claims}");
    // Not a token for the door.
    assert_eq!(platform.get("/demo/x", &first[0]).code(), "invalid_token");
}

/// The header (0) or the claims (1) of a token.
pub(crate) fn part(token: &str, index: usize) -> serde_json::Value {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(index).unwrap()).unwrap()).unwrap()
}

#[test]
fn a_token_is_of_the_issuer_and_for_the_audience_that_the_variables_name_and_counts_for_no_other() {
    let named = |issuer: &str, audience: &str| {
        Setup::default().env("PORTCULLIS_ISSUER", issuer).env("PORTCULLIS_AUDIENCE", audience)
    };
    let (ours, services) = ("https://id.example.com", "services");
    let mut platform = named(ours, services).start();
    let token = platform.register("ada@example.com")["access_token"].as_str().unwrap().to_owned();
    let claims = part(&token, 1);
    assert_eq!((claims["iss"].as_str(), claims["aud"].as_str()), (Some(ours), Some(services)));
    assert_eq!(platform.get("/auth/me", &token).status, 200);
    platform.gateway().signal("TERM");
    assert_eq!(platform.gateway().wait(), Some(0));
    for (issuer, audience, status) in [(ours, services, 200), ("portcullis", services, 401), (ours, "portcullis", 401)]
    {
        let next = named(issuer, audience).start_on(&platform.folder.path().join("data"));
        assert_eq!(next.get("/auth/me", &token).status, status, "{issuer} {audience}");
    }
}

#[test]
fn roles_and_tiers_open_and_close_routes_and_a_change_counts_at_once() {
    let platform = Platform::start();
    let admin = platform.admin();
    let user = platform.register("user@example.com");
    let (token, id) = (user["access_token"].as_str().unwrap(), user["user"]["id"].as_str().unwrap());

    for (path, admin_may, user_may) in [
        ("/demo/public/x", true, true),
        ("/demo/x", true, true),
        ("/demo/developer/x", true, false),
        ("/demo/admin/x", true, false),
        ("/demo/pro/x", true, false),
        ("/admin/users", true, false),
    ] {
        assert_eq!(platform.get(path, &admin).status, if admin_may { 200 } else { 403 }, "admin {path}");
        let answer = platform.get(path, token);
        assert_eq!(answer.status, if user_may { 200 } else { 403 }, "user {path}");
        assert!(user_may || answer.code() == "forbidden", "{answer:?}");
    }
    let answer = platform.get("/demo/developer/x", token);
    assert!(answer.json()["detail"].as_str().unwrap().contains("developer"), "the missing demand is named: {answer:?}");

    let changed = platform.json(
        "PATCH",
        &format!("/admin/users/{id}"),
        Some(&admin),
        &json!({ "role": "developer", "tier": "pro" }),
    );
    assert_eq!(changed.status, 200, "{changed:?}");
    eventually("the new role and tier", || {
        platform.get("/demo/developer/x", token).status == 200 && platform.get("/demo/pro/x", token).status == 200
    });
    assert_eq!(platform.get("/demo/x", token).received("x-user-role"), ["developer"]);
    // No assertion made from the old role is sent on.
    assert_eq!(part(&platform.get("/demo/x", token).received("x-gateway-assertion")[0], 1)["role"], "developer");

    let disabled =
        platform.json("PATCH", &format!("/admin/users/{id}"), Some(&admin), &json!({ "status": "disabled" }));
    assert_eq!(disabled.status, 200, "{disabled:?}");
    eventually("the account to be refused", || platform.get("/demo/x", token).code() == "account_disabled");
}

#[test]
fn the_101st_request_in_a_minute_is_refused_on_the_free_tier_and_logging_out_still_works() {
    let platform = Platform::start();
    let token = platform.register("busy@example.com")["access_token"].as_str().unwrap().to_owned();
    for n in 0..100 {
        let answer = platform.get("/demo/x", &token);
        assert_eq!(answer.status, 200, "request {n}: {answer:?}");
        assert_eq!(answer.header("x-ratelimit-remaining"), Some(&*(99 - n).to_string()));
        assert_eq!(answer.header("x-ratelimit-limit"), Some("100"));
        assert_eq!(answer.header("ratelimit-policy"), Some("\"free-user-minute\";q=100;w=60"));
        let left = format!("\"free-user-minute\";r={};t=", 99 - n);
        let told = answer.header("ratelimit").unwrap();
        let reset: u32 = told.strip_prefix(&left).unwrap_or_else(|| panic!("{told}")).parse().unwrap();
        assert!((1..=60).contains(&reset), "{told}");
    }
    let refused = platform.get("/demo/x", &token);
    assert_eq!((refused.status, refused.code().as_str()), (429, "rate_limited"), "{refused:?}");
    let wait: u32 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=61).contains(&wait), "{wait}");
    assert!(refused.header("ratelimit-policy").unwrap().contains(";q=100;w=60"), "{refused:?}");
    assert!(refused.header("ratelimit").unwrap().contains(";r=0;t="), "{refused:?}");
    let limited = || platform.metric("portcullis_limited_total{limit=\"free-user-minute\"}");
    eventually("it to be counted", || limited() == 1);

    // The auth routes have quotas of their own.
    assert_eq!(platform.get("/auth/me", &token).status, 200);
    assert_eq!(platform.post("/auth/logout", Some(&token), &json!({})).status / 100, 2);
    assert_eq!(platform.get("/demo/public/x", &token).status, 200, "public routes know no tier");
}

#[test]
fn who_asks_what_tokens_are_worth_is_limited_by_address() {
    let platform = Setup::default()
        .edit(
            "routes.toml",
            "{ per = \"ip\", requests = \"6000/minute\" }",
            "{ per = \"ip\", requests = \"3/minute\" }",
        )
        .env("PORTCULLIS_TRUSTED_PROXIES", "127.0.0.1")
        .start();
    let ask = |from: &str, path: &str| {
        let headers = [("Content-Type", "application/json"), ("X-Forwarded-For", from)];
        platform.send("POST", path, &headers, "{ \"token\": \"x.y.z\" }")
    };
    for path in ["/auth/validate", "/api/auth/validate", "/api/v2/auth/validate"] {
        let verdict = ask("192.0.2.1", path);
        assert_eq!((verdict.status, verdict.json()["valid"].as_bool()), (200, Some(false)), "{verdict:?}");
    }
    let refused = ask("192.0.2.1", "/auth/validate");
    assert_eq!((refused.status, refused.code().as_str()), (429, "rate_limited"), "{refused:?}");
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    assert_eq!(ask("192.0.2.2", "/auth/validate").status, 200);
}

#[test]
fn a_key_opens_the_door_until_it_is_revoked() {
    let platform = Platform::start();
    let token = platform.register("keys@example.com")["access_token"].as_str().unwrap().to_owned();
    let made = platform.post("/auth/api-keys", Some(&token), &json!({ "name": "ci", "expires_in_days": 30 }));
    assert_eq!(made.status, 201, "{made:?}");
    let made = made.json();
    let key = made["key"].as_str().unwrap();
    assert!(key.starts_with("pck_") && key.starts_with(made["prefix"].as_str().unwrap()), "{made}");

    for header in [("X-API-Key", key.to_owned()), ("Authorization", format!("Bearer {key}"))] {
        let answer = platform.send("GET", "/demo/x", &[(header.0, &header.1)], "");
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.received("x-auth-method"), ["api_key"]);
        assert!(answer.received("x-api-key").is_empty() && answer.received("authorization").is_empty());
    }
    let listed = platform.get("/auth/api-keys", &token);
    assert!(!listed.body.contains(key), "the key is shown once");

    let id = made["id"].as_str().unwrap();
    assert_eq!(platform.json("DELETE", &format!("/auth/api-keys/{id}"), Some(&token), &json!({})).status, 204);
    eventually("the key to be refused", || platform.get("/demo/x", key).code() == "revoked");
}

#[test]
fn a_key_that_has_just_been_issued_works_although_keys_were_being_guessed() {
    let platform = Platform::start();
    let token = platform.register("new@example.com")["access_token"].as_str().unwrap().to_owned();
    let made = platform.post("/auth/api-keys", Some(&token), &json!({ "name": "one" })).json();
    let key = made["key"].as_str().unwrap();
    // The right id with a wrong secret must not shut out the right one.
    let mut wrong = key.to_owned();
    wrong.replace_range(30..31, if &key[30..31] == "a" { "b" } else { "a" });
    assert_eq!(platform.get("/demo/x", &wrong).code(), "invalid_token");
    assert_eq!(platform.get("/demo/x", key).status, 200);
}

#[test]
fn a_token_is_refused_from_the_answer_of_the_logout_on() {
    let platform = Platform::start();
    let token = platform.register("out@example.com")["access_token"].as_str().unwrap().to_owned();
    assert_eq!(platform.get("/demo/x", &token).status, 200);
    assert_eq!(platform.post("/auth/logout", Some(&token), &json!({})).status / 100, 2);
    assert_eq!(platform.get("/demo/x", &token).code(), "revoked", "from the answer on, not some time after it");
}

#[test]
fn a_refresh_token_serves_again_only_while_two_tabs_race() {
    let platform = Platform::start();
    let first = platform.register("refresh@example.com");
    let refresh = |token: &serde_json::Value| platform.post("/auth/refresh", None, &json!({ "refresh_token": token }));
    let second = refresh(&first["refresh_token"]);
    assert_eq!(second.status, 200, "{second:?}");
    let second = second.json();
    // Two tabs racing within ten seconds are both served.
    let racing = refresh(&first["refresh_token"]);
    assert_eq!(racing.status, 200, "{racing:?}");
    assert_eq!(platform.get("/demo/x", second["access_token"].as_str().unwrap()).status, 200);
    assert_eq!(refresh(&json!("pcr_nonsense")).status, 401);
}

#[test]
fn the_same_calls_work_under_the_paths_of_the_old_systems() {
    let platform = Platform::start();
    for (n, prefix) in ["/auth", "/api/auth", "/api/v2/auth"].into_iter().enumerate() {
        let email = format!("old{n}@example.com");
        let made = platform.post(
            &format!("{prefix}/register"),
            None,
            &json!({ "email": email, "password": PASSWORD, "full_name": "Test User", "tenant_name": "My Company" }),
        );
        assert_eq!(made.status, 201, "{prefix}: {made:?}");
        let token = made.json()["access_token"].as_str().unwrap().to_owned();
        let me = platform.get(&format!("{prefix}/me"), &token);
        assert_eq!(me.status, 200, "{me:?}");
        let me = me.json();
        let me = if me["user"].is_object() { &me["user"] } else { &me };
        assert_eq!((me["full_name"].as_str(), me["name"].as_str()), (Some("Test User"), Some("Test User")));
        assert!(me["tenant_id"].is_string());
        let valid = platform.post(&format!("{prefix}/validate"), None, &json!({ "token": token })).json();
        assert_eq!((valid["valid"].as_bool(), valid["error"].is_null()), (Some(true), true), "{valid}");
    }
}

#[test]
fn public_pages_are_public() {
    let platform = Platform::start();
    for (path, needle) in [("/health", "ok"), ("/openapi.json", "openapi"), ("/healthz", "alive"), ("/readyz", "ready")]
    {
        let answer = platform.send("GET", path, &[], "");
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        assert!(answer.body.contains(needle), "{path}: {answer:?}");
    }
    let docs = platform.send("GET", "/docs/", &[], "");
    assert!(docs.status == 200 && docs.body.contains("<html"), "{docs:?}");
    // A stale token must not break what is public.
    assert_eq!(platform.get("/demo/public/x", "stale.to.ken").status, 200);
}

#[test]
fn an_unknown_path_and_a_missing_credential_are_refused_with_words_that_help() {
    let platform = Platform::start();
    let unknown = platform.send("GET", "/nowhere", &[], "");
    let told = |answer: &Answer| {
        let mut body = answer.json();
        assert!(std::mem::replace(&mut body["request_id"], json!("[id]")).is_string(), "{answer:?}");
        body
    };
    insta::assert_json_snapshot!(told(&unknown), @r#"
    {
      "code": "no_route",
      "detail": "Nothing is exposed at this host and path.",
      "request_id": "[id]",
      "status": 404,
      "title": "Not found",
      "type": "urn:portcullis:problem:no_route"
    }
    "#);
    let missing = platform.send("GET", "/demo/x", &[], "");
    assert_eq!(missing.header("content-type"), Some("application/problem+json"));
    assert_eq!(missing.header("www-authenticate"), Some("Bearer realm=\"portcullis\""));
    insta::assert_json_snapshot!(told(&missing), @r#"
    {
      "code": "missing_credential",
      "detail": "Send `Authorization: Bearer <access token or API key>` or `X-API-Key: <API key>`.",
      "request_id": "[id]",
      "status": 401,
      "title": "Credential required",
      "type": "urn:portcullis:problem:missing_credential"
    }
    "#);
}

#[test]
fn a_platform_keeps_its_people_over_a_restart() {
    let setup = Setup::default();
    let folder = setup.folder();
    let upstream = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let token = {
        let gateway = crate::platform::Running::start(&mut setup.command(folder.path(), upstream), None);
        let body = json!({ "email": "stay@example.com", "password": PASSWORD }).to_string();
        let request = format!(
            "POST /auth/register HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer =
            crate::platform::Answer::parse(&crate::platform::exchange(gateway.address("http"), request.as_bytes()));
        answer.json()["access_token"].as_str().unwrap().to_owned()
    };
    // Killed with -9 by the drop: what was acknowledged stays.
    let gateway = crate::platform::Running::start(&mut setup.command(folder.path(), upstream), None);
    let request =
        format!("GET /auth/me HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n");
    let answer =
        crate::platform::Answer::parse(&crate::platform::exchange(gateway.address("http"), request.as_bytes()));
    assert_eq!(answer.status, 200, "{answer:?}");
}
