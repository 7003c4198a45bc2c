//! 004, AI Orchestrator: its `curl` command lines, permissions in front of a service, and its tiers' limits.

use serde_json::json;

use crate::{
    doors::{Document, Doors, is_person, on_one_and_three, signed_anew, token},
    platform::Answer,
};

const SECRET: &str = "Zt9yQ4mUe7cVb2Xn5Lk8Js1Hg3Fd6Ra0PwOiTqYxZkE";

/// "Step 5: Configure Environment Variables", with keys as "Step 4" makes them. Database and Redis are named where there are three doors.
const DOCUMENT: Document = Document {
    env: &[("JWT_SECRET_KEY", SECRET), ("MASTER_ENCRYPTION_KEY", "wz3kqVZ0c1B8n5Zy2k7m9QpT4sLr6XaUe1Yd3Gf5Hj8=")],
    // "Step 10: Protect Existing Endpoints".
    routes: "\n[[route]]\nname = \"generate\"\nmethods = [\"POST\"]\npaths = [\"/api/generate\"]\nupstream = \"demo\"\n\
             permissions = [\"code:generate\"]\n\
             [[route]]\nname = \"swarm\"\npaths = [\"/api/swarm\"]\nupstream = \"demo\"\nfeatures = [\"swarm-agents\"]\n",
};

on_one_and_three!(
    super::DOCUMENT;
    the_command_lines_of_step_9_work,
    a_token_of_another_secret_or_of_the_past_is_401,
    a_permission_protects_a_service,
    a_tier_is_its_limits_and_its_features,
    a_tier_is_so_much_storage_and_so_many_workbenches,
    a_tenant_is_its_members_and_invisible_to_others,
);

const REGISTER: &str = r#"curl -X POST http://localhost:8080/api/v2/auth/register \
  -H "Content-Type: application/json" \
  -d '{
    "email": "user@example.com",
    "password": "SecurePass123",
    "full_name": "Test User",
    "tenant_name": "My Company"
  }'"#;

const LOGIN: &str = r#"curl -X POST http://localhost:8080/api/v2/auth/login \
  -H "Content-Type: application/json" \
  -d '{
    "email": "user@example.com",
    "password": "SecurePass123"
  }'"#;

fn me(doors: &Doors, authorization: &str) -> Answer {
    doors.curl(&format!(
        r#"curl -X GET http://localhost:8080/api/v2/auth/me \
  -H "Authorization: {authorization}""#
    ))
}

fn the_command_lines_of_step_9_work(doors: &Doors) {
    let registered = doors.curl(REGISTER);
    assert_eq!(registered.status, 201, "{registered:?}");
    let body = registered.json();
    assert!(body["access_token"].as_str().unwrap().starts_with("eyJ") && body["refresh_token"].is_string(), "{body}");
    assert_eq!((&body["token_type"], &body["expires_in"]), (&json!("bearer"), &json!(1800)));

    let login = doors.curl(LOGIN);
    assert_eq!(login.status, 200, "{login:?}");
    let access = token(&login);

    let me = me(doors, &format!("Bearer {access}"));
    assert_eq!(me.status, 200, "{me:?}");
    is_person(&me.json(), "user@example.com");
    assert_eq!((&me.json()["full_name"], &me.json()["tier"]), (&json!("Test User"), &json!("free")));
    assert!(me.json()["tenant_id"].is_string(), "{me:?}");

    let key = doors.curl(&format!(
        r#"curl -X POST http://localhost:8080/api/v2/auth/api-keys \
  -H "Authorization: Bearer {access}" \
  -H "Content-Type: application/json" \
  -d '{{
    "name": "My API Key",
    "expires_in_days": 90
  }}'"#
    ));
    assert_eq!(key.status, 201, "{key:?}");
    let key = key.json();
    assert_eq!(key["name"], "My API Key");
    let time = |field: &str| key[field].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    assert_eq!((time("expires_at") - time("created_at")).num_days(), 90, "{key}");
    let text = key["key"].as_str().unwrap();
    let by_key = doors.call(&format!("GET /api/v2/auth/me\nX-API-Key: {text}"));
    assert_eq!(by_key.json()["email"], "user@example.com", "{by_key:?}");
}

/// "JWT Token Invalid", and "Token Validation Errors" of 002.
fn a_token_of_another_secret_or_of_the_past_is_401(doors: &Doors) {
    let access = token(&doors.curl(REGISTER));
    let signed = |secret: &str, seconds: i64| format!("Bearer {}", signed_anew(&access, secret, seconds));
    assert_eq!(me(doors, &signed(SECRET, 60)).status, 200);
    for (authorization, code) in [
        (signed("another secret of thirty-two bytes", 60), "invalid_token"),
        (signed(SECRET, -60), "expired"),
        (access.clone(), "unsupported_credential"),
    ] {
        let refused = me(doors, &authorization);
        assert_eq!((refused.status, refused.code().as_str()), (401, code), "{refused:?}");
        let challenge = refused.header("www-authenticate");
        assert_eq!(challenge, Some("Bearer realm=\"portcullis\", error=\"invalid_token\""), "{refused:?}");
    }
}

fn a_permission_protects_a_service(doors: &Doors) {
    let access = token(&doors.curl(REGISTER));
    let generate = |more: &str| doors.call(&format!("POST /api/generate\n{more}{{\"prompt\": \"x\"}}"));
    let good = generate(&format!("Authorization: Bearer {access}\n"));
    assert_eq!(good.status, 200, "{good:?}");
    assert_eq!(good.received("x-user-email"), ["user@example.com"]);
    assert_eq!(generate("").status, 401);
    let key = doors.call(&format!(
        "POST /api/v2/auth/api-keys\nAuthorization: Bearer {access}\n{{\"name\": \"reader\", \"scopes\": [\"agents:read\"]}}"
    ));
    let refused = generate(&format!("X-API-Key: {}\n", key.json()["key"].as_str().unwrap()));
    assert_eq!((refused.status, refused.code().as_str()), (403, "forbidden"), "{refused:?}");
    assert!(refused.body.contains("code:generate"), "{refused:?}");
}

/// "Subscription Tiers & Permissions".
fn a_tier_is_its_limits_and_its_features(doors: &Doors) {
    let admin = doors.administrator();
    let registered = doors.curl(REGISTER);
    let (access, id) = (token(&registered), registered.json()["user"]["id"].as_str().unwrap().to_owned());
    for (tier, a_minute, has_swarm_agents) in [
        ("free", Some("100"), false),
        ("developer", Some("500"), false),
        ("pro", Some("2000"), true),
        ("enterprise", None, true),
    ] {
        let changed =
            doors.call(&format!("PATCH /admin/users/{id}\nAuthorization: Bearer {admin}\n{{\"tier\": \"{tier}\"}}"));
        assert_eq!(changed.status, 200, "{changed:?}");
        let swarm = format!("GET /api/swarm\nAuthorization: Bearer {access}");
        doors.becomes(if has_swarm_agents { 200 } else { 403 }, &swarm);
        crate::platform::eventually(tier, || {
            let answer = doors.call(&format!("GET /demo/x\nAuthorization: Bearer {access}"));
            assert_eq!(answer.status, 200, "{answer:?}");
            answer.received("x-user-tier") == [tier] && answer.header("x-ratelimit-limit") == a_minute
        });
    }
}

/// "10 GB storage", "3 concurrent workbenches" and so on: what a tenant has in each tier, and what the service that owns it gives away.
fn a_tier_is_so_much_storage_and_so_many_workbenches(doors: &Doors) {
    let (admin, service) = (doors.administrator(), doors.service_account("workbenches"));
    let owner = doors.curl(REGISTER);
    let (access, tenant) = (token(&owner), owner.json()["user"]["tenant_id"].as_str().unwrap().to_owned());
    let quota = |resource: &str| {
        let quotas = doors.call(&format!("GET /quota\nAuthorization: Bearer {access}")).json();
        let found = quotas["items"].as_array().unwrap().iter().find(|item| item["resource"] == resource).cloned();
        found.unwrap_or_else(|| panic!("{quotas}"))
    };
    let reserve = |resource: &str, amount: u64| {
        let body = json!({ "resource": resource, "amount": amount, "tenant_id": tenant, "ttl_seconds": 600 });
        doors.call(&format!("POST /quota/reserve\nX-API-Key: {service}\n{body}"))
    };
    let does = |path: &str, id: &str| {
        doors.call(&format!("POST {path}\nX-API-Key: {service}\n{{\"reservation_id\": \"{id}\"}}")).status
    };
    for (tier, storage, workbenches) in [
        ("free", Some(10), Some(3)),
        ("developer", Some(50), Some(10)),
        ("pro", Some(200), None),
        ("enterprise", None, None),
    ] {
        let governed = doors
            .call(&format!("PATCH /admin/tenants/{tenant}\nAuthorization: Bearer {admin}\n{{\"tier\": \"{tier}\"}}"));
        assert_eq!(governed.status, 200, "{governed:?}");
        for (resource, limit) in [("storage_gb", storage), ("workbenches", workbenches)] {
            assert_eq!(quota(resource)["limit"], limit.map_or(json!("unlimited"), |limit| json!(limit)), "{tier}");
            let all = reserve(resource, limit.unwrap_or(1_000_000));
            assert_eq!(all.status, 201, "{tier}: {all:?}");
            let id = all.json()["reservation_id"].as_str().unwrap().to_owned();
            assert_eq!(does("/quota/commit", &id), 204);
            assert_eq!(quota(resource)["used"], json!(limit.unwrap_or(1_000_000)), "{tier}");
            let more = reserve(resource, 1);
            assert_eq!(more.status, if limit.is_some() { 409 } else { 201 }, "{tier}: {more:?}");
            if limit.is_some() {
                assert_eq!(more.code(), "quota_exceeded");
            }
            assert_eq!(does("/quota/release", &id), 204);
        }
    }
    let refused = doors.call(&format!(
        "POST /quota/reserve\nAuthorization: Bearer {admin}\n{{\"resource\": \"workbenches\", \"amount\": 1}}"
    ));
    assert_eq!((refused.status, refused.code().as_str()), (403, "forbidden"), "services alone");
}

/// "Multi-tenancy support": who names a tenant founds one, whatever others are called; members come by invitation.
fn a_tenant_is_its_members_and_invisible_to_others(doors: &Doors) {
    let admin = doors.administrator();
    let owner = doors.curl(REGISTER);
    let other = doors.curl(&REGISTER.replace("user@example.com", "other@example.com"));
    let (user, guest) = (token(&owner), token(&other));
    let tenant = owner.json()["user"]["tenant_id"].as_str().unwrap().to_owned();
    assert_ne!(other.json()["user"]["tenant_id"], json!(tenant), "the same name is another tenant");
    let ask = |method: &str, path: &str, by: &str, body: &str| {
        doors.call(&format!("{method} {path}\nAuthorization: Bearer {by}\n{body}"))
    };
    let mine = ask("GET", &format!("/tenants/{tenant}"), &user, "");
    assert_eq!((&mine.json()["name"], &mine.json()["role"]), (&json!("My Company"), &json!("owner")), "{mine:?}");
    for path in [format!("/tenants/{tenant}"), format!("/tenants/{tenant}/members")] {
        assert_eq!(ask("GET", &path, &guest, "").status, 404, "{path}");
    }
    assert_eq!(ask("GET", "/demo/x", &user, "").received("x-tenant-id"), std::slice::from_ref(&tenant));

    for _ in ["user@example.com", "other@example.com"] {
        let mailed = doors.token_in_mail("Confirm your address");
        assert_eq!(doors.call(&format!("POST /auth/verify-email\n{{\"token\": \"{mailed}\"}}")).status, 200);
    }
    let invited = ask("POST", &format!("/tenants/{tenant}/members"), &user, "{\"email\": \"other@example.com\"}");
    assert_eq!(invited.status, 202, "{invited:?}");
    let invitations = ask("GET", "/auth/invitations", &guest, "").json();
    let invitation = invitations["items"][0]["id"].as_str().unwrap_or_else(|| panic!("{invitations}")).to_owned();
    assert_eq!(ask("POST", &format!("/auth/invitations/{invitation}/accept"), &guest, "").status, 200);
    let switch = format!("{{\"tenant_id\": \"{tenant}\"}}");
    let switched = ask("POST", "/api/v2/auth/switch-tenant", &guest, &switch);
    assert_eq!(switched.json()["tenant_id"], json!(tenant), "{switched:?}");
    let members = ask("GET", &format!("/tenants/{tenant}/members"), &guest, "").json();
    assert_eq!(members["items"].as_array().map(Vec::len), Some(2), "{members}");

    // Its tier is that of whoever has none of their own, at once.
    let governed = ask("PATCH", &format!("/admin/tenants/{tenant}"), &admin, "{\"tier\": \"pro\"}");
    assert_eq!(governed.status, 200, "{governed:?}");
    for by in [&user, &guest] {
        crate::platform::eventually("the tenant's tier", || {
            let answer = ask("GET", "/demo/x", by, "");
            answer.received("x-user-tier") == ["pro"] && answer.received("x-tenant-id") == [tenant.clone()]
        });
    }
}
