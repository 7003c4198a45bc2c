//! The second factor and step-up through the door: the binary, its mail, its routes and its caches.

use chrono::{DateTime, TimeDelta, Utc};
use identity::TotpSecret;
use serde_json::{Value, json};

use crate::{
    pages::Visitor,
    platform::{PASSWORD, Platform, Setup, text},
};

const SENSITIVE: &str = "\n[[route]]\nname = \"sensitive\"\npaths = [\"/demo/sensitive/*\"]\nupstream = \"demo\"\nacr = \"mfa\"\nmax_auth_age = \"5m\"\n";
const RECENT: &str =
    "\n[[route]]\nname = \"recent\"\npaths = [\"/demo/recent/*\"]\nupstream = \"demo\"\nmax_auth_age = \"6s\"\n";

/// RFC 4648 §6.
pub(crate) fn from_base32(text: &str) -> TotpSecret {
    let value = |letter: u8| b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".iter().position(|known| *known == letter).unwrap();
    let bits: Vec<bool> =
        text.bytes().map(value).flat_map(|value| (0..5).rev().map(move |bit| value >> bit & 1 == 1)).collect();
    let byte = |bits: &[bool]| bits.iter().fold(0_u8, |byte, bit| byte << 1 | u8::from(*bit));
    TotpSecret::from_slice(&bits.chunks(8).map(byte).collect::<Vec<_>>()).unwrap()
}

/// An account with an authenticator: its session, what the authenticator shows, and the recovery codes.
pub(crate) struct Armed {
    access: String,
    secret: TotpSecret,
    since: DateTime<Utc>,
    pub(crate) recovery: Vec<String>,
}

pub(crate) fn arm(platform: &Platform) -> Armed {
    let access = text(&platform.register("ada@example.com"), "access_token");
    let begun = platform.post("/api/v2/auth/mfa/totp", Some(&access), &json!({}));
    assert_eq!(begun.status, 201, "{begun:?}");
    let (secret, since) = (from_base32(&text(&begun.json(), "secret")), Utc::now());
    let body = json!({ "code": secret.code_at(since) });
    let confirmed = platform.post("/auth/mfa/totp/confirm", Some(&access), &body);
    assert_eq!(confirmed.status, 200, "{confirmed:?}");
    // Whoever has a copy of the token that it was shown with is not raised with its owner.
    assert_eq!(platform.get("/auth/me", &access).code(), "revoked");
    let access = text(&confirmed.json(), "access_token");
    let recovery = confirmed.json()["recovery_codes"].as_array().unwrap().clone();
    let recovery = recovery.iter().map(|code| code.as_str().unwrap().to_owned()).collect();
    Armed { access, secret, since, recovery }
}

impl Armed {
    /// The code after the one that has confirmed it: clocks may be so far ahead.
    pub(crate) fn next_code(&self) -> String {
        self.secret.code_at(self.since + TimeDelta::seconds(30))
    }
}

#[test]
fn an_account_with_an_authenticator_is_asked_for_its_code_and_a_code_serves_once() {
    let platform = Platform::start();
    let ada = arm(&platform);
    let login = json!({ "email": "ada@example.com", "password": PASSWORD });
    let asked = platform.post("/auth/login", None, &login);
    assert_eq!((asked.status, asked.code().as_str()), (403, "mfa_required"), "{asked:?}");
    assert_eq!(asked.header("content-type"), Some("application/problem+json"));
    let token = text(&asked.json(), "mfa_token");
    // It opens nothing by itself.
    assert_eq!(platform.get("/demo/x", &token).code(), "invalid_token");
    let verify = |token: &str, code: &str| {
        platform.post("/api/auth/mfa/verify", None, &json!({ "mfa_token": token, "code": code }))
    };
    assert_eq!(verify(&token, &ada.secret.code_at(ada.since)).code(), "invalid_code", "it has confirmed");
    let session = verify(&token, &ada.next_code());
    assert_eq!(session.status, 200, "{session:?}");
    assert_eq!(platform.get("/demo/x", &text(&session.json(), "access_token")).status, 200);

    let token = text(&platform.post("/auth/login", None, &login).json(), "mfa_token");
    assert_eq!(verify(&token, &ada.next_code()).code(), "invalid_code", "a code serves once");
    let recovery = json!({ "mfa_token": token, "recovery_code": ada.recovery[3] });
    assert_eq!(platform.post("/auth/mfa/verify", None, &recovery).status, 200);
    let listed = platform.get("/auth/mfa", &ada.access).json();
    assert_eq!(listed["recovery_codes_left"], 9, "{listed}");
    assert_eq!(platform.metric("portcullis_logins_total{outcome=\"mfa_required\"}"), 2);

    let path = format!("/auth/mfa/{}", listed["items"][0]["id"].as_str().unwrap());
    let gone = platform.json("DELETE", &path, Some(&ada.access), &json!({ "recovery_code": ada.recovery[4] }));
    assert_eq!(gone.status, 204, "{gone:?}");
    platform.login("ada@example.com");
}

#[test]
fn a_route_may_demand_a_second_factor_and_api_keys_never_meet_it() {
    let platform = Setup::default().append("routes.toml", SENSITIVE).start();
    let eve = text(&platform.register("eve@example.com"), "access_token");
    let refused = platform.get("/demo/sensitive/x", &eve);
    assert_eq!((refused.status, refused.code().as_str()), (401, "insufficient_user_authentication"), "{refused:?}");
    assert_eq!(
        refused.header("www-authenticate"),
        Some(
            "Bearer realm=\"portcullis\", error=\"insufficient_user_authentication\", acr_values=\"mfa\", max_age=\"300\""
        )
    );
    assert_eq!(platform.get("/demo/x", &eve).status, 200);

    let ada = arm(&platform);
    // The session that has shown the authenticator's first code has shown two factors; the door's cache has heard of it.
    assert_eq!(platform.get("/demo/sensitive/x", &ada.access).status, 200);
    let key = platform.post("/auth/api-keys", Some(&ada.access), &json!({ "name": "CI" }));
    let by_key = platform.get("/demo/sensitive/x", &text(&key.json(), "key"));
    assert_eq!(by_key.code(), "insufficient_user_authentication");
}

#[test]
fn whose_role_needs_a_second_factor_may_only_add_one_until_they_have_shown_it() {
    let platform = Setup::default().edit("gateway.toml", "required_roles = []", "required_roles = [\"admin\"]").start();
    let admin = platform.admin();
    let refused = |answer: &crate::platform::Answer| {
        assert_eq!((answer.status, answer.code().as_str()), (401, "insufficient_user_authentication"), "{answer:?}");
        assert!(answer.header("www-authenticate").unwrap().contains("acr_values=\"mfa\""), "{answer:?}");
    };
    refused(&platform.get("/admin/users", &admin));
    refused(&platform.get("/demo/x", &admin));
    refused(&platform.post("/auth/api-keys", Some(&admin), &json!({ "name": "a way around" })));
    refused(&platform.json("PATCH", "/auth/me", Some(&admin), &json!({ "name": "Root" })));
    assert_eq!(platform.get("/auth/me", &admin).status, 200);
    // A service that asks is told what the door says.
    let validated = |token: &str| platform.post("/auth/validate", None, &json!({ "token": token })).json();
    let verdict = validated(&admin);
    assert_eq!(
        (&verdict["valid"], &verdict["error"], &verdict["user"]),
        (&json!(false), &json!("insufficient_user_authentication"), &json!(null))
    );
    // Others are as they were.
    let eve = text(&platform.register("eve@example.com"), "access_token");
    assert_eq!(platform.get("/demo/x", &eve).status, 200);
    assert_eq!((&validated(&eve)["valid"], &validated(&eve)["acr"]), (&json!(true), &json!("single")));

    let begun = platform.post("/auth/mfa/totp", Some(&admin), &json!({}));
    let (secret, since) = (from_base32(&text(&begun.json(), "secret")), Utc::now());
    let confirmed = platform.post("/auth/mfa/totp/confirm", Some(&admin), &json!({ "code": secret.code_at(since) }));
    assert_eq!(confirmed.status, 200, "{confirmed:?}");
    let admin = text(&confirmed.json(), "access_token");
    assert_eq!(platform.get("/admin/users", &admin).status, 200);
    assert_eq!((&validated(&admin)["valid"], &validated(&admin)["acr"]), (&json!(true), &json!("mfa")));
    // A key is made by who has shown it, and is a program's.
    let key = platform.post("/auth/api-keys", Some(&admin), &json!({ "name": "CI" })).json();
    assert_eq!(platform.get("/admin/users", &text(&key, "key")).status, 200);
    assert_eq!(validated(&text(&key, "key"))["valid"], true);
    let login = platform.post("/auth/login", None, &json!({ "email": "root@example.com", "password": PASSWORD }));
    assert_eq!(login.code(), "mfa_required");
}

#[test]
fn a_key_made_before_its_owner_needed_a_second_factor_opens_nothing_until_it_is_rotated() {
    let guarded = "required_roles = [\"developer\"]";
    let platform = Setup::default().edit("gateway.toml", "required_roles = []", guarded).start();
    let ada = platform.register("ada@example.com");
    let access = text(&ada, "access_token");
    let made = platform.post("/auth/api-keys", Some(&access), &json!({ "name": "CI" })).json();
    let key = text(&made, "key");
    assert_eq!(platform.get("/demo/x", &key).status, 200);
    let path = format!("/admin/users/{}", text(&ada["user"], "id"));
    let promoted = platform.json("PATCH", &path, Some(&platform.admin()), &json!({ "role": "developer" }));
    assert_eq!(promoted.status, 200, "{promoted:?}");
    let refused = |key: &str| {
        let answer = platform.get("/demo/x", key);
        assert_eq!((answer.status, answer.code().as_str()), (401, "insufficient_user_authentication"), "{answer:?}");
        let verdict = platform.post("/auth/validate", None, &json!({ "token": key })).json();
        assert_eq!(verdict["error"], "insufficient_user_authentication", "{verdict}");
    };
    refused(&key);

    let begun = platform.post("/auth/mfa/totp", Some(&access), &json!({}));
    let (secret, since) = (from_base32(&text(&begun.json(), "secret")), Utc::now());
    let confirmed = platform.post("/auth/mfa/totp/confirm", Some(&access), &json!({ "code": secret.code_at(since) }));
    assert_eq!(confirmed.status, 200, "{confirmed:?}");
    refused(&key);
    let rotate = format!("/auth/api-keys/{}/rotate", text(&made, "id"));
    let rotated = platform.post(&rotate, Some(&text(&confirmed.json(), "access_token")), &json!({}));
    assert!(rotated.status < 300, "{rotated:?}");
    let next = text(&rotated.json(), "key");
    assert_eq!(platform.get("/demo/x", &next).status, 200);
    let verdict = platform.post("/auth/validate", None, &json!({ "token": next })).json();
    assert_eq!((&verdict["valid"], &verdict["acr"]), (&json!(true), &Value::Null), "{verdict}");
}

#[test]
fn a_session_grows_too_old_for_a_route_and_is_renewed_in_place() {
    let often = Setup::default().edit("tiers.toml", "\"100/minute\"", "\"100000/minute\"");
    let platform = often.append("routes.toml", RECENT).start();
    let ada = text(&platform.register("ada@example.com"), "access_token");
    assert_eq!(platform.get("/demo/recent/x", &ada).status, 200);
    crate::platform::eventually("the session to be too old", || platform.get("/demo/recent/x", &ada).status == 401);
    assert_eq!(platform.get("/demo/x", &ada).status, 200, "for everything else it is not");
    let wrong = platform.post("/auth/reauthenticate", Some(&ada), &json!({ "password": "not it" }));
    assert_eq!(wrong.code(), "wrong_proof");
    assert_eq!(platform.get("/demo/recent/x", &ada).status, 401);
    let renewed = platform.post("/auth/reauthenticate", Some(&ada), &json!({ "password": PASSWORD }));
    assert_eq!((renewed.status, &renewed.json()["acr"]), (200, &json!("single")), "{renewed:?}");
    // The token before it has ended at once, though it was cached, and for everything.
    assert_eq!(platform.get("/demo/recent/x", &ada).code(), "revoked");
    assert_eq!(platform.get("/demo/x", &ada).code(), "revoked");
    assert_eq!(platform.get("/demo/recent/x", &text(&renewed.json(), "access_token")).status, 200);
    let next = json!({ "refresh_token": text(&renewed.json(), "refresh_token") });
    assert_eq!(platform.post("/auth/refresh", None, &next).status, 200);
}

#[test]
fn where_everybody_needs_a_second_factor_nobody_gets_in_with_one() {
    let platform = Setup::default().edit("gateway.toml", "\nrequired = false", "\nrequired = true").start();
    let access = text(&platform.register("ada@example.com"), "access_token");
    for path in ["/demo/x", "/auth/api-keys", "/auth/me/export"] {
        assert_eq!(platform.get(path, &access).code(), "insufficient_user_authentication", "{path}");
    }
    // A browser is sent to where one is added, by whatever page it wanted, and may be there.
    let visitor = Visitor::signed_in(&platform, "ada@example.com");
    let wanted = visitor.get(&platform, "/demo/x?a=b");
    assert_eq!((wanted.status, wanted.header("location")), (303, Some("/account/security")), "{wanted:?}");
    assert_eq!(visitor.get(&platform, "/account/security").status, 200);
    // A program is not, whatever it accepts.
    let page = [("Authorization", &*format!("Bearer {access}")), ("Accept", "text/html")];
    assert_eq!(platform.send("GET", "/demo/x", &page, "").status, 401);

    let begun = platform.post("/auth/mfa/totp", Some(&access), &json!({}));
    let (secret, since) = (from_base32(&text(&begun.json(), "secret")), Utc::now());
    let confirmed = platform.post("/auth/mfa/totp/confirm", Some(&access), &json!({ "code": secret.code_at(since) }));
    assert_eq!(confirmed.status, 200, "{confirmed:?}");
    assert_eq!(platform.get("/demo/x", &text(&confirmed.json(), "access_token")).status, 200);
}
