//! 002, the AI platform: refresh tokens, lockout, sessions, and its `database_setup.py` as commands of the binary.

use serde_json::json;

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
    // "Protected Routes": in front of the service, instead of a decorator in it.
    routes: "\n[[route]]\nname = \"api-protected\"\npaths = [\"/api/protected\"]\nupstream = \"demo\"\n",
};

on_one_and_three!(
    super::DOCUMENT;
    an_account_lives_by_the_documented_calls,
    five_wrong_passwords_lock_the_account_for_half_an_hour,
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
