//! 002, the AI platform: refresh tokens, lockout, sessions, sealed integrations, usage and billing, and its `database_setup.py` as commands
//! of the binary.

use std::fs;

use serde_json::{Value, json};

use crate::{
    doors::{Document, Doors, is_person, on_one_and_three, token},
    platform::Answer,
};

/// "1. Environment Setup". The database is named where it is Postgres.
const DOCUMENT: Document = Document {
    env: &[
        ("JWT_SECRET_KEY", "kW0pI2vQx1eC7sWb5tYz9uLr4nMa6dHj"),
        ("ACCESS_TOKEN_EXPIRE_MINUTES", "30"),
        ("REFRESH_TOKEN_EXPIRE_DAYS", "7"),
        ("ENCRYPTION_MASTER_KEY", "wz3kqVZ0c1B8n5Zy2k7m9QpT4sLr6XaUe1Yd3Gf5Hj8="),
        ("MAX_LOGIN_ATTEMPTS", "5"),
        ("LOCKOUT_DURATION_MINUTES", "30"),
    ],
    // "Protected Routes": in front of the service, instead of a decorator in it. "Retrieve and decrypt API keys": by the door, where the key
    // is sent.
    routes: "\n[[route]]\nname = \"api-protected\"\npaths = [\"/api/protected\"]\nupstream = \"demo\"\n\
             [[route]]\nname = \"claude\"\npaths = [\"/claude/*\"]\nupstream = \"demo\"\n\
             inject_credential = { service = \"claude\", header = \"x-api-key\" }\n",
};

on_one_and_three!(
    super::DOCUMENT;
    an_account_lives_by_the_documented_calls,
    five_wrong_passwords_lock_the_account_for_half_an_hour,
    a_user_s_integration_is_kept_sealed_and_used_by_the_door,
    usage_is_tracked_in_the_documented_words,
    usage_and_billing_records_come_with_their_payment_status,
    the_setup_script_is_commands,
);

const REGISTER: &str = r#"POST /api/auth/register
{
    "email": "user@example.com",
    "password": "securepassword"
}"#;

const LOGIN: &str = r#"POST /api/auth/login
{
    "email": "user@example.com",
    "password": "securepassword"
}"#;

/// "Login, Response".
fn is_session(answer: &Answer) {
    let body = answer.json();
    assert!(body["access_token"].as_str().unwrap().starts_with("eyJ"), "{body}");
    assert!(body["refresh_token"].is_string(), "{body}");
    assert_eq!(body["token_type"], "bearer");
    is_person(&body["user"], "user@example.com");
    assert_eq!(body["user"]["is_verified"], false);
}

fn an_account_lives_by_the_documented_calls(doors: &Doors) {
    let registered = doors.call(REGISTER);
    assert_eq!(registered.status, 201, "{registered:?}");
    is_person(&registered.json()["user"], "user@example.com");

    let login = doors.call(LOGIN);
    assert_eq!(login.status, 200, "{login:?}");
    is_session(&login);
    assert_eq!(login.json()["expires_in"], 1800, "30-minute expiry by default");
    let (access, refresh) = (token(&login), login.json()["refresh_token"].as_str().unwrap().to_owned());

    let me = doors.call(&format!("GET /api/auth/me\nAuthorization: Bearer {access}"));
    assert_eq!(me.status, 200, "{me:?}");
    is_person(&me.json(), "user@example.com");

    let refreshed = doors.call(&format!("POST /api/auth/refresh\n{{\n    \"refresh_token\": \"{refresh}\"\n}}"));
    assert_eq!(refreshed.status, 200, "{refreshed:?}");
    let access = token(&refreshed);

    // `@login_required` in front of the service, which is told who calls.
    let protected = doors.call(&format!("GET /api/protected\nAuthorization: Bearer {access}"));
    assert_eq!(protected.status, 200, "{protected:?}");
    assert_eq!(protected.received("x-user-email"), ["user@example.com"]);
    assert_eq!(json!(protected.received("x-user-id")[0]), me.json()["id"]);
    assert_eq!(doors.call("GET /api/protected").status, 401);

    let changed = doors.call(&format!(
        r#"POST /api/auth/change-password
Authorization: Bearer {access}
{{
    "old_password": "currentpassword",
    "new_password": "newsecurepassword"
}}"#
    ));
    assert_eq!(changed.code(), "wrong_password", "it is not the current one: {changed:?}");
    let changed = doors.call(&format!(
        r#"POST /api/auth/change-password
Authorization: Bearer {access}
{{
    "old_password": "securepassword",
    "new_password": "newsecurepassword"
}}"#
    ));
    assert_eq!(changed.status, 200, "{changed:?}");
    assert_eq!(doors.call(LOGIN).status, 401, "the old password is over");

    let requested = doors.call("POST /api/auth/request-password-reset\n{\n    \"email\": \"user@example.com\"\n}");
    assert_eq!(requested.status, 202, "{requested:?}");
    let mailed = doors.token_in_mail("A new password for");
    let reset = doors.call(&format!(
        r#"POST /api/auth/reset-password
{{
    "token": "{mailed}",
    "new_password": "securepassword"
}}"#
    ));
    assert_eq!(reset.status, 200, "{reset:?}");

    let access = token(&doors.call(LOGIN));
    let logout = doors.call(&format!("POST /api/auth/logout\nAuthorization: Bearer {access}"));
    assert_eq!(logout.status, 200, "{logout:?}");
    doors.becomes(401, &format!("GET /api/auth/me\nAuthorization: Bearer {access}"));
}

fn five_wrong_passwords_lock_the_account_for_half_an_hour(doors: &Doors) {
    assert_eq!(doors.call(REGISTER).status, 201);
    let wrong = LOGIN.replace("securepassword", "not the password");
    for _ in 0..5 {
        assert_eq!(doors.call(&wrong).code(), "invalid_credentials");
    }
    let locked = doors.call(LOGIN);
    assert_eq!((locked.status, locked.code().as_str()), (429, "login_locked"), "{locked:?}");
    let wait: u64 = locked.header("retry-after").unwrap().parse().unwrap();
    assert!((29 * 60..=30 * 60).contains(&wait), "{wait}");
}

/// "Working with User Integrations": `UserIntegration(service_name=CLAUDE, api_key_encrypted=encrypt_api_key("sk-ant-api-key"),
/// status="active")`, and back by `decrypt_api_key`.
fn a_user_s_integration_is_kept_sealed_and_used_by_the_door(doors: &Doors) {
    let access = token(&doors.call(REGISTER));
    let ask = |method: &str, path: &str, body: &str| {
        doors.call(&format!("{method} {path}\nAuthorization: Bearer {access}\n{body}"))
    };
    let made = ask("POST", "/integrations", r#"{"service": "claude", "api_key": "sk-ant-api-key"}"#);
    assert_eq!(made.status, 201, "{made:?}");
    let integration = made.json();
    assert_eq!((&integration["service"], &integration["status"]), (&json!("claude"), &json!("active")));
    let listed = ask("GET", "/integrations", "");
    assert_eq!(listed.json()["items"], json!([integration]), "{listed:?}");
    for answer in [&made, &listed] {
        assert!(!answer.body.contains("sk-ant-api-key"), "it is never read back: {answer:?}");
    }
    let sent = ask("POST", "/claude/v1/messages", "{}");
    assert_eq!((sent.status, sent.received("x-api-key")), (200, vec!["sk-ant-api-key".to_owned()]), "{sent:?}");
    let path = format!("/integrations/{}", integration["id"].as_str().unwrap());
    assert_eq!(ask("PATCH", &path, r#"{"status": "disabled"}"#).json()["status"], "disabled");
    doors.becomes(403, &format!("POST /claude/v1/messages\nAuthorization: Bearer {access}\n{{}}"));
}

/// "Usage Tracking": `UsageTracking(user_id, service=CLAUDE, tokens_used=1500, cost=0.015, model_name="claude-3-opus",
/// request_type="completion")`.
fn usage_is_tracked_in_the_documented_words(doors: &Doors) {
    let service = doors.service_account("claude-worker");
    let registered = doors.call(REGISTER);
    let (access, id) = (token(&registered), registered.json()["user"]["id"].as_str().unwrap().to_owned());
    let body = format!(
        r#"{{"account_id": "{id}", "service": "claude", "tokens_used": 1500, "cost": 0.015, "model_name": "claude-3-opus", "request_type": "completion"}}"#
    );
    let tracked = doors.call(&format!("POST /usage\nX-API-Key: {service}\n{body}"));
    assert_eq!((tracked.status, &tracked.json()["status"]), (202, &json!("accepted")), "{tracked:?}");
    assert_eq!(
        doors.call(&format!("POST /usage\nAuthorization: Bearer {access}\n{body}")).status,
        403,
        "services alone"
    );
    let path = "/usage?group_by=service,model,request_type";
    let seen = || doors.call(&format!("GET {path}\nAuthorization: Bearer {access}")).json()["items"].clone();
    let expected = json!([{
        "service": "claude", "model_name": "claude-3-opus", "request_type": "completion", "requests": 0, "tokens_used": 1500,
        "cost": "0.015",
    }]);
    crate::platform::eventually("the count", || seen() == expected);
}

/// `UsageTracking` and `Billing` as they were there: "Manages billing records and payment status".
fn usage_and_billing_records_come_with_their_payment_status(doors: &Doors) {
    let admin = doors.administrator();
    let folder = tempfile::tempdir().unwrap();
    let hash = bcrypt::hash_with_result("securepassword", 4).unwrap().format_for_version(bcrypt::Version::TwoB);
    // Who was billed there by themselves is a tenant of their own here.
    let file = |name: &str, lines: &[Value]| {
        let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
        fs::write(folder.path().join(name), lines.join("\n")).unwrap();
    };
    file("tenants.jsonl", &[json!({ "id": 1, "name": "user@example.com" })]);
    file("users.jsonl", &[json!({ "id": 1, "email": "user@example.com", "password_hash": hash })]);
    file("members.jsonl", &[json!({ "tenant_id": 1, "user_id": 1, "role": "owner" })]);
    file(
        "usage.jsonl",
        &[json!({
            "id": 1, "tenant_id": 1, "user_id": 1, "service": "claude", "tokens_used": 1500, "cost": 0.015,
            "model_name": "claude-3-opus", "request_type": "completion", "created_at": "2024-05-06T07:08:09Z",
        })],
    );
    let bill = |id: u64, month: &str, status: &str| {
        json!({
            "id": id, "tenant_id": 1, "month": month, "currency": "USD", "price": "29.00", "usage": 0.015, "payment_status": status,
        })
    };
    file("statements.jsonl", &[bill(1, "2024-05", "paid"), bill(2, "2024-06", "open")]);
    for told in ["usage.jsonl: 1 made", "usage.jsonl: 0 made, 1 were here already"] {
        let done = doors.command(&["import", folder.path().to_str().unwrap(), "--system", "ai-platform"]);
        assert!(done.status.success(), "{done:?}");
        assert!(String::from_utf8_lossy(&done.stdout).contains(told), "{done:?}");
    }
    let access = token(&doors.call(LOGIN));
    let ask = |path: &str| doors.call(&format!("GET {path}\nAuthorization: Bearer {access}")).json()["items"].clone();
    let used = ask("/usage?from=2024-05-01&to=2024-05-31&group_by=day,model");
    let expected = json!([{ "day": "2024-05-06", "model_name": "claude-3-opus", "requests": 1, "tokens_used": 1500, "cost": "0.015" }]);
    assert_eq!(used, expected);
    let bills = ask("/billing/statements");
    let of = |place: usize| ["month", "total", "payment_status"].map(|field| bills[place][field].clone());
    assert_eq!(of(0), [json!("2024-05"), json!("29.015"), json!("paid")]);
    // Nobody has paid the other one in time.
    let status = || ask("/billing/statements")[1]["payment_status"].clone();
    assert!(["open", "overdue"].map(Value::from).contains(&status()), "{bills}");
    let path = format!("/billing/statements/{}", bills[1]["id"].as_str().unwrap());
    let paid = doors.call(&format!("PATCH {path}\nAuthorization: Bearer {admin}\n{{\"payment_status\": \"paid\"}}"));
    assert_eq!((paid.status, status()), (200, json!("paid")), "{paid:?}");
}

fn the_setup_script_is_commands(doors: &Doors) {
    let well = |words: &[&str]| {
        let done = doors.command(words);
        assert!(done.status.success(), "{words:?}: {done:?}");
        String::from_utf8(done.stdout).unwrap()
    };
    // `database_setup.py`, `alembic upgrade head`.
    well(&["migrate", "up"]);
    assert!(well(&["migrate", "status"]).lines().all(|line| line.contains("applied 2")));
    // `--create-admin --admin-email admin@example.com`.
    assert!(well(&["create-admin", "--email", "admin@example.com"]).contains("admin@example.com"));
    // `--check-connection`.
    assert!(well(&["check-connection"]).contains("database  ok"));
    // `--reset`, which deletes all data.
    assert!(!doors.command(&["reset"]).status.success(), "not without a second word");
    well(&["reset", "--yes-really"]);
    // `alembic downgrade -1`.
    well(&["migrate", "revert"]);
    assert!(!well(&["migrate", "status"]).lines().last().unwrap().contains("applied 2"));
}
