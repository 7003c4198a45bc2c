//! The second factor: what a login asks for, what serves and how often, who may add and take away.

use std::time::Duration;

use identity::TotpSecret;
use serde_json::{Value, json};
use sqlx::Executor as _;

use crate::{
    house::{Answer, House, PASSWORD, Person, Place, Shown},
    passwords::{STOLEN, where_one_is_stolen},
    statements::{STATEMENTS, hear_statements},
};

const HOME: Place<'_> = Place { address: "192.0.2.1", cookie: None };
const FAR: Place<'_> = Place { address: "198.51.100.7", cookie: None };
const ADA: &str = "ada@example.com";

/// Somebody with an authenticator.
pub(crate) struct Armed {
    pub(crate) person: Person,
    secret: TotpSecret,
    recovery: Vec<String>,
}

/// RFC 4648 §6.
fn from_base32(text: &str) -> TotpSecret {
    let (mut bits, mut held, mut bytes) = (0_u32, 0, Vec::new());
    for letter in text.bytes() {
        bits = bits << 5
            | u32::try_from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".iter().position(|known| *known == letter).unwrap())
                .unwrap();
        held += 5;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held & 0xff) as u8);
        }
    }
    TotpSecret::from_slice(&bytes).unwrap()
}

impl Armed {
    fn code(&self, house: &House) -> String {
        self.secret.code_at(house.now())
    }
}

/// The code of the next half minute, so that none is shown twice.
fn next_code(house: &House, armed: &Armed) -> String {
    house.advance(Duration::from_secs(30));
    armed.code(house)
}

async fn enrol(house: &House, person: &Person) -> TotpSecret {
    let begun = house.post("/auth/mfa/totp", person.shown(), json!({ "name": "Phone" })).await;
    assert_eq!(begun.status, 201, "{}", begun.body);
    from_base32(begun.text("secret"))
}

async fn arm(house: &House, email: &str) -> Armed {
    let person = house.register(email).await;
    house.confirm(person.id).await;
    armed(house, person).await
}

pub(crate) async fn armed(house: &House, person: Person) -> Armed {
    let secret = enrol(house, &person).await;
    let code = secret.code_at(house.now());
    let confirmed = house.post("/auth/mfa/totp/confirm", person.shown(), json!({ "code": code })).await;
    assert_eq!(confirmed.status, 200, "{}", confirmed.body);
    let codes = confirmed.body["recovery_codes"].as_array().unwrap();
    let recovery = codes.iter().map(|code| code.as_str().unwrap().to_owned()).collect();
    house.mails().await;
    Armed { person: person.going_on_with(&confirmed), secret, recovery }
}

async fn password(house: &House, from: &Place<'_>, email: &str) -> Answer {
    house.visit(from, "/auth/login", json!({ "email": email, "password": PASSWORD })).await
}

/// The token of a login that has shown the password.
async fn challenged(house: &House, from: &Place<'_>) -> String {
    let answer = password(house, from, ADA).await;
    assert_eq!(answer.refusal(), "403 mfa_required");
    answer.text("mfa_token").to_owned()
}

async fn verify(house: &House, from: &Place<'_>, token: &str, code: &str) -> Answer {
    house.visit(from, "/auth/mfa/verify", json!({ "mfa_token": token, "code": code })).await
}

async fn recover(house: &House, token: &str, code: &str) -> Answer {
    house.visit(&HOME, "/auth/mfa/verify", json!({ "mfa_token": token, "recovery_code": code })).await
}

/// A code that is not the right one, nor will soon be.
fn wrong(code: &str) -> String {
    let last = code.chars().last().unwrap().to_digit(10).unwrap();
    format!("{}{}", &code[..5], (last + 5) % 10)
}

#[tokio::test]
async fn a_login_asks_for_the_code_of_an_authenticator_that_was_confirmed() {
    let house = House::open().await;
    let person = house.register(ADA).await;
    let begun = house.post("/auth/mfa/totp", person.shown(), json!({ "name": "Phone" })).await;
    let secret = from_base32(begun.text("secret"));
    let uri = begun.text("otpauth_uri");
    assert!(uri.starts_with("otpauth://totp/Portcullis:ada%40example.com?secret="), "{uri}");
    // Not before it is confirmed, and not by a wrong code.
    assert_eq!(password(&house, &HOME, ADA).await.status, 200);
    let code = secret.code_at(house.now());
    let bad = house.post("/auth/mfa/totp/confirm", person.shown(), json!({ "code": wrong(&code) })).await;
    assert_eq!(bad.refusal(), "403 wrong_proof");
    assert_eq!(password(&house, &HOME, ADA).await.status, 200);
    house.mails().await;
    let confirmed = house.post("/auth/mfa/totp/confirm", person.shown(), json!({ "code": code })).await;
    assert_eq!(confirmed.body["recovery_codes"].as_array().unwrap().len(), 10);
    let mail = house.mail().await;
    assert!(mail.to == ADA && mail.subject.contains("was added"), "{mail:?}");

    let answer = password(&house, &HOME, ADA).await;
    assert_eq!(
        (answer.refusal().as_str(), &answer.body["methods"], &answer.body["expires_in"]),
        ("403 mfa_required", &json!(["totp", "recovery_code"]), &json!(300))
    );
    assert!(answer.body["access_token"].is_null() && answer.headers.get("set-cookie").is_none());
    house.advance(Duration::from_secs(30));
    let session = verify(&house, &HOME, answer.text("mfa_token"), &secret.code_at(house.now())).await;
    assert_eq!(session.status, 200, "{}", session.body);
    assert!(session.cookie().is_some());
    let listed = house.get("/auth/mfa", Person::of(&session).shown()).await.body;
    assert_eq!((&listed["items"][0]["kind"], &listed["items"][0]["name"]), (&json!("totp"), &json!("Phone")));
    assert_eq!(listed["recovery_codes_left"], 10);
    assert!(listed["items"][0]["last_used_at"].is_string() && listed["items"][1].is_null(), "{listed}");
}

#[tokio::test]
async fn a_code_serves_once_whoever_shows_it_and_wherever_it_was_used() {
    let house = House::open().await;
    let ada = arm(&house, ADA).await;
    let token = challenged(&house, &HOME).await;
    // It has confirmed the authenticator.
    assert_eq!(verify(&house, &HOME, &token, &ada.code(&house)).await.refusal(), "401 invalid_code");
    let code = next_code(&house, &ada);
    assert_eq!(verify(&house, &HOME, &token, &code).await.status, 200);
    let token = challenged(&house, &HOME).await;
    assert_eq!(verify(&house, &HOME, &token, &code).await.refusal(), "401 invalid_code");
    // Nor one from before it.
    house.advance(Duration::from_secs(30));
    assert_eq!(verify(&house, &HOME, &token, &code).await.refusal(), "401 invalid_code");
    assert_eq!(verify(&house, &HOME, &token, &ada.code(&house)).await.status, 200);
}

#[tokio::test]
async fn two_who_show_one_code_at_once_do_not_both_get_in() {
    let house = House::open().await;
    let ada = arm(&house, ADA).await;
    let (one, other) = (challenged(&house, &HOME).await, challenged(&house, &FAR).await);
    let code = next_code(&house, &ada);
    let (one, other) = tokio::join!(verify(&house, &HOME, &one, &code), verify(&house, &FAR, &other, &code));
    let mut answers = [one.status.as_u16(), other.status.as_u16()];
    answers.sort_unstable();
    assert_eq!(answers, [200, 401]);
}

#[tokio::test]
async fn a_recovery_code_serves_once_and_for_its_own_account() {
    let house = House::open().await;
    let (ada, eve) = (arm(&house, ADA).await, arm(&house, "eve@example.com").await);
    let token = challenged(&house, &HOME).await;
    assert_eq!(recover(&house, &token, &eve.recovery[0]).await.refusal(), "401 invalid_code");
    assert_eq!(recover(&house, &token, &ada.recovery[0].to_uppercase()).await.status, 200);
    let token = challenged(&house, &HOME).await;
    assert_eq!(recover(&house, &token, &ada.recovery[0]).await.refusal(), "401 invalid_code");
    assert_eq!(house.get("/auth/mfa", ada.person.shown()).await.body["recovery_codes_left"], 9);
    house.mails().await;
    let renewed = house.post("/auth/mfa/recovery-codes", ada.person.shown(), Value::Null).await;
    assert_eq!(renewed.status, 200, "{}", renewed.body);
    assert!(house.mail().await.subject.contains("recovery codes"));
    assert_eq!(recover(&house, &token, &ada.recovery[1]).await.refusal(), "401 invalid_code");
    assert_eq!(recover(&house, &token, renewed.body["recovery_codes"][9].as_str().unwrap()).await.status, 200);
    // What is there to recover without a second factor?
    let bob = house.register("bob@example.com").await;
    let none = house.post("/auth/mfa/recovery-codes", bob.shown(), Value::Null).await;
    assert_eq!(none.refusal(), "404 not_found");
}

#[tokio::test]
async fn the_token_serves_once_in_time_and_for_nothing_else() {
    let house = House::open().await;
    let ada = arm(&house, ADA).await;
    let token = challenged(&house, &HOME).await;
    let code = next_code(&house, &ada);
    assert_eq!(verify(&house, &HOME, &token, &code).await.status, 200);
    let code = next_code(&house, &ada);
    assert_eq!(verify(&house, &HOME, &token, &code).await.refusal(), "401 invalid_mfa_token");

    let token = challenged(&house, &HOME).await;
    let browser = house.visit(&HOME, "/auth/magic-link", json!({ "email": ADA })).await.cookie().unwrap();
    let known = Place { cookie: Some(&browser), ..HOME };
    let link = house.mail().await.token();
    for (path, body) in [
        ("/auth/magic-link/consume", json!({ "token": token })),
        ("/auth/reset-password", json!({ "token": token, "new_password": "another horse battery" })),
        ("/auth/verify-email", json!({ "token": token })),
    ] {
        assert_eq!(house.visit(&known, path, body).await.refusal(), "400 invalid_link", "{path}");
    }
    assert_eq!(
        house.visit(&HOME, "/auth/refresh", json!({ "refresh_token": token })).await.refusal(),
        "401 invalid_token"
    );
    assert_eq!(verify(&house, &HOME, &link, &code).await.refusal(), "401 invalid_mfa_token");
    for bad in ["", "pco_x", &ada.person.refresh] {
        assert_eq!(verify(&house, &HOME, bad, &code).await.refusal(), "401 invalid_mfa_token", "{bad}");
    }
    let code = next_code(&house, &ada);
    house.advance(Duration::from_secs(271));
    assert_eq!(verify(&house, &HOME, &token, &ada.code(&house)).await.refusal(), "401 invalid_mfa_token");
    assert_ne!(code, ada.code(&house));
}

#[tokio::test]
async fn a_token_bears_five_attempts_even_where_nothing_locks() {
    let house = House::open_with(|settings| {
        settings.lockout.account.attempts = 0;
        settings.lockout.network.attempts = 0;
    })
    .await;
    let ada = arm(&house, ADA).await;
    let token = challenged(&house, &HOME).await;
    let code = next_code(&house, &ada);
    for _ in 0..5 {
        assert_eq!(verify(&house, &HOME, &token, &wrong(&code)).await.refusal(), "401 invalid_code");
    }
    assert_eq!(verify(&house, &HOME, &token, &code).await.refusal(), "401 invalid_mfa_token");
}

#[tokio::test]
async fn wrong_codes_lock_codes_alone_and_a_right_password_forgives_none() {
    let house = House::open().await;
    let ada = arm(&house, ADA).await;
    house.login_with(&ada).await;
    let code = next_code(&house, &ada);
    for n in 0..5 {
        // Whoever has the password shows it anew before each guess.
        let token = challenged(&house, &FAR).await;
        assert_eq!(verify(&house, &FAR, &token, &wrong(&code)).await.refusal(), "401 invalid_code", "guess {n}");
    }
    let token = challenged(&house, &FAR).await;
    assert_eq!(verify(&house, &FAR, &token, &code).await.refusal(), "429 login_locked");
    assert!(house.mail().await.subject.contains("guessing"));
    // At home she is in.
    let token = challenged(&house, &HOME).await;
    assert_eq!(verify(&house, &HOME, &token, &code).await.status, 200);
    // Who has both forgives what was counted.
    house.advance(Duration::from_mins(31));
    let token = challenged(&house, &FAR).await;
    assert_eq!(verify(&house, &FAR, &token, &ada.code(&house)).await.status, 200);
    for _ in 0..4 {
        let token = challenged(&house, &FAR).await;
        assert_eq!(verify(&house, &FAR, &token, "x").await.refusal(), "401 invalid_code");
    }
    challenged(&house, &FAR).await;
}

#[tokio::test]
async fn what_strangers_have_locked_keeps_nobody_from_showing_a_second_factor_after_a_mail() {
    let house = House::open_with(|settings| settings.lockout.network.attempts = 5).await;
    let ada = arm(&house, ADA).await;
    // At home she is known.
    house.login_with(&ada).await;
    let lock = async |from: &Place<'_>| {
        for _ in 0..5 {
            let body = json!({ "email": ADA, "password": "not the password" });
            house.visit(from, "/auth/login", body).await;
        }
        assert_eq!(password(&house, from, ADA).await.refusal(), "429 login_locked");
        house.mails().await;
    };
    // On the road, behind one address with the stranger: a link, then a code.
    lock(&FAR).await;
    let cookie = house.visit(&FAR, "/auth/magic-link", json!({ "email": ADA })).await.cookie().unwrap();
    let (browser, link) = (Place { cookie: Some(&cookie), ..FAR }, house.mail().await.token());
    let asked = house.visit(&browser, "/auth/magic-link/consume", json!({ "token": link })).await;
    assert_eq!(asked.refusal(), "403 mfa_required");
    let code = next_code(&house, &ada);
    assert_eq!(verify(&house, &browser, asked.text("mfa_token"), &code).await.status, 200);

    // A new password by mail opens the login itself, and forgives no codes.
    let elsewhere = Place { address: "203.0.113.9", cookie: None };
    let code = next_code(&house, &ada);
    for _ in 0..4 {
        let token = challenged(&house, &HOME).await;
        let body = json!({ "mfa_token": token, "code": wrong(&code) });
        assert_eq!(house.visit(&elsewhere, "/auth/mfa/verify", body).await.refusal(), "401 invalid_code");
    }
    house.visit(&elsewhere, "/auth/request-password-reset", json!({ "email": ADA })).await;
    let reset = json!({ "token": house.mail().await.token(), "new_password": PASSWORD });
    assert_eq!(house.visit(&elsewhere, "/auth/reset-password", reset).await.status, 200);
    let token = challenged(&house, &elsewhere).await;
    assert_eq!(verify(&house, &elsewhere, &token, &wrong(&code)).await.refusal(), "401 invalid_code");
    assert_eq!(verify(&house, &elsewhere, &token, &code).await.refusal(), "429 login_locked", "the fifth counts");
}

#[tokio::test]
async fn an_administrator_unlocks_codes_too() {
    let house = House::open().await;
    let ada = arm(&house, ADA).await;
    let root = house.administrator("root@example.com").await;
    let code = next_code(&house, &ada);
    let token = challenged(&house, &FAR).await;
    for _ in 0..5 {
        assert_eq!(verify(&house, &FAR, &token, &wrong(&code)).await.refusal(), "401 invalid_code");
    }
    let token = challenged(&house, &FAR).await;
    assert_eq!(verify(&house, &FAR, &token, &code).await.refusal(), "429 login_locked");
    let path = format!("/admin/users/{}/unlock", ada.person.id);
    assert_eq!(house.post(&path, root.shown(), json!(null)).await.status, 204);
    assert_eq!(verify(&house, &FAR, &token, &code).await.status, 200);
}

#[tokio::test]
async fn a_link_by_mail_is_no_way_around_it() {
    let house = House::open().await;
    let ada = arm(&house, ADA).await;
    let cookie = house.visit(&HOME, "/auth/magic-link", json!({ "email": ADA })).await.cookie().unwrap();
    let (browser, link) = (Place { cookie: Some(&cookie), ..HOME }, house.mail().await.token());
    let asked = house.visit(&browser, "/auth/magic-link/consume", json!({ "token": link })).await;
    assert_eq!(asked.refusal(), "403 mfa_required");
    let again = house.visit(&browser, "/auth/magic-link/consume", json!({ "token": link })).await;
    assert_eq!(again.refusal(), "400 invalid_link");
    let code = next_code(&house, &ada);
    let session = verify(&house, &browser, asked.text("mfa_token"), &code).await;
    let listed = house.get("/auth/sessions", Person::of(&session).shown()).await.body;
    assert_eq!(listed["items"][0]["method"], "magic_link", "{listed}");
}

#[tokio::test]
async fn a_new_password_is_no_way_around_it_and_voids_what_the_old_one_has_begun() {
    let house = House::open().await;
    let ada = arm(&house, ADA).await;
    let token = challenged(&house, &HOME).await;
    house.visit(&FAR, "/auth/request-password-reset", json!({ "email": ADA })).await;
    let reset = json!({ "token": house.mail().await.token(), "new_password": PASSWORD });
    assert_eq!(house.visit(&FAR, "/auth/reset-password", reset).await.status, 200);
    let code = next_code(&house, &ada);
    assert_eq!(verify(&house, &HOME, &token, &code).await.refusal(), "401 invalid_mfa_token");
    let token = challenged(&house, &HOME).await;
    assert_eq!(verify(&house, &HOME, &token, &code).await.status, 200);
}

#[tokio::test]
async fn an_account_that_goes_while_its_password_is_checked_is_asked_for_no_second_factor() {
    let house = House::open().await;
    arm(&house, ADA).await;
    let wrong = json!({ "email": ADA, "password": "wrong horse battery" });
    assert_eq!(house.visit(&HOME, "/auth/login", wrong).await.refusal(), "401 invalid_credentials");
    // What was counted is forgiven between the check and the question.
    let mut beside = house.block_writes().await;
    let gone = "CREATE TRIGGER gone AFTER DELETE ON login_failures BEGIN DELETE FROM accounts; END; COMMIT";
    beside.execute(gone).await.unwrap();
    assert_eq!(password(&house, &HOME, ADA).await.refusal(), "401 invalid_credentials");
}

#[tokio::test]
async fn a_factor_is_added_and_taken_away_by_whoever_shows_that_they_are_the_owner() {
    let house = House::open().await;
    let (ada, eve) = (arm(&house, ADA).await, house.register("eve@example.com").await);
    let id = house.get("/auth/mfa", ada.person.shown()).await.body["items"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("/auth/mfa/{id}");
    // Somebody else's is none, nor is what is no id.
    assert_eq!(house.call("DELETE", &path, eve.shown(), Value::Null).await.refusal(), "404 not_found");
    assert_eq!(house.call("DELETE", "/auth/mfa/7", eve.shown(), Value::Null).await.refusal(), "404 not_found");
    let key = house.make_key(&ada.person, json!({ "name": "CI" })).await;
    let key = key["key"].as_str().unwrap();
    let body = json!({ "password": PASSWORD });
    for (method, path) in [
        ("DELETE", &*path),
        ("POST", "/auth/mfa/totp"),
        ("POST", "/auth/mfa/recovery-codes"),
        ("POST", "/auth/reauthenticate"),
    ] {
        let by_key = house.call(method, path, Shown::Credential(key), body.clone()).await;
        assert_eq!(by_key.refusal(), "403 session_required", "{path}");
    }
    // A session that is no longer fresh.
    house.advance(Duration::from_secs(301));
    for (method, path) in [("DELETE", &*path), ("POST", "/auth/mfa/totp"), ("POST", "/auth/mfa/recovery-codes")] {
        let refused = house.call(method, path, ada.person.shown(), Value::Null).await;
        assert_eq!(refused.refusal(), "401 insufficient_user_authentication", "{path}");
        let challenge = refused.headers["www-authenticate"].to_str().unwrap();
        assert_eq!(challenge, "Bearer error=\"insufficient_user_authentication\", max_age=\"300\"");
        let by_password = house.call(method, path, ada.person.shown(), body.clone()).await;
        assert_eq!(by_password.status, 422, "whoever has the password has one half: {path}");
        for bad in [json!({ "code": "000000" }), json!({ "recovery_code": "x" })] {
            let refused = house.call(method, path, ada.person.shown(), bad).await;
            assert!(["403 wrong_proof", "429 login_locked"].contains(&&*refused.refusal()), "{}", refused.body);
        }
    }
    // They were counted.
    let locked = house.call("DELETE", &path, ada.person.shown(), json!({ "code": ada.code(&house) })).await;
    assert_eq!(locked.refusal(), "429 login_locked");
    house.advance(Duration::from_mins(31));
    let again = house.login_with(&ada).await;
    house.advance(Duration::from_secs(301));
    let both = json!({ "password": PASSWORD, "code": ada.code(&house) });
    assert_eq!(house.call("DELETE", &path, again.shown(), both).await.status, 422);
    house.mails().await;
    let gone = house.call("DELETE", &path, again.shown(), json!({ "code": ada.code(&house) })).await;
    assert_eq!(gone.status, 204, "{}", gone.body);
    let mail = house.mail().await;
    assert!(mail.to == ADA && mail.subject.contains("was removed"), "{mail:?}");
    assert_eq!(
        house.get("/auth/mfa", again.shown()).await.body,
        json!({ "items": [], "next_cursor": null, "recovery_codes_left": 0 })
    );
    assert_eq!(password(&house, &HOME, ADA).await.status, 200);
}

impl House {
    async fn login_with(&self, armed: &Armed) -> Person {
        let token = challenged(self, &HOME).await;
        let code = next_code(self, armed);
        Person::of(&verify(self, &HOME, &token, &code).await)
    }
}

#[tokio::test]
async fn an_administrator_helps_whoever_has_lost_everything_but_not_themselves() {
    let house = House::open().await;
    let ada = arm(&house, ADA).await;
    let root = house.administrator("root@example.com").await;
    let of = |person: &Person| format!("/admin/users/{}/mfa", person.id);
    let reset = async |person: &Person, by: Shown<'_>, body: Value| house.call("DELETE", &of(person), by, body).await;
    let why = || json!({ "reason": "came to the desk with a passport" });
    assert_eq!(reset(&root, root.shown(), why()).await.refusal(), "403 own_account");
    // Not without a reason, not by a program, and by nobody who has found a session open.
    assert_eq!(
        reset(&ada.person, root.shown(), json!({})).await.refusal(),
        "422 invalid_fields\n  reason: must not be empty"
    );
    let key = house.make_key(&root, json!({ "name": "ci" })).await;
    let by_key = reset(&ada.person, Shown::Credential(key["key"].as_str().unwrap()), why()).await;
    assert_eq!(by_key.refusal(), "403 session_required");
    house.advance(Duration::from_mins(6));
    assert_eq!(reset(&ada.person, root.shown(), why()).await.refusal(), "401 insufficient_user_authentication");
    assert_eq!(password(&house, &HOME, ADA).await.refusal(), "403 mfa_required");
    house.mails().await;
    let mut shown = why();
    shown["password"] = json!(PASSWORD);
    assert_eq!(reset(&ada.person, root.shown(), shown.clone()).await.status, 204);
    let trail = house.get("/admin/audit?event=reset_factors", root.shown()).await.body;
    assert_eq!(trail["items"][0]["details"]["reason"], "came to the desk with a passport", "{trail}");
    let mail = house.mail().await;
    assert!(mail.to == ADA && mail.subject.contains("was removed"), "{mail:?}");
    assert_eq!(password(&house, &HOME, ADA).await.status, 200);
    let again = reset(&ada.person, root.shown(), shown).await;
    assert_eq!((again.status.as_u16(), house.mails().await.len()), (204, 0));
}

#[tokio::test]
async fn another_password_takes_the_second_factor_too() {
    let house = House::open().await;
    let ada = arm(&house, ADA).await;
    let session = house.login_with(&ada).await;
    house.advance(Duration::from_mins(6));
    let change = async |shown: Shown<'_>, mut more: Value| {
        more["old_password"] = json!(PASSWORD);
        more["new_password"] = json!("another good one");
        house.post("/auth/change-password", shown, more).await
    };
    assert_eq!(change(session.shown(), json!({})).await.refusal(), "401 insufficient_user_authentication");
    let code = next_code(&house, &ada);
    assert_eq!(change(session.shown(), json!({ "code": wrong(&code) })).await.refusal(), "403 wrong_proof");
    let changed = change(session.shown(), json!({ "code": code })).await;
    assert_eq!(changed.status, 200, "{}", changed.body);
}

/// Everything that was run since the last time; `MARK` is run last, and told last, since there is one connection alone.
async fn run_since(house: &House, ada: &Armed) -> Vec<String> {
    const MARK: &str = "SELECT identity, issuer, refused_at";
    house.store.refused_issuers(ada.person.id).await.unwrap();
    while !STATEMENTS.lock().unwrap().iter().any(|run| run.contains(MARK)) {
        tokio::task::yield_now().await;
    }
    std::mem::take(&mut *STATEMENTS.lock().unwrap())
}

#[tokio::test]
async fn who_shows_a_code_for_another_password_is_asked_for_as_often_as_who_need_not() {
    hear_statements();
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("test.db").display());
    let house = House::open_by(&url, folder, 1, |_| ()).await;
    let ada = arm(&house, ADA).await;
    let session = house.login_with(&ada).await;
    let mut asked = Vec::new();
    for (old, new, code) in
        [(PASSWORD, "another good one", None), ("another good one", PASSWORD, Some(next_code(&house, &ada)))]
    {
        run_since(&house, &ada).await;
        let body = json!({ "old_password": old, "new_password": new, "code": code });
        let changed = house.post("/auth/change-password", session.shown(), body).await;
        assert_eq!(changed.status, 200, "{}", changed.body);
        // Each question who somebody is begins with these, and none that is about a code.
        let run = run_since(&house, &ada).await;
        asked.push(run.iter().filter(|run| run.contains("SELECT a.id, a.email, a.name,")).count());
    }
    assert!(asked[0] > 0 && asked[0] == asked[1], "{asked:?}");
}

#[tokio::test]
async fn a_new_password_that_is_refused_uses_no_recovery_code_up() {
    let house = where_one_is_stolen().await;
    let ada = arm(&house, ADA).await;
    let session = house.login_with(&ada).await;
    house.advance(Duration::from_mins(6));
    let change = async |new: &str| {
        let body = json!({ "old_password": PASSWORD, "new_password": new, "recovery_code": ada.recovery[0] });
        house.post("/auth/change-password", session.shown(), body).await.refusal_or_status()
    };
    let refused = change(STOLEN).await;
    assert!(refused.starts_with("422 invalid_fields\n  new_password: "), "{refused}");
    assert_eq!(change("another good one").await, "200 OK");
}

#[tokio::test]
async fn what_is_shown_in_a_session_adds_up() {
    let house = House::open().await;
    let ada = arm(&house, ADA).await;
    let before = house.login_with(&ada).await;
    house.advance(Duration::from_mins(20));
    let renew = async |body: Value| house.post("/auth/reauthenticate", before.shown(), body).await;
    let me = async |token: &str| house.get("/auth/me", Shown::Credential(token)).await;
    let valid = async |token: &str| {
        let answer = house.post("/auth/validate", Shown::Nothing, json!({ "token": token })).await;
        (answer.body["valid"].clone(), answer.body["error"].clone())
    };
    assert_eq!(renew(json!({})).await.status, 422);
    assert_eq!(renew(json!({ "code": "000000" })).await.refusal(), "403 wrong_proof");
    assert_eq!(renew(json!({ "password": PASSWORD })).await.status, 422);
    let code = ada.code(&house);
    let renewed = renew(json!({ "code": code })).await;
    assert_eq!((renewed.status.as_u16(), renewed.text("acr")), (200, "mfa"));
    // Whoever has a copy of the token that she had is not raised with her: it ends, and the session does not.
    let (renewed, next) = (renewed.text("access_token").to_owned(), renewed.text("refresh_token").to_owned());
    assert_eq!(me(&before.access).await.refusal(), "401 door:revoked");
    assert_eq!(valid(&before.access).await, (json!(false), json!("revoked")));
    assert_eq!((me(&renewed).await.status.as_u16(), valid(&renewed).await), (200, (json!(true), Value::Null)));
    let refresh =
        async |token: &str| house.post("/auth/refresh", Shown::Nothing, json!({ "refresh_token": token })).await;
    assert_eq!(refresh(&before.refresh).await.refusal(), "401 expired", "nor is who has a copy of what buys the next");
    let refreshed = refresh(&next).await;
    assert_eq!(me(refreshed.text("access_token")).await.status, 200);
    assert_eq!(me(&renewed).await.status, 200);
    let again = house.post("/auth/reauthenticate", Shown::Credential(&renewed), json!({ "code": code })).await;
    assert_eq!(again.refusal(), "403 wrong_proof", "a code serves once here too");
    let eve = house.register("eve@example.com").await;
    let single = house.post("/auth/reauthenticate", eve.shown(), json!({ "password": PASSWORD })).await;
    assert_eq!(single.text("acr"), "single");
}

#[tokio::test]
async fn whoever_has_a_copy_of_a_token_is_not_raised_with_who_adds_a_factor() {
    let house = House::open().await;
    let copy = house.register(ADA).await;
    let ada = armed(&house, Person { id: copy.id, access: copy.access.clone(), refresh: copy.refresh.clone() }).await;
    let listed = house.get("/auth/mfa", ada.person.shown()).await.body;
    let path = format!("/auth/mfa/{}", listed["items"][0]["id"].as_str().unwrap());
    assert_eq!(house.call("DELETE", &path, copy.shown(), Value::Null).await.refusal(), "401 door:revoked");
    let refresh =
        async |token: &str| house.post("/auth/refresh", Shown::Nothing, json!({ "refresh_token": token })).await;
    assert_eq!(refresh(&copy.refresh).await.refusal(), "401 expired");
    let next = Person::of(&refresh(&ada.person.refresh).await);
    assert_eq!(house.call("DELETE", &path, next.shown(), Value::Null).await.status, 204);
}

#[tokio::test]
async fn a_secret_lies_sealed_and_opens_in_its_own_row_alone() {
    use sqlx::{Connection as _, Row as _};
    let house = House::open().await;
    let (ada, eve) = (arm(&house, ADA).await, arm(&house, "eve@example.com").await);
    let url = format!("sqlite:{}", house.file("test.db"));
    let mut database = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let rows = sqlx::query("SELECT sealed FROM factors ORDER BY id").fetch_all(&mut database).await.unwrap();
    let sealed: Vec<Vec<u8>> = rows.iter().map(|row| row.get(0)).collect();
    for (secret, sealed) in [&ada.secret, &eve.secret].into_iter().zip(&sealed) {
        assert!(!sealed.windows(20).any(|window| window == secret.as_bytes()));
    }
    // Eve, who can write to the database but has no master key, puts her own secret in the place of Ada's.
    sqlx::query("UPDATE factors SET sealed = ?").bind(&sealed[1]).execute(&mut database).await.unwrap();
    let token = challenged(&house, &HOME).await;
    let code = next_code(&house, &eve);
    assert_eq!(verify(&house, &HOME, &token, &code).await.refusal(), "500 internal");
}

#[tokio::test]
async fn a_session_that_was_begun_without_it_is_over_when_a_factor_is_added() {
    let house = House::open().await;
    let ada = house.register(ADA).await;
    let thief = Person::of(&password(&house, &FAR, ADA).await);
    armed(&house, ada).await;
    let refresh = house.post("/auth/refresh", Shown::Nothing, json!({ "refresh_token": thief.refresh })).await;
    assert_eq!(refresh.refusal(), "401 revoked");
}

#[tokio::test]
async fn whoever_registers_a_strangers_address_is_out_when_its_owner_comes_by_mail() {
    for link in [false, true] {
        let house = House::open().await;
        let thief = house.register(ADA).await;
        let key = house.make_key(&thief, json!({ "name": "later" })).await;
        let before = armed(&house, thief).await;
        let stale = house.assertion_of(&before.person).await;
        let by_link = if link {
            let cookie = house.visit(&HOME, "/auth/magic-link", json!({ "email": ADA })).await.cookie().unwrap();
            let (browser, token) = (Place { cookie: Some(&cookie), ..HOME }, house.mail().await.token());
            house.visit(&browser, "/auth/magic-link/consume", json!({ "token": token })).await
        } else {
            house.visit(&HOME, "/auth/request-password-reset", json!({ "email": ADA })).await;
            let reset = json!({ "token": house.mail().await.token(), "new_password": "another horse battery" });
            house.visit(&HOME, "/auth/reset-password", reset).await
        };
        assert_eq!(by_link.status, 200, "the owner is asked for nobody's code: {}", by_link.body);
        assert_eq!(password(&house, &FAR, ADA).await.refusal(), "401 invalid_credentials");
        let refresh = json!({ "refresh_token": before.person.refresh });
        assert_eq!(house.post("/auth/refresh", Shown::Nothing, refresh).await.refusal(), "401 revoked");
        let shown = json!({ "token": key["key"] });
        assert_eq!(house.post("/auth/validate", Shown::Nothing, shown).await.body["valid"], false);
        // At a door that has not heard of it yet.
        let still = Shown::Header("X-Gateway-Assertion", &stale);
        for (method, path, body) in [
            ("POST", "/auth/api-keys", json!({ "name": "for ever" })),
            ("POST", "/auth/mfa/totp", Value::Null),
            ("DELETE", "/auth/me", Value::Null),
        ] {
            assert_eq!(house.call(method, path, still, body).await.refusal(), "401 revoked", "{path}");
        }
    }
}

#[tokio::test]
async fn a_factor_is_named_by_its_owner_in_a_session() {
    let house = House::open().await;
    let (ada, eve) = (arm(&house, ADA).await, house.register("eve@example.com").await);
    let key = house.make_key(&ada.person, json!({ "name": "CI" })).await;
    let listed = async || house.get("/auth/mfa", ada.person.shown()).await.body["items"][0].clone();
    let factor = listed().await;
    let path = format!("/auth/mfa/{}", factor["id"].as_str().unwrap());
    let name = async |shown: Shown<'_>, name: Value| house.call("PATCH", &path, shown, json!({ "name": name })).await;
    // Nobody has to show anew who they are for it.
    house.advance(Duration::from_mins(10));
    assert_eq!(name(ada.person.shown(), json!(" Old phone ")).await.status, 204);
    assert_eq!(listed().await["name"], "Old phone");
    for (shown, why) in
        [(eve.shown(), "404 not_found"), (Shown::Credential(key["key"].as_str().unwrap()), "403 session_required")]
    {
        assert_eq!(name(shown, json!("Mine")).await.refusal(), why);
    }
    for wrong in [json!(""), json!("x".repeat(101)), json!("a\nb"), json!(7)] {
        let refused = name(ada.person.shown(), wrong.clone()).await.refusal();
        assert!(refused.starts_with("422 invalid_fields\n  name: "), "{wrong}: {refused}");
    }
    let nothing = house.call("PATCH", &path, ada.person.shown(), json!({})).await;
    assert!(nothing.refusal().starts_with("422 invalid_fields\n  name: "), "{}", nothing.refusal());
    assert_eq!(listed().await["name"], "Old phone");
    assert_eq!(name(ada.person.shown(), Value::Null).await.status, 204);
    assert!(listed().await["name"].is_null());
    house.mails().await;
}
