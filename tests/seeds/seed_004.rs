//! 004, AI Orchestrator: its `curl` command lines, permissions in front of a service, and its tiers' limits.

use serde_json::json;

use crate::doors::{Document, Doors, is_person, on_one_and_three, token};

/// "Step 5: Configure Environment Variables", with keys as "Step 4" makes them. Database and Redis are named where there are three doors.
const DOCUMENT: Document = Document {
    env: &[
        ("JWT_SECRET_KEY", "Zt9yQ4mUe7cVb2Xn5Lk8Js1Hg3Fd6Ra0PwOiTqYxZkE"),
        ("MASTER_ENCRYPTION_KEY", "wz3kqVZ0c1B8n5Zy2k7m9QpT4sLr6XaUe1Yd3Gf5Hj8="),
    ],
    // "Step 10: Protect Existing Endpoints".
    routes: "\n[[route]]\nname = \"generate\"\nmethods = [\"POST\"]\npaths = [\"/api/generate\"]\nupstream = \"demo\"\n\
             permissions = [\"code:generate\"]\n\
             [[route]]\nname = \"swarm\"\npaths = [\"/api/swarm\"]\nupstream = \"demo\"\nfeatures = [\"swarm-agents\"]\n",
};

on_one_and_three!(
    super::DOCUMENT;
    the_command_lines_of_step_9_work,
    a_permission_protects_a_service,
    a_tier_is_its_limits_and_its_features,
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

fn the_command_lines_of_step_9_work(doors: &Doors) {
    let registered = doors.curl(REGISTER);
    assert_eq!(registered.status, 201, "{registered:?}");
    let body = registered.json();
    assert!(body["access_token"].as_str().unwrap().starts_with("eyJ") && body["refresh_token"].is_string(), "{body}");
    assert_eq!((&body["token_type"], &body["expires_in"]), (&json!("bearer"), &json!(1800)));

    let login = doors.curl(LOGIN);
    assert_eq!(login.status, 200, "{login:?}");
    let access = token(&login);

    let me = doors.curl(&format!(
        r#"curl -X GET http://localhost:8080/api/v2/auth/me \
  -H "Authorization: Bearer {access}""#
    ));
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
