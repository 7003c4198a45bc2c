//! Another address, an invitation, tokens for services that know people by their addresses, and signs of attack: through the door.

use serde_json::{Value, json};

use crate::{
    mail::{next_mail, token_in},
    pages::{Visitor, hidden},
    platform::{Answer, PASSWORD, PORTCULLIS, Platform, Setup, text},
};

const HERE: [(&str, &str); 3] =
    [("Accept", "text/html"), ("Sec-Fetch-Site", "same-origin"), ("Content-Type", "application/x-www-form-urlencoded")];

#[test]
fn an_account_gets_another_address_and_the_door_hears_of_it_at_once() {
    let platform = Platform::start();
    let ada = text(&platform.register("ada@example.com"), "access_token");
    next_mail(&platform, "Confirm your address");
    let elsewhere = platform.login("ada@example.com");
    assert_eq!(platform.get("/demo/x", &ada).received("x-user-email"), ["ada@example.com"]);
    let body = json!({ "new_email": "ada@new.example", "password": PASSWORD });
    let asked = platform.post("/api/v2/auth/change-email", Some(&ada), &body);
    assert_eq!(asked.status, 202, "{asked:?}");
    let token = token_in(&next_mail(&platform, "Confirm your new address"));
    let changed = platform.post("/auth/confirm-email", None, &json!({ "token": token }));
    assert_eq!((changed.status, &changed.json()["user"]["email"]), (200, &json!("ada@new.example")), "{changed:?}");
    next_mail(&platform, "has another address");
    assert_eq!(platform.get("/demo/x", &ada).received("x-user-email"), ["ada@new.example"], "in the same session");
    assert_eq!(platform.get("/demo/x", &elsewhere).code(), "revoked");
    platform.login("ada@new.example");
    for outcome in ["asked", "ok"] {
        assert_eq!(platform.metric(&format!("portcullis_email_changes_total{{outcome=\"{outcome}\"}}")), 1);
    }
    let root = platform.admin();
    for event in ["change_email", "confirm_email"] {
        let events = platform.get(&format!("/admin/audit?event={event}"), &root).json();
        assert_eq!(events["items"].as_array().unwrap().len(), 1, "{events}");
        assert!(!events.to_string().contains("new.example"), "the trail holds no addresses: {events}");
    }
}

#[test]
fn an_address_is_changed_on_pages_too() {
    let platform = Platform::start();
    platform.register("ada@example.com");
    next_mail(&platform, "Confirm your address");
    let form = format!("email=ada%40example.com&password={PASSWORD}");
    let signed_in = platform.send("POST", "/account/sign-in", &HERE, &form);
    let cookies: Vec<_> = signed_in.headers.iter().filter(|(name, _)| name == "set-cookie").collect();
    let cookies: Vec<_> = cookies.iter().map(|(_, set)| set.split(';').next().unwrap()).collect();
    let cookies = cookies.join("; ");
    let with_cookie = [&HERE[..], &[("Cookie", cookies.as_str())]].concat();
    let page = platform.send("GET", "/account/email", &with_cookie, "");
    assert_eq!(page.status, 200, "{page:?}");
    let csrf = hidden(&page, "csrf");
    let post = |csrf: &str, email: &str, password: &str| {
        let form = format!("csrf={csrf}&new_email={email}&password={password}");
        platform.send("POST", "/account/email", &with_cookie, &form)
    };
    assert_eq!(post("x", "ada%40new.example", PASSWORD).status, 403, "without the token of the form");
    let wrong = post(&csrf, "ada%40new.example", "wrong");
    assert!(wrong.status == 403 && wrong.body.contains("value=\"ada@new.example\""), "{wrong:?}");
    let asked = post(&csrf, "ada%40new.example", PASSWORD);
    assert_eq!((asked.status, asked.header("location")), (303, Some("/account/check-mail")), "{asked:?}");
    let token = token_in(&next_mail(&platform, "Confirm your new address"));
    let page = platform.send("GET", &format!("/account/confirm-email?token={token}"), &HERE[..1], "");
    assert_eq!((page.status, hidden(&page, "token")), (200, token.clone()), "{page:?}");
    let confirmed = platform.send("POST", "/account/confirm-email", &HERE, &format!("token={token}"));
    assert_eq!((confirmed.status, confirmed.header("location")), (303, Some("/account/sign-in?notice=address")));
    platform.login("ada@new.example");
}

#[test]
fn whoever_an_administrator_invites_takes_the_account_over() {
    let platform = Platform::start();
    let root = platform.admin();
    let body = json!({ "email": "ada@example.com", "role": "developer", "invite": true });
    let made = platform.post("/admin/users", Some(&root), &body);
    assert_eq!(made.status, 201, "{made:?}");
    next_mail(&platform, "You are invited");
    let again = format!("/admin/users/{}/invite", text(&made.json(), "id"));
    assert_eq!(platform.post(&again, Some(&root), &json!({})).status, 202);
    let token = token_in(&next_mail(&platform, "You are invited"));
    let page = platform.send("GET", &format!("/account/accept-invite?token={token}"), &HERE[..1], "");
    assert_eq!((page.status, hidden(&page, "token")), (200, token.clone()), "{page:?}");
    let short = platform.send("POST", "/account/accept-invite", &HERE, &format!("token={token}&password=x&name=Ada"));
    assert!(short.status == 422 && short.body.contains("at least 8 characters"), "{short:?}");
    let form = format!("token={token}&password={PASSWORD}&name=Ada");
    let done = platform.send("POST", "/account/accept-invite", &HERE, &form);
    assert_eq!((done.status, done.header("location")), (303, Some("/account/sign-in?notice=accepted")), "{done:?}");
    let ada = platform.login("ada@example.com");
    assert_eq!(platform.get("/demo/developer/x", &ada).status, 200);
    assert_eq!(platform.get("/auth/me", &ada).json()["is_verified"], true);
    let stranger = platform.post("/admin/users", Some(&ada), &body);
    assert_eq!(stranger.code(), "forbidden");
}

#[test]
fn the_first_administrator_chooses_a_password_by_a_link_that_serves_once() {
    let platform = Platform::start();
    let weak = platform.create_admin(Some("short"));
    assert!(!weak.status.success() && String::from_utf8_lossy(&weak.stderr).contains("too weak"), "{weak:?}");
    let link = || {
        let made = platform.create_admin(None);
        assert!(made.status.success(), "{made:?}");
        let said = String::from_utf8(made.stdout).unwrap();
        assert!(!said.contains("password: pc") && said.contains("/account/accept-invite?token="), "{said}");
        said.split("token=").nth(1).unwrap().split_whitespace().next().unwrap().to_owned()
    };
    let (lost, token) = (link(), link());
    let take = |token: &str| {
        platform.post("/auth/accept-invite", None, &json!({ "token": token, "password": crate::platform::PASSWORD }))
    };
    assert_eq!(take(&lost).code(), "invalid_link", "the one before is worth nothing");
    assert_eq!(take(&token).status, 200);
    assert_eq!(take(&token).code(), "invalid_link");
    let root = platform.login("root@example.com");
    assert_eq!(platform.get("/admin/users", &root).status, 200);
    // Whoever has a password keeps it.
    let again = String::from_utf8(platform.create_admin(None).stdout).unwrap();
    assert!(again.contains("password unchanged") && !again.contains("token="), "{again}");
    let again = String::from_utf8(platform.create_admin(Some("another good password")).stdout).unwrap();
    assert!(again.contains("password unchanged") && again.contains("was not used"), "{again}");
}

#[test]
fn the_first_administrators_password_is_the_first_line_of_standard_input_whatever_the_variable_says() {
    let platform = Platform::start();
    let input = platform.folder.path().join("input");
    std::fs::write(&input, format!("{PASSWORD}\r\nand nothing of this\n")).unwrap();
    let mut create = platform.command(&["create-admin", "--email", "root@example.com", "--password-stdin"]);
    create.env("PORTCULLIS_ADMIN_PASSWORD", "another good password").stdin(std::fs::File::open(&input).unwrap());
    let made = create.output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let root = platform.login("root@example.com");
    assert_eq!(platform.get("/admin/users", &root).status, 200);
}

/// The files may name roles and tiers as they like; the command makes no account whose role or tier is none of theirs.
#[test]
fn no_administrator_is_made_of_a_role_or_tier_that_the_configuration_has_not() {
    let renamed = |file: &'static str, kind: &str, name: &str| {
        let setup = Setup::default().edit(file, &format!("[{kind}.{name}]"), &format!("[{kind}.other]"));
        let folder = setup.edit("routes.toml", &format!("\"{name}\""), "\"other\"").folder();
        std::fs::write(folder.path().join("config/cases.toml"), "").unwrap();
        let made = std::process::Command::new(PORTCULLIS)
            .args(["create-admin", "--email", "root@example.com", "--config"])
            .arg(folder.path().join("config"))
            .arg("--data")
            .arg(folder.path().join("data"))
            .env_remove("DATABASE_URL")
            .output()
            .unwrap();
        format!(
            "{:?} {}{}",
            made.status.code().unwrap(),
            String::from_utf8_lossy(&made.stdout),
            String::from_utf8_lossy(&made.stderr).lines().last().unwrap_or_default()
        )
    };
    let role = renamed("roles.toml", "role", "admin");
    assert!(role.starts_with("65 ") && role.ends_with("roles.toml has no role `admin`"), "{role}");
    let tier = renamed("tiers.toml", "tier", "enterprise");
    assert!(tier.starts_with("65 ") && tier.ends_with("tiers.toml has no tier `enterprise`"), "{tier}");
}

#[test]
fn whoever_registers_the_first_administrators_address_before_them_gets_nothing() {
    const CHOSEN: &str = "another good password";
    for password in [None, Some(CHOSEN)] {
        let platform = Platform::start();
        let stranger = platform.register("root@example.com");
        let access = text(&stranger, "access_token");
        let key = platform.post("/auth/api-keys", Some(&access), &json!({ "name": "later" }));
        assert_eq!(key.status, 201, "{key:?}");
        // A friend of theirs answers for the organisation too, and a provider is shown their key.
        let friend = text(&platform.register("mallory@example.com"), "access_token");
        let token = token_in(&next_mail(&platform, "To: mallory@example.com"));
        assert_eq!(platform.post("/auth/verify-email", None, &json!({ "token": token })).status, 200);
        let members = format!("/tenants/{}/members", text(&stranger["user"], "tenant_id"));
        let asked = json!({ "email": "mallory@example.com", "role": "owner" });
        let asked = platform.post(&members, Some(&access), &asked).json();
        let accept = format!("/auth/invitations/{}/accept", text(&asked, "id"));
        assert!(platform.post(&accept, Some(&friend), &json!({})).status < 300);
        let provider = json!({ "service": "openai", "api_key": "sk-openai-of-mallory" });
        assert_eq!(platform.post("/integrations", Some(&access), &provider).status, 201);
        let made = platform.create_admin(password);
        assert!(made.status.success(), "{made:?}");
        let said = String::from_utf8(made.stdout).unwrap();
        assert!(said.contains("nobody had confirmed it"), "{said}");
        // Until somebody has followed the link the account is disabled, which is said first.
        let gone = if password.is_some() { (401, "revoked") } else { (403, "account_disabled") };
        let is_gone = |answer: Answer| (answer.status, &*answer.code()) == gone;
        crate::platform::eventually("the session has ended", || is_gone(platform.get("/auth/me", &access)));
        let shown = platform.get("/demo/x", &text(&key.json(), "key"));
        assert!(matches!(shown.status, 401 | 403), "{shown:?}");
        let log_in = |password: &str| {
            platform.post("/auth/login", None, &json!({ "email": "root@example.com", "password": password }))
        };
        assert_ne!(log_in(crate::platform::PASSWORD).status, 200, "the stranger's");
        if password.is_none() {
            let token = said.split("token=").nth(1).unwrap().split_whitespace().next().unwrap();
            let chosen = json!({ "token": token, "password": CHOSEN });
            assert_eq!(platform.post("/auth/accept-invite", None, &chosen).status, 200);
        }
        let root = text(&log_in(CHOSEN).json(), "access_token");
        assert_eq!(platform.get("/admin/users", &root).status, 200);
        let me = platform.get("/auth/me", &root).json();
        assert_eq!(me["is_verified"], true);
        let members = platform.get(&format!("/tenants/{}/members", text(&me, "tenant_id")), &root).json();
        let members: Vec<_> = members["items"].as_array().unwrap().iter().map(|member| &member["email"]).collect();
        assert_eq!(members, ["root@example.com"]);
        assert_eq!(platform.get("/integrations", &root).json()["items"], json!([]));
    }
}

/// What python-jose and `PyJWT` check who were told a secret and an algorithm, and nothing else: an `aud` that they do not expect they refuse.
#[test]
fn services_that_know_people_by_their_addresses_verify_our_tokens_themselves() {
    use aws_lc_rs::hmac;
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as B64};
    const SECRET: &str = "the secret that old services share, long enough";
    let platform = Setup::default()
        .env("AUTH_JWT_ALGORITHM", "HS256")
        .env("JWT_SECRET_KEY", SECRET)
        .edit(
            "gateway.toml",
            "audience = { env = \"PORTCULLIS_AUDIENCE\", default = \"portcullis\" }",
            "audience = \"\"",
        )
        .edit("gateway.toml", "subject = \"id\" ", "subject = \"email\" ")
        .start();
    let read = |token: &str| -> Value {
        let (message, signature) = token.rsplit_once('.').unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        hmac::verify(&key, message.as_bytes(), &B64.decode(signature).unwrap()).unwrap();
        serde_json::from_slice(&B64.decode(message.split_once('.').unwrap().1).unwrap()).unwrap()
    };
    let registered = platform.register("ada@example.com");
    let claims = read(&text(&registered, "access_token"));
    assert_eq!(claims["sub"], registered["user"]["id"], "it may be somebody else's address: {claims}");
    let token = token_in(&next_mail(&platform, "Confirm your address"));
    assert_eq!(platform.post("/auth/verify-email", None, &json!({ "token": token })).status, 200);
    let refresh = |session: &Value| {
        platform.post("/auth/refresh", None, &json!({ "refresh_token": session["refresh_token"] })).json()
    };
    let confirmed = refresh(&registered);
    let ada = text(&confirmed, "access_token");
    let claims = read(&ada);
    assert_eq!((&claims["sub"], claims.get("aud")), (&json!("ada@example.com"), None), "{claims}");
    assert_eq!(claims["uid"], registered["user"]["id"]);
    assert_eq!(platform.get("/demo/x", &ada).received("x-user-id"), [text(&registered["user"], "id")]);

    // The address moves on, and somebody else gets it: the old token is its first owner's still.
    let body = json!({ "new_email": "ada@new.example", "password": PASSWORD });
    assert_eq!(platform.post("/auth/change-email", Some(&ada), &body).status, 202);
    let token = token_in(&next_mail(&platform, "Confirm your new address"));
    assert_eq!(platform.post("/auth/confirm-email", None, &json!({ "token": token })).status, 200);
    let other = platform.register("ada@example.com");
    assert_eq!(read(&text(&other, "access_token"))["sub"], other["user"]["id"]);
    assert_eq!(platform.get("/demo/x", &ada).received("x-user-email"), ["ada@new.example"]);
    assert_eq!(platform.get("/auth/me", &ada).json()["id"], registered["user"]["id"]);
    assert_eq!(read(&text(&refresh(&confirmed), "access_token"))["sub"], "ada@new.example");
    let looked_at = platform.post("/auth/validate", None, &json!({ "token": ada }));
    assert_eq!(looked_at.json()["user"]["id"], registered["user"]["id"], "{looked_at:?}");
}

#[test]
fn a_secret_that_can_be_guessed_signs_nothing() {
    let setup = Setup::default().env("AUTH_JWT_ALGORITHM", "HS256").env("AUTH_JWT_SECRET_KEY", "your-secret-key");
    let folder = setup.folder();
    let output = setup.command(folder.path(), "127.0.0.1:1".parse().unwrap()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("AUTH_JWT_SECRET_KEY has under 32 bytes"), "{said}");
}

#[test]
fn who_tries_passwords_at_everybody_is_seen_though_no_lock_is_reached() {
    let platform = Setup::default().env("PORTCULLIS_TRUSTED_PROXIES", "127.0.0.1/32").start();
    let fail = |from: &str, email: &str, password: &str| {
        let headers = [("Content-Type", "application/json"), ("X-Forwarded-For", from)];
        let body = json!({ "email": email, "password": password }).to_string();
        assert_eq!(
            platform.send("POST", "/auth/login", &headers, &body).code(),
            "invalid_credentials",
            "{from} {email}"
        );
    };
    let seen = |sign: &str| platform.metric(&format!("portcullis_suspected_stuffing_total{{outcome=\"{sign}\"}}"));
    // One password at many accounts, each from another network.
    for n in 0..9 {
        fail(&format!("198.51.{n}.7"), &format!("person{n}@example.com"), "Summer-2026");
    }
    fail("198.51.0.7", "person0@example.com", "Summer-2026");
    assert_eq!((seen("password"), seen("network")), (0, 0));
    fail("198.51.99.7", "person99@example.com", "Summer-2026");
    assert_eq!((seen("password"), seen("network")), (1, 0));
    // Many accounts from one network, each with another password.
    for n in 0..14 {
        fail("203.0.113.7", &format!("other{n}@example.com"), &format!("Password-{n}-of-theirs"));
    }
    assert_eq!((seen("password"), seen("network")), (1, 0));
    fail("203.0.113.7", "other14@example.com", "Password-14-of-theirs");
    assert_eq!((seen("password"), seen("network")), (1, 1));
    // Registrations and routes are counted for the other alerts.
    platform.register("ada@example.com");
    for outcome in ["begun", "ok"] {
        assert_eq!(platform.metric(&format!("portcullis_registrations_total{{outcome=\"{outcome}\"}}")), 1);
    }
    assert!(platform.metric("portcullis_routes{auth=\"none\"}") > 10);
    assert!(platform.metric("portcullis_routes{auth=\"required\"}") > 10);
}

#[test]
fn resets_and_confirmations_are_counted_for_alerts_as_they_are_asked_for_and_answered() {
    let platform = Platform::start();
    platform.register("ada@example.com");
    let token = token_in(&next_mail(&platform, "Confirm your address"));
    let counted = |of: &str| {
        let outcome = |outcome| platform.metric(&format!("portcullis_{of}_total{{outcome=\"{outcome}\"}}"));
        ["asked", "ok", "refused"].map(outcome)
    };
    let address = json!({ "email": "ada@example.com" });
    let statuses = |path: &str, body: &Value, times: usize| {
        (0..times).map(|_| platform.post(path, None, body).status).collect::<Vec<_>>()
    };
    // Each outcome another number of times.
    assert_eq!(statuses("/auth/resend-verification", &address, 2), [202, 202]);
    assert_eq!(statuses("/auth/verify-email", &json!({ "token": token }), 4), [200, 400, 400, 400]);
    assert_eq!((counted("verifications"), counted("password_resets")), ([2, 1, 3], [0, 0, 0]));

    assert_eq!(statuses("/auth/request-password-reset", &address, 1), [202]);
    let token = token_in(&next_mail(&platform, "A new password for"));
    let body = json!({ "token": token, "new_password": "another good password" });
    assert_eq!(statuses("/auth/reset-password", &body, 3), [200, 400, 400]);
    assert_eq!(statuses("/auth/request-password-reset", &address, 2), [202, 202]);
    assert_eq!((counted("verifications"), counted("password_resets")), ([2, 1, 3], [3, 1, 2]));
}

#[test]
fn whoever_is_deleted_is_out_at_once_with_all_that_the_door_knew_of_them() {
    let platform = Platform::start();
    let root = platform.admin();
    for by_themselves in [true, false] {
        let made = platform.register("ada@example.com");
        let access = text(&made, "access_token");
        let browser = Visitor::signed_in(&platform, "ada@example.com");
        let key = platform.post("/auth/api-keys", Some(&access), &json!({ "name": "ci" }));
        let key = text(&key.json(), "key");
        for shown in [&access, &key] {
            assert_eq!(platform.get("/demo/x", shown).status, 200);
        }
        assert_eq!(browser.get(&platform, "/demo/x").status, 200);
        let (path, by) = if by_themselves {
            ("/auth/me".to_owned(), &access)
        } else {
            (format!("/admin/users/{}", text(&made["user"], "id")), &root)
        };
        let gone = platform.json("DELETE", &path, Some(by), &json!({}));
        assert_eq!(gone.status, 204, "{gone:?}");
        for shown in [&access, &key] {
            let refused = platform.get("/demo/x", shown);
            assert_eq!(refused.status, 401, "{refused:?}");
        }
        assert_eq!(browser.get(&platform, "/demo/x").status, 303, "to sign in");
        let refresh = json!({ "refresh_token": text(&made, "refresh_token") });
        assert_eq!(platform.post("/auth/refresh", None, &refresh).status, 401);
    }
}
