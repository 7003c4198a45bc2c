//! Passkeys: how one is added, that it logs in alone, besides a password and anew, and everything with which it does not.

use std::time::Duration;

use identity::{Grant, SessionCookie};
use serde_json::{Value, json};
use store::AccountChange;

use crate::{
    authenticator::Authenticator,
    browsers::send,
    house::{Answer, House, PASSWORD, Person, Place, Shown},
};

const HOME: Place<'_> = Place { address: "192.0.2.1", cookie: None };
const ADA: &str = "ada@example.com";

/// Somebody with a passkey.
struct Keyed {
    person: Person,
    device: Authenticator,
    recovery: Vec<String>,
}

async fn begin(house: &House, person: &Person) -> Value {
    let begun = house.post("/auth/mfa/passkeys", person.shown(), Value::Null).await;
    assert_eq!(begun.status, 201, "{}", begun.body);
    begun.body["options"].clone()
}

async fn confirm(house: &House, person: &Person, credential: &Value) -> Answer {
    let body = json!({ "credential": credential, "name": "Laptop" });
    house.post("/auth/mfa/passkeys/confirm", person.shown(), body).await
}

async fn keyed(house: &House, email: &str) -> Keyed {
    let person = house.register(email).await;
    house.confirm(person.id).await;
    let mut device = Authenticator::new();
    let made = device.make(&begin(house, &person).await);
    let confirmed = confirm(house, &person, &made).await;
    assert_eq!(confirmed.status, 200, "{}", confirmed.body);
    let codes = confirmed.body["recovery_codes"].as_array().unwrap();
    let recovery = codes.iter().map(|code| code.as_str().unwrap().to_owned()).collect();
    house.mails().await;
    Keyed { person: person.going_on_with(&confirmed), device, recovery }
}

/// What a passkey is to sign to log in, and what names it.
async fn asked(house: &House) -> (String, Value) {
    let asked = house.visit(&HOME, "/auth/passkey/options", Value::Null).await;
    assert_eq!(asked.status, 200, "{}", asked.body);
    (asked.text("challenge").to_owned(), asked.body["options"].clone())
}

async fn show(house: &House, challenge: &str, credential: &Value) -> Answer {
    house.visit(&HOME, "/auth/passkey/login", json!({ "challenge": challenge, "credential": credential })).await
}

async fn log_in(house: &House, device: &mut Authenticator) -> Answer {
    let (challenge, options) = asked(house).await;
    show(house, &challenge, &device.sign(&options)).await
}

async fn challenged(house: &House) -> Answer {
    let answer = house.visit(&HOME, "/auth/login", json!({ "email": ADA, "password": PASSWORD })).await;
    assert_eq!(answer.refusal(), "403 mfa_required");
    answer
}

/// What a passkey is to sign besides a password.
async fn asked_beside(house: &House, token: &str) -> Value {
    let asked = house.visit(&HOME, "/auth/mfa/passkeys/options", json!({ "mfa_token": token })).await;
    assert_eq!(asked.status, 200, "{}", asked.body);
    asked.body["options"].clone()
}

async fn verify(house: &House, token: &str, credential: &Value) -> Answer {
    house.visit(&HOME, "/auth/mfa/verify", json!({ "mfa_token": token, "credential": credential })).await
}

/// By what the owner of the newest session is known in it.
async fn methods(house: &House, person: &Person) -> (String, String) {
    let listed = house.get("/auth/sessions", person.shown()).await.body;
    let sessions = listed["items"].as_array().unwrap();
    let own = sessions.iter().find(|session| session["current"] == true).unwrap();
    let id = own["id"].as_str().unwrap().parse().unwrap();
    let (_, amr) = house.store.authentication(id).await.unwrap().unwrap();
    (own["method"].as_str().unwrap().to_owned(), amr)
}

/// Why passkeys were refused, the latest first.
async fn told(house: &House, event: &str) -> Vec<String> {
    let root = house.administrator("root@example.com").await;
    let events = house.get(&format!("/admin/audit?event={event}"), root.shown()).await.body;
    let reasons = events["items"].as_array().unwrap().iter().filter_map(|event| event["details"]["passkey"].as_str());
    reasons.map(str::to_owned).collect()
}

#[tokio::test]
async fn a_passkey_is_asked_for_and_made_and_its_owner_told() {
    let house = House::open().await;
    let person = house.register(ADA).await;
    let options = begin(&house, &person).await;
    assert_eq!(options["rp"], json!({ "id": "door.test", "name": "Portcullis" }));
    let wanted = &options["authenticatorSelection"];
    assert_eq!(
        (&wanted["residentKey"], &wanted["userVerification"], &options["attestation"]),
        (&json!("preferred"), &json!("required"), &json!("none"))
    );
    assert_eq!(house.login(ADA).await.id, person.id, "it does not count yet");
    house.mails().await;
    let mut device = Authenticator::new();
    let confirmed = confirm(&house, &person, &device.make(&options)).await;
    assert_eq!(confirmed.body["recovery_codes"].as_array().unwrap().len(), 10, "{}", confirmed.body);
    let mail = house.mail().await;
    assert!(mail.to == ADA && mail.subject.contains("was added"), "{mail:?}");
    let person = person.going_on_with(&confirmed);
    assert_eq!(methods(&house, &person).await.1, "pwd hwk mfa", "it was shown in this session");
    let listed = house.get("/auth/mfa", person.shown()).await.body;
    assert_eq!((&listed["items"][0]["kind"], &listed["items"][0]["name"]), (&json!("passkey"), &json!("Laptop")));
    assert_eq!(listed["recovery_codes_left"], 10);
    let export = house.get("/auth/me/export", person.shown()).await.body;
    assert_eq!(export["second_factors"], listed["items"]);
    // Another one: the authenticator is told which it has, and the codes stay.
    let again = begin(&house, &person).await;
    assert_eq!(again["excludeCredentials"].as_array().unwrap().len(), 1);
    let second = confirm(&house, &person, &Authenticator::new().make(&again)).await;
    assert_eq!(second.body["recovery_codes"], json!([]));
}

#[tokio::test]
async fn a_passkey_alone_logs_in_and_is_two_factors() {
    let house = House::open().await;
    let mut ada = keyed(&house, ADA).await;
    let (challenge, options) = asked(&house).await;
    assert_eq!((&options["rpId"], &options["allowCredentials"]), (&json!("door.test"), &json!([])));
    assert_eq!(options["userVerification"], "required");
    let answer = show(&house, &challenge, &ada.device.sign(&options)).await;
    assert_eq!((answer.status.as_u16(), answer.cookie().is_some()), (200, true), "{}", answer.body);
    let person = Person::of(&answer);
    assert_eq!(person.id, ada.person.id);
    assert_eq!(methods(&house, &person).await, ("passkey".to_owned(), "hwk mfa".to_owned()));
    assert_eq!(house.get("/auth/me", person.shown()).await.status, 200);
    // A browser gets a cookie.
    let (challenge, options) = asked(&house).await;
    let body = json!({ "challenge": challenge, "credential": ada.device.sign(&options), "session": "cookie" });
    let answer = house.visit(&HOME, "/auth/passkey/login", body).await;
    assert!(answer.body["csrf_token"].is_string() && answer.body["access_token"].is_null(), "{}", answer.body);
}

#[tokio::test]
async fn what_an_authenticator_was_asked_is_answered_once_and_within_five_minutes() {
    let house = House::open().await;
    let mut ada = keyed(&house, ADA).await;
    let (challenge, options) = asked(&house).await;
    let signed = ada.device.sign(&options);
    assert_eq!(show(&house, &challenge, &signed).await.status, 200);
    assert_eq!(show(&house, &challenge, &signed).await.refusal(), "401 invalid_passkey");
    // Nor the answer to another question, and a wrong answer is one too.
    let (other, _) = asked(&house).await;
    let (_, options) = asked(&house).await;
    let signed = ada.device.sign(&options);
    assert_eq!(show(&house, &other, &signed).await.refusal(), "401 invalid_passkey");
    assert_eq!(show(&house, &other, &signed).await.refusal(), "401 invalid_passkey");
    let (challenge, options) = asked(&house).await;
    house.advance(Duration::from_mins(5));
    assert_eq!(show(&house, &challenge, &ada.device.sign(&options)).await.refusal(), "401 invalid_passkey");
    assert_eq!(told(&house, "passkey_login").await, ["not_asked"; 4]);
}

#[tokio::test]
async fn a_passkey_that_was_shown_elsewhere_or_by_nobody_in_particular_serves_nobody() {
    let house = House::open().await;
    let mut ada = keyed(&house, ADA).await;
    let refused = async |device: &mut Authenticator| {
        let answer = log_in(&house, device).await;
        assert_eq!((answer.refusal().as_str(), answer.cookie()), ("401 invalid_passkey", None));
    };
    ada.device.origin = "https://door.test.evil.test";
    refused(&mut ada.device).await;
    ada.device.origin = "http://door.test";
    refused(&mut ada.device).await;
    ada.device.origin = "https://sub.door.test";
    refused(&mut ada.device).await;
    ada.device.origin = "https://door.test";
    ada.device.rp = "evil.test";
    refused(&mut ada.device).await;
    ada.device.rp = "door.test";
    ada.device.verifies = false;
    refused(&mut ada.device).await;
    ada.device.verifies = true;
    // It has to say whose it is, and be that account's.
    let user = ada.device.user.take();
    refused(&mut ada.device).await;
    let mut eve = keyed(&house, "eve@example.com").await;
    ada.device.user = eve.device.user.clone();
    refused(&mut ada.device).await;
    ada.device.user = user;
    // Another key under the same name.
    let hers = std::mem::replace(&mut eve.device.id, ada.device.id.clone());
    eve.device.user = ada.device.user.clone();
    refused(&mut eve.device).await;
    eve.device.id = hers;
    refused(&mut Authenticator::new()).await;
    assert_eq!(log_in(&house, &mut ada.device).await.status, 200);
    assert_eq!(
        told(&house, "passkey_login").await,
        [
            "unknown",
            "wrong",
            "unknown",
            "unknown",
            "user_not_verified",
            "wrong_site",
            "wrong_site",
            "wrong_site",
            "wrong_site"
        ]
    );
    let bad = show(&house, "x", &json!({ "id": "x" })).await;
    assert_eq!(bad.refusal(), "422 invalid_fields\n  credential: must be what an authenticator has answered, as JSON");
}

#[tokio::test]
async fn a_count_of_signatures_never_goes_back_unless_there_is_none() {
    let house = House::open().await;
    let mut ada = keyed(&house, ADA).await;
    ada.device.count = Some(10);
    assert_eq!(log_in(&house, &mut ada.device).await.status, 200);
    for copied in [9, 10] {
        ada.device.count = Some(copied);
        let answer = log_in(&house, &mut ada.device).await;
        assert_eq!(answer.refusal(), "401 invalid_passkey", "the count was 11, and says {}", copied + 1);
    }
    ada.device.count = Some(11);
    assert_eq!(log_in(&house, &mut ada.device).await.status, 200);
    ada.device.count = None;
    assert_eq!(log_in(&house, &mut ada.device).await.refusal(), "401 invalid_passkey");
    // Besides a password too.
    ada.device.count = Some(3);
    let token = challenged(&house).await.text("mfa_token").to_owned();
    let signed = ada.device.sign(&asked_beside(&house, &token).await);
    assert_eq!(verify(&house, &token, &signed).await.refusal(), "401 invalid_passkey");
    assert_eq!(told(&house, "verify_factor").await, ["counter_went_back"]);
    let of_logins = house.get("/admin/audit?event=passkey_login", house.login("root@example.com").await.shown()).await;
    let first = &of_logins.body["items"][0];
    assert_eq!(
        (&first["outcome"], &first["details"]["passkey"], &first["subject"]),
        (&json!("invalid_passkey"), &json!("counter_went_back"), &json!(ada.person.id.to_string()))
    );
    // One that does not count is not refused for it.
    let person = house.register("bob@example.com").await;
    let mut device = Authenticator::new();
    device.count = None;
    let made = device.make(&begin(&house, &person).await);
    assert_eq!(confirm(&house, &person, &made).await.status, 200);
    for _ in 0..2 {
        assert_eq!(log_in(&house, &mut device).await.status, 200);
    }
}

#[tokio::test]
async fn a_password_asks_for_a_passkey_that_is_this_accounts() {
    let house = House::open().await;
    let mut ada = keyed(&house, ADA).await;
    let mut eve = keyed(&house, "eve@example.com").await;
    let answer = challenged(&house).await;
    assert_eq!(answer.body["methods"], json!(["passkey", "recovery_code"]));
    let token = answer.text("mfa_token").to_owned();
    let nothing_asked = ada.device.sign(&json!({ "challenge": "AAAA" }));
    assert_eq!(verify(&house, &token, &nothing_asked).await.refusal(), "401 invalid_passkey");
    let options = asked_beside(&house, &token).await;
    assert_eq!(options["allowCredentials"].as_array().unwrap().len(), 1);
    assert_eq!(verify(&house, &token, &eve.device.sign(&options)).await.refusal(), "401 invalid_passkey");
    // What was asked for a login by it alone, or of another login, is another question.
    let (_, alone) = asked(&house).await;
    assert_eq!(verify(&house, &token, &ada.device.sign(&alone)).await.refusal(), "401 invalid_passkey");
    let other = challenged(&house).await.text("mfa_token").to_owned();
    let of_other = asked_beside(&house, &other).await;
    assert_eq!(verify(&house, &token, &ada.device.sign(&of_other)).await.refusal(), "401 invalid_passkey");
    let signed = ada.device.sign(&options);
    let session = verify(&house, &token, &signed).await;
    assert_eq!(session.status, 200, "{}", session.body);
    assert_eq!(methods(&house, &Person::of(&session)).await, ("password".to_owned(), "pwd hwk mfa".to_owned()));
    assert_eq!(verify(&house, &token, &signed).await.refusal(), "401 invalid_mfa_token");
    let gone = house.visit(&HOME, "/auth/mfa/passkeys/options", json!({ "mfa_token": token })).await;
    assert_eq!(gone.refusal(), "401 invalid_mfa_token");
    let both = json!({ "mfa_token": other, "code": "000000", "credential": signed });
    assert_eq!(house.visit(&HOME, "/auth/mfa/verify", both).await.status, 422);
    assert_eq!(
        told(&house, "verify_factor").await,
        ["not_asked", "not_asked", "unknown", "not_asked"],
        "the last one first"
    );
    // Whoever has lost it has the recovery codes, and a code after a question is a code still.
    let body = json!({ "mfa_token": other, "recovery_code": ada.recovery[0] });
    assert_eq!(house.visit(&HOME, "/auth/mfa/verify", body).await.status, 200);
}

#[tokio::test]
async fn only_its_owner_adds_a_passkey_and_only_the_one_that_was_asked_for() {
    let house = House::open().await;
    let person = house.register(ADA).await;
    let key = house.make_key(&person, json!({ "name": "ci" })).await;
    let by_key = house.post("/auth/mfa/passkeys", Shown::Credential(key["key"].as_str().unwrap()), Value::Null).await;
    assert_eq!(by_key.refusal(), "403 session_required");
    let nothing = confirm(&house, &person, &Authenticator::new().make(&begin_of_nobody())).await;
    assert_eq!(nothing.refusal(), "404 not_found");
    let wrong = |answer: Answer| {
        assert_eq!(
            answer.refusal(),
            "422 invalid_fields\n  credential: is not the passkey that was asked for",
            "{}",
            answer.body
        );
    };
    let options = begin(&house, &person).await;
    let mut device = Authenticator::new();
    device.origin = "https://evil.test";
    wrong(confirm(&house, &person, &device.make(&options)).await);
    device.origin = "https://door.test";
    device.rp = "evil.test";
    wrong(confirm(&house, &person, &device.make(&options)).await);
    device.rp = "door.test";
    device.verifies = false;
    wrong(confirm(&house, &person, &device.make(&options)).await);
    device.verifies = true;
    let earlier = device.make(&options);
    let options = begin(&house, &person).await;
    wrong(confirm(&house, &person, &earlier).await);
    let signed = device.sign(&options);
    let no_key = confirm(&house, &person, &signed).await;
    assert_eq!(
        no_key.refusal(),
        "422 invalid_fields\n  credential: must be what an authenticator has answered, as JSON"
    );
    // Nobody adds another's.
    let eve = house.register("eve@example.com").await;
    assert_eq!(confirm(&house, &eve, &device.make(&options)).await.refusal(), "404 not_found");
    let made = device.make(&options);
    let confirmed = confirm(&house, &person, &made).await;
    assert_eq!(confirmed.status, 200);
    let person = person.going_on_with(&confirmed);
    assert_eq!(confirm(&house, &person, &made).await.refusal(), "404 not_found", "once");
    let options = begin(&house, &eve).await;
    assert_eq!(confirm(&house, &eve, &device.make(&options)).await.refusal(), "409 conflict", "it is ada's");
    let options = begin(&house, &eve).await;
    house.advance(Duration::from_mins(5));
    let late = confirm(&house, &eve, &Authenticator::new().make(&options)).await;
    assert_eq!(late.refusal(), "404 not_found");
    house.advance(Duration::from_secs(1));
    let stale = house.post("/auth/mfa/passkeys", eve.shown(), Value::Null).await;
    assert_eq!(stale.refusal(), "401 insufficient_user_authentication");
}

/// Options that nobody was given.
fn begin_of_nobody() -> Value {
    json!({ "challenge": "AAAA", "user": { "id": "AAAA" } })
}

#[tokio::test]
async fn a_passkey_shows_anew_who_sits_there_in_the_session_in_which_it_was_asked() {
    let house = House::open().await;
    let mut ada = keyed(&house, ADA).await;
    let other = Person::of(&log_in(&house, &mut ada.device).await);
    house.advance(Duration::from_mins(6));
    let ask = async |person: &Person| house.post("/auth/reauthenticate/passkey", person.shown(), Value::Null).await;
    let anew = async |person: &Person, challenge: &str, credential: &Value| {
        let passkey = json!({ "challenge": challenge, "credential": credential });
        house.post("/auth/reauthenticate", person.shown(), json!({ "passkey": passkey })).await
    };
    let question = ask(&ada.person).await;
    assert_eq!(question.body["options"]["allowCredentials"].as_array().unwrap().len(), 1, "{}", question.body);
    let challenge = question.text("challenge").to_owned();
    let signed = ada.device.sign(&question.body["options"]);
    assert_eq!(show(&house, &challenge, &signed).await.refusal(), "401 invalid_passkey", "it is no login");
    assert_eq!(anew(&other, &challenge, &signed).await.refusal(), "403 wrong_proof", "another session");
    let (alone, options) = asked(&house).await;
    let of_login = ada.device.sign(&options);
    assert_eq!(anew(&ada.person, &alone, &of_login).await.refusal(), "403 wrong_proof", "a login's question");
    let signed = ada.device.sign(&question.body["options"]);
    let done = anew(&ada.person, &challenge, &signed).await;
    assert_eq!((done.status.as_u16(), done.body["acr"].as_str()), (200, Some("phr")), "{}", done.body);
    ada.person.access = done.text("access_token").to_owned();
    assert_eq!(anew(&ada.person, &challenge, &signed).await.refusal(), "403 wrong_proof", "once");
    // It removes itself.
    let id = house.get("/auth/mfa", ada.person.shown()).await.body["items"][0]["id"].as_str().unwrap().to_owned();
    let removed = house.call("DELETE", &format!("/auth/mfa/{id}"), ada.person.shown(), Value::Null).await;
    assert_eq!(removed.status, 204, "{}", removed.body);
    assert_eq!(ask(&ada.person).await.refusal(), "404 not_found");
    assert_eq!(log_in(&house, &mut ada.device).await.refusal(), "401 invalid_passkey");
}

/// Each field that is seen says what belongs in it, and each label has its field.
fn has_labels(page: &str) {
    let id = |after: &str| after.split('"').next().unwrap().to_owned();
    let inputs = page.split("<input ").skip(1).filter(|input| !input.starts_with("type=\"hidden\""));
    let fields: Vec<String> = inputs.map(|input| id(input.strip_prefix("id=\"").unwrap())).collect();
    let labels: Vec<String> = page.split("<label for=\"").skip(1).map(id).collect();
    assert_eq!(fields, labels, "{page}");
}

/// A browser in which somebody is signed in.
pub(crate) struct Browser<'a> {
    pub(crate) house: &'a House,
    pub(crate) cookie: SessionCookie,
}

impl Browser<'_> {
    pub(crate) async fn send(&self, method: &str, path: &str, form: &[(&str, &str)]) -> Answer {
        let facts = self.house.store.cookie_grant(self.cookie.id()).await.unwrap().unwrap();
        let assertion = self.house.assert(&facts.principal(Grant::Cookie(self.cookie.id())), "admin-api");
        let cookie = format!("__Host-portcullis={}", self.cookie.expose());
        let fields = [("X-Gateway-Assertion", &*assertion), ("Cookie", &*cookie), ("Sec-Fetch-Site", "same-origin")];
        let csrf = self.cookie.csrf_token();
        let form = serde_urlencoded::to_string([&[("csrf", &*csrf)], form].concat()).unwrap();
        send(self.house, method, path, &fields, &form).await
    }

    /// What a page says, which is `status`.
    async fn page(&self, method: &str, path: &str, form: &[(&str, &str)], status: u16) -> String {
        let answer = self.send(method, path, form).await;
        assert_eq!(answer.status, status, "{}", answer.body);
        let page = answer.body.as_str().unwrap();
        has_labels(page);
        page.to_owned()
    }

    /// Takes the cookie that an answer gives.
    fn takes(&mut self, answer: &Answer) {
        self.cookie = session_of(answer);
    }
}

/// The cookie that an answer gives.
fn session_of(answer: &Answer) -> SessionCookie {
    let cookie = answer.cookie().unwrap();
    SessionCookie::parse(cookie.split_once('=').unwrap().1).unwrap()
}

#[tokio::test]
async fn a_login_by_a_passkey_leaves_the_session_behind_that_the_browser_had() {
    let house = House::open().await;
    let mut device = keyed(&house, ADA).await.device;
    let mut sign_in = async |from: Place<'_>| {
        let (challenge, options) = asked(&house).await;
        let body = json!({ "challenge": challenge, "credential": device.sign(&options), "session": "cookie" });
        house.visit(&from, "/auth/passkey/login", body).await
    };
    let first = sign_in(HOME).await;
    let elsewhere = sign_in(HOME).await;
    let pair = first.cookie().unwrap();
    let second = sign_in(Place { cookie: Some(&pair), ..HOME }).await;
    let me = async |answer: &Answer| {
        house.get("/auth/me", Shown::Credential(session_of(answer).expose())).await.refusal_or_status()
    };
    assert_eq!(me(&first).await, "401 door:revoked");
    assert_eq!((me(&second).await, me(&elsewhere).await), ("200 OK".to_owned(), "200 OK".to_owned()));
}

#[tokio::test]
async fn other_sessions_are_ended_on_their_page_by_whoever_shows_that_they_are_theirs() {
    let house = House::open().await;
    let elsewhere = house.register(ADA).await;
    let body = json!({ "email": ADA, "password": PASSWORD, "session": "cookie" });
    let browser = Browser { house: &house, cookie: session_of(&house.visit(&HOME, "/auth/login", body).await) };
    let page = browser.page("GET", "/account/sessions", &[], 200).await;
    let one = page.split('"').find(|part| part.starts_with("/account/sessions/0")).unwrap();
    let (one, others) = (one.to_owned(), "/account/sessions/end-others".to_owned());
    house.advance(Duration::from_secs(301));
    for path in [&one, &others] {
        for form in [&[][..], &[("password", "wrong horse")]] {
            let asked = browser.page("POST", path, form, 403).await;
            let form = format!("<form method=\"post\" action=\"{path}\"");
            assert!(asked.contains("Show that it is you") && asked.contains(&form), "{asked}");
        }
    }
    let me = async |person: &Person| house.get("/auth/me", person.shown()).await.refusal_or_status();
    assert_eq!(me(&elsewhere).await, "200 OK");
    let ended = browser.send("POST", &one, &[("password", PASSWORD)]).await;
    assert_eq!((ended.status.as_u16(), &ended.headers["location"]), (303, &"/account/sessions".parse().unwrap()));
    assert_eq!(me(&elsewhere).await, "401 door:revoked");
    let (second, third) = (house.login(ADA).await, house.login(ADA).await);
    let ended = browser.send("POST", &others, &[("password", PASSWORD)]).await;
    assert_eq!(ended.status, 303, "{}", ended.body);
    assert_eq!((me(&second).await, me(&third).await), ("401 door:revoked".to_owned(), "401 door:revoked".to_owned()));
    let page = browser.page("GET", "/account/sessions", &[], 200).await;
    assert!(page.contains("This browser") && !page.contains("/end"), "{page}");
}

#[tokio::test]
async fn the_page_asks_who_sits_there_before_it_changes_anything() {
    let house = House::open().await;
    let mut ada = keyed(&house, ADA).await;
    let (challenge, options) = asked(&house).await;
    let body = json!({ "challenge": challenge, "credential": ada.device.sign(&options), "session": "cookie" });
    let begun = house.visit(&HOME, "/auth/passkey/login", body).await;
    let mut browser = Browser { house: &house, cookie: session_of(&begun) };
    let fresh = browser.page("GET", "/account/security", &[], 200).await;
    assert!(fresh.contains("A new passkey") && fresh.contains("/remove\""), "{fresh}");
    house.advance(Duration::from_mins(6));
    let stale = browser.page("GET", "/account/security", &[], 200).await;
    assert!(stale.contains("Show that it is you") && stale.contains("data-ask=\"/auth/reauthenticate/passkey\""));
    assert!(!stale.contains("A new") && !stale.contains("/remove\""), "{stale}");
    let id = house.store.factors(ada.person.id).await.unwrap()[0].id().uuid();
    for refused in [&*format!("/account/security/{id}/remove"), "/account/security/recovery-codes"] {
        browser.page("POST", refused, &[], 403).await;
    }
    browser.page("POST", "/account/security/totp", &[("name", "")], 403).await;
    assert_eq!(house.store.factors(ada.person.id).await.unwrap().len(), 1);
    // A password is one half where there is something else; and a wrong code is told.
    let wrong = browser.page("POST", "/account/security/confirm", &[("proof", PASSWORD)], 403).await;
    assert!(wrong.contains("role=\"alert\"") && wrong.contains("<title>Error: Security"), "{wrong}");
    let recovered = browser.send("POST", "/account/security/confirm", &[("proof", &ada.recovery[0])]).await;
    assert_eq!(
        (recovered.status.as_u16(), &recovered.headers["location"]),
        (303, &"/account/security".parse().unwrap())
    );
    browser.takes(&recovered);
    assert!(browser.page("GET", "/account/security", &[], 200).await.contains("A new passkey"));
    // The same by the passkey.
    house.advance(Duration::from_mins(6));
    let question = browser.send("POST", "/auth/reauthenticate/passkey", &[]).await;
    let signed = ada.device.sign(&question.body["options"]).to_string();
    let form = [("challenge", question.text("challenge")), ("credential", &*signed)];
    let shown = browser.send("POST", "/account/security/confirm-passkey", &form).await;
    assert_eq!(shown.status, 303, "{}", shown.body);
    browser.takes(&shown);
    let again = browser.page("POST", "/account/security/confirm-passkey", &form, 403).await;
    assert!(again.contains("role=\"alert\""), "once: {again}");
    browser.page("POST", "/account/security/confirm-passkey", &[("challenge", "x"), ("credential", "{")], 400).await;
    assert!(browser.page("GET", "/account/security", &[], 200).await.contains("A new passkey"));
    assert_eq!(told(&house, "reauthenticate").await, ["not_asked"]);
}

#[tokio::test]
async fn what_was_begun_is_shown_again_and_confirmed_only_while_the_session_is_fresh() {
    let house = House::open().await;
    let person = house.register(ADA).await;
    let body = json!({ "email": ADA, "password": PASSWORD, "session": "cookie" });
    let begun = house.visit(&HOME, "/auth/login", body).await;
    let browser = Browser { house: &house, cookie: session_of(&begun) };
    let enrolment = browser.page("POST", "/account/security/totp", &[("name", "")], 200).await;
    let secret = enrolment.split("id=\"secret\">").nth(1).unwrap().split('<').next().unwrap();
    let wrong = browser.page("POST", "/account/security/totp/confirm", &[("code", "x")], 403).await;
    assert!(wrong.contains(secret), "{wrong}");
    house.advance(Duration::from_secs(270));
    let options = begin(&house, &person).await;
    let email = browser.page("GET", "/account/email", &[], 200).await;
    assert!(!email.contains("name=\"password\""), "{email}");
    house.advance(Duration::from_secs(31));
    let stale = browser.page("POST", "/account/security/totp/confirm", &[("code", "x")], 403).await;
    assert!(!stale.contains(secret) && stale.contains("Show that it is you"), "{stale}");
    let email = browser.page("GET", "/account/email", &[], 200).await;
    assert!(email.contains("name=\"password\""), "{email}");
    let code = json!({ "code": "000000" });
    let refused = house.post("/auth/mfa/totp/confirm", person.shown(), code).await;
    assert_eq!(refused.refusal(), "401 insufficient_user_authentication");
    let made = Authenticator::new().make(&options);
    let refused = confirm(&house, &person, &made).await;
    assert_eq!(refused.refusal(), "401 insufficient_user_authentication");
    let code = json!({ "code": "000000", "proof": { "password": PASSWORD } });
    assert_eq!(house.post("/auth/mfa/totp/confirm", person.shown(), code).await.refusal(), "403 wrong_proof");
    let renewed = house.post("/auth/reauthenticate", person.shown(), json!({ "password": PASSWORD })).await;
    let person = Person { access: renewed.text("access_token").to_owned(), ..person };
    let code = json!({ "code": "000000" });
    assert_eq!(house.post("/auth/mfa/totp/confirm", person.shown(), code).await.refusal(), "403 wrong_proof");
    assert_eq!(confirm(&house, &person, &made).await.status, 200);
}

#[tokio::test]
async fn who_is_disabled_reset_or_deleted_does_not_get_in_by_a_passkey() {
    let house = House::open().await;
    let (mut ada, mut bob) = (keyed(&house, ADA).await, keyed(&house, "bob@example.com").await);
    let root = house.administrator("root@example.com").await;
    let status = |status| AccountChange { status: Some(status), ..AccountChange::default() };
    house.change(&ada.person, status(store::Status::Disabled)).await;
    assert_eq!(log_in(&house, &mut ada.device).await.refusal(), "403 account_disabled");
    house.change(&ada.person, status(store::Status::Active)).await;
    assert_eq!(log_in(&house, &mut ada.device).await.status, 200);
    let (challenge, options) = asked(&house).await;
    let reset = format!("/admin/users/{}/mfa", ada.person.id);
    let why = json!({ "reason": "lost the device" });
    assert_eq!(house.call("DELETE", &reset, root.shown(), why).await.status, 204);
    assert_eq!(show(&house, &challenge, &ada.device.sign(&options)).await.refusal(), "401 invalid_passkey");
    let delete = format!("/admin/users/{}", bob.person.id);
    assert_eq!(house.call("DELETE", &delete, root.shown(), Value::Null).await.status, 204);
    assert_eq!(log_in(&house, &mut bob.device).await.refusal(), "401 invalid_passkey");
}

#[tokio::test]
async fn where_browsers_have_no_passkeys_nobody_is_asked_for_one() {
    let house = House::open_with(|settings| settings.mail.public_url = "http://127.0.0.1:8080".to_owned()).await;
    let person = house.register(ADA).await;
    assert_eq!(house.post("/auth/mfa/passkeys", person.shown(), Value::Null).await.refusal(), "409 conflict");
    assert_eq!(house.visit(&HOME, "/auth/passkey/options", Value::Null).await.refusal(), "409 conflict");
}
