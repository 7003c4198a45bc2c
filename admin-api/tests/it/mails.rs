//! Addresses confirmed, passwords chosen anew, links to log in: by mail, and without telling strangers anything.

use std::time::Duration;

use admin_api::Registration;
use identity::{OneTimePurpose, OneTimeToken};
use serde_json::{Value, json};
use store::{AccountChange, NewOneTime, Status};
use uuid::Uuid;

use crate::house::{Answer, House, ISSUER, PASSWORD, Person, Place, Shown};

const NEW_PASSWORD: &str = "another horse battery";

async fn ask(house: &House, what: &str, email: &str) -> Answer {
    house.post(&format!("/auth/{what}"), Shown::Nothing, json!({ "email": email })).await
}

async fn show(house: &House, what: &str, token: &str) -> Answer {
    let mut body = json!({ "token": token });
    if what == "reset-password" {
        body["new_password"] = NEW_PASSWORD.into();
    }
    house.post(&format!("/auth/{what}"), Shown::Nothing, body).await
}

async fn try_login(house: &House, email: &str, password: &str) -> Answer {
    house.post("/auth/login", Shown::Nothing, json!({ "email": email, "password": password })).await
}

/// Registers somebody whose mail has been taken away.
async fn person(house: &House, email: &str) -> Person {
    let person = house.register(email).await;
    house.mails().await;
    person
}

fn home(cookie: Option<&str>) -> Place<'_> {
    Place { address: "192.0.2.1", cookie }
}

#[tokio::test]
async fn whoever_registers_confirms_the_address_by_mail_once() {
    let house = House::open().await;
    let ada = house.register("Ada@example.com").await;
    assert_eq!(house.get("/auth/me", ada.shown()).await.body["is_verified"], false);
    let mail = house.mail().await;
    assert_eq!((&*mail.to, &*mail.subject), ("Ada@example.com", "Confirm your address for Portcullis"));
    let token = mail.token();
    assert!(mail.text.contains(&format!("{ISSUER}/account/verify-email?token={token}")), "{}", mail.text);
    assert!(mail.raw.contains("Auto-Submitted: auto-generated\r\n"), "{}", mail.raw);

    let answer = show(&house, "verify-email", &token).await;
    assert_eq!((answer.status.as_u16(), &answer.body["user"]["is_verified"]), (200, &json!(true)));
    assert_eq!(house.get("/auth/me", ada.shown()).await.body["is_verified"], true);
    assert_eq!(show(&house, "verify-email", &token).await.refusal(), "400 invalid_link");
    // Nothing is left to confirm.
    assert_eq!(ask(&house, "resend-verification", "ada@example.com").await.status, 202);
    assert_eq!(house.mails().await.len(), 0);
}

#[tokio::test]
async fn an_unconfirmed_account_has_the_role_that_the_configuration_says_and_may_be_kept_out() {
    let house = House::open_with(|settings| settings.accounts.unverified_role = Some("helpdesk".to_owned())).await;
    let ada = house.register("ada@example.com").await;
    assert_eq!(house.get("/auth/me", ada.shown()).await.body["role"], "helpdesk");
    show(&house, "verify-email", &house.mail().await.token()).await;
    assert_eq!(house.get("/auth/me", ada.shown()).await.body["role"], "user");

    let house = House::open_with(|settings| settings.accounts.unverified_may_log_in = false).await;
    let body = json!({ "email": "ada@example.com", "password": PASSWORD });
    let registered = house.post("/auth/register", Shown::Nothing, body).await;
    assert_eq!((registered.status.as_u16(), registered.body.get("access_token")), (202, None));
    assert_eq!(try_login(&house, "ada@example.com", PASSWORD).await.refusal(), "403 email_unverified");
    assert_eq!(try_login(&house, "ada@example.com", "not the password").await.refusal(), "401 invalid_credentials");
    show(&house, "verify-email", &house.mail().await.token()).await;
    house.login("ada@example.com").await;
}

/// What a machine has instead of an address is read by nobody, and it has no password.
#[tokio::test]
async fn a_machine_gets_no_letter_and_is_known_by_its_keys_alone() {
    let house = House::open().await;
    person(&house, "ada@example.com").await;
    let (id, key) = house.service(None).await;
    let email = format!("{}@service.invalid", id.uuid().simple());
    for what in ["request-password-reset", "magic-link", "resend-verification"] {
        let (of_it, of_nobody) = (ask(&house, what, &email).await, ask(&house, what, "nobody@example.com").await);
        assert_eq!((of_it.status, of_it.body), (of_nobody.status, of_nobody.body), "{what}");
    }
    house.made("/auth/api-keys", Shown::Credential(&key), json!({ "name": "next" })).await;
    assert_eq!(house.mails().await.len(), 0);
    // Links that were sent before.
    for (what, purpose) in
        [("reset-password", OneTimePurpose::ResetPassword), ("verify-email", OneTimePurpose::VerifyEmail)]
    {
        let (token, now) = (OneTimeToken::generate(Uuid::now_v7(), &mut rand::rng()), house.now());
        let kept = NewOneTime {
            id: token.id(),
            purpose,
            account: Some(id),
            address: &email,
            digest: token.digest_for(purpose),
            binding: None,
            sealed: None,
            now,
            expires_at: now + Duration::from_hours(1),
        };
        house.store.keep_one_time(&kept).await.unwrap();
        assert_eq!(show(&house, what, token.expose()).await.refusal(), "400 invalid_link", "{what}");
    }
    // Nor a password, whatever became of it before.
    house
        .run("UPDATE accounts SET password_hash = (SELECT password_hash FROM accounts WHERE email = 'ada@example.com')")
        .await;
    assert_eq!(try_login(&house, &email, PASSWORD).await.refusal(), "401 invalid_credentials");
    house.login("ada@example.com").await;
    assert_eq!(house.get("/auth/me", Shown::Credential(&key)).await.status, 200);
}

#[tokio::test]
async fn whoever_has_no_address_gets_no_letter_where_nobody_reads_it() {
    let house = House::open().await;
    let ada = house.register("ada@no-address.invalid").await;
    let other = json!({ "old_password": PASSWORD, "new_password": NEW_PASSWORD });
    assert_eq!(house.post("/auth/change-password", ada.shown(), other).await.status, 200);
    for what in ["request-password-reset", "magic-link", "resend-verification"] {
        assert_eq!(ask(&house, what, "Ada@No-Address.invalid").await.status, 202, "{what}");
    }
    assert_eq!(house.mails().await.len(), 0);
    assert_eq!(try_login(&house, "ada@no-address.invalid", NEW_PASSWORD).await.status, 200);
}

#[tokio::test]
async fn a_new_password_is_chosen_by_mail_once_and_ends_every_session() {
    let house = House::open().await;
    let ada = person(&house, "ada@example.com").await;
    assert_eq!(ask(&house, "request-password-reset", "ADA@example.com").await.status, 202);
    let token = house.mail().await.token();
    // A password that is refused does not use the token up.
    let weak = json!({ "token": token, "new_password": "short" });
    assert_eq!(
        house.post("/auth/reset-password", Shown::Nothing, weak).await.refusal(),
        "422 invalid_fields\n  new_password: the password needs at least 8 characters"
    );
    let answer = show(&house, "reset-password", &token).await;
    assert_eq!((answer.status.as_u16(), answer.body.get("access_token")), (200, None), "{}", answer.body);
    assert_eq!(house.get("/auth/me", ada.shown()).await.refusal(), "401 door:revoked");
    let refreshed = house.post("/auth/refresh", Shown::Nothing, json!({ "refresh_token": ada.refresh })).await;
    assert_eq!(refreshed.refusal(), "401 revoked");
    assert_eq!(try_login(&house, "ada@example.com", PASSWORD).await.refusal(), "401 invalid_credentials");
    assert_eq!(try_login(&house, "ada@example.com", NEW_PASSWORD).await.body["user"]["is_verified"], true);
    assert_eq!(show(&house, "reset-password", &token).await.refusal(), "400 invalid_link");
    let told = house.mail().await;
    assert_eq!(told.subject, "Your password for Portcullis has changed");
    assert!(!told.text.contains("pco_"), "{}", told.text);
}

#[tokio::test]
async fn tokens_are_over_when_their_time_is() {
    let house = House::open().await;
    person(&house, "ada@example.com").await;
    ask(&house, "resend-verification", "ada@example.com").await;
    ask(&house, "request-password-reset", "ada@example.com").await;
    let mails = house.mails().await;
    let tokens: Vec<_> = mails.iter().map(|mail| (mail.subject.contains("Confirm"), mail.token())).collect();
    house.advance(Duration::from_secs(30 * 60 + 1));
    for (confirms, token) in &tokens {
        if !confirms {
            assert_eq!(show(&house, "reset-password", token).await.refusal(), "400 invalid_link");
        }
    }
    house.advance(Duration::from_hours(24));
    for (confirms, token) in &tokens {
        if *confirms {
            assert_eq!(show(&house, "verify-email", token).await.refusal(), "400 invalid_link");
        }
    }
    assert_eq!(tokens.len(), 2);
}

#[tokio::test]
async fn a_token_of_one_purpose_never_serves_another() {
    let house = House::open().await;
    let ada = person(&house, "ada@example.com").await;
    for (what, own) in [
        ("resend-verification", "verify-email"),
        ("request-password-reset", "reset-password"),
        ("magic-link", "magic-link/consume"),
    ] {
        let asked = house.visit(&home(None), &format!("/auth/{what}"), json!({ "email": "ada@example.com" })).await;
        let cookie = asked.cookie();
        let token = house.mail().await.token();
        for other in ["verify-email", "reset-password", "magic-link/consume"] {
            if other == own {
                continue;
            }
            let mut body = json!({ "token": token });
            if other == "reset-password" {
                body["new_password"] = NEW_PASSWORD.into();
            }
            let shown = house.visit(&home(cookie.as_deref()), &format!("/auth/{other}"), body).await;
            assert_eq!(shown.refusal(), "400 invalid_link", "a token of {what} at {other}");
        }
    }
    // Nor is anything else such a token.
    for token in [ada.access.as_str(), &ada.refresh, "", "pco_", "pco_\u{0}", &"x".repeat(4096)] {
        for what in ["verify-email", "reset-password", "magic-link/consume"] {
            assert_eq!(show(&house, what, token).await.refusal(), "400 invalid_link", "{what} {token:?}");
        }
    }
    assert_eq!(house.get("/auth/me", ada.shown()).await.body["is_verified"], false, "nothing has happened");
}

#[tokio::test]
async fn a_link_logs_in_once_and_in_the_browser_that_asked_alone() {
    let house = House::open().await;
    person(&house, "ada@example.com").await;
    let asked = house.visit(&home(None), "/auth/magic-link", json!({ "email": "ada@example.com" })).await;
    assert_eq!(asked.status, 202);
    let cookie = asked.cookie().unwrap();
    assert!(cookie.starts_with("__Host-portcullis-device=pcd_"), "{cookie}");
    let given = asked.headers["set-cookie"].to_str().unwrap();
    for attribute in ["; Path=/;", "; HttpOnly", "; SameSite=Lax", "; Secure"] {
        assert!(given.contains(attribute), "{given} lacks {attribute}");
    }
    let token = house.mail().await.token();
    let body = json!({ "token": token });
    let other = house.visit(&home(None), "/auth/magic-link", json!({ "email": "bob@example.com" })).await.cookie();
    for stranger in [None, other.as_deref()] {
        let answer = house.visit(&home(stranger), "/auth/magic-link/consume", body.clone()).await;
        assert_eq!(answer.refusal(), "400 invalid_link", "another browser");
    }
    let answer = house.visit(&home(Some(&cookie)), "/auth/magic-link/consume", body.clone()).await;
    assert_eq!((answer.status.as_u16(), answer.cookie()), (200, None), "{}", answer.body);
    let ada = Person::of(&answer);
    assert_eq!(house.get("/auth/me", ada.shown()).await.body["is_verified"], true, "it was read in the mail");
    let again = house.visit(&home(Some(&cookie)), "/auth/magic-link/consume", body).await;
    assert_eq!(again.refusal(), "400 invalid_link");

    house.visit(&home(Some(&cookie)), "/auth/magic-link", json!({ "email": "ada@example.com" })).await;
    let token = house.mail().await.token();
    house.change(&ada, AccountChange { status: Some(Status::Disabled), ..AccountChange::default() }).await;
    let answer = house.visit(&home(Some(&cookie)), "/auth/magic-link/consume", json!({ "token": token })).await;
    assert_eq!(answer.refusal(), "400 invalid_link");
}

#[tokio::test]
async fn nobody_learns_from_an_answer_or_a_mail_whether_there_is_an_account() {
    let house = House::open_with(|settings| settings.accounts.registration = Registration::Verified).await;
    let body = |email: &str| json!({ "email": email, "password": PASSWORD });
    house.post("/auth/register", Shown::Nothing, body("ada@example.com")).await;
    show(&house, "verify-email", &house.mail().await.token()).await;
    for (path, ask) in [
        ("/auth/register", body as fn(&str) -> Value),
        ("/auth/request-password-reset", |email| json!({ "email": email })),
        ("/auth/resend-verification", |email| json!({ "email": email })),
        ("/auth/magic-link", |email| json!({ "email": email })),
        ("/auth/login", |email| json!({ "email": email, "password": "not the password" })),
    ] {
        let known = house.visit(&home(None), path, ask("ada@example.com")).await;
        let mails = house.mails().await;
        // Somebody else each time: who has registered waits for a mail.
        let unknown = house.visit(&home(None), path, ask(&format!("b{}@example.com", path.len()))).await;
        let to_nobody = house.mails().await;
        assert_eq!((known.status, &known.body), (unknown.status, &unknown.body), "{path}");
        let names = |answer: &Answer| {
            let mut names: Vec<_> = answer.headers.keys().map(ToString::to_string).collect();
            names.sort();
            names
        };
        assert_eq!(names(&known), names(&unknown), "{path}");
        for name in known.headers.keys().filter(|name| *name != "set-cookie") {
            assert_eq!(known.headers[name], unknown.headers[name], "{path} {name}");
        }
        // Mail goes to the owner alone, and to whoever wants to register.
        assert!(mails.iter().all(|mail| mail.to == "ada@example.com"), "{path} {mails:?}");
        assert_eq!(to_nobody.len(), usize::from(path == "/auth/register"), "{path}");
    }
}

#[tokio::test]
async fn a_verified_registration_is_no_account_before_its_mail_is_answered() {
    let house = House::open_with(|settings| settings.accounts.registration = Registration::Verified).await;
    let register = async |email: &str, password: &str| {
        let body = json!({ "email": email, "password": password, "name": "Ada", "tenant_name": "Engines" });
        let answer = house.post("/auth/register", Shown::Nothing, body).await;
        assert_eq!((answer.status.as_u16(), answer.body.get("access_token")), (202, None));
    };
    register("Ada@example.com", PASSWORD).await;
    let mail = house.mail().await;
    assert_eq!((&*mail.to, &*mail.subject), ("Ada@example.com", "Confirm your registration with Portcullis"));
    // To log in would tell that the address was free; it tells nothing.
    assert_eq!(try_login(&house, "ada@example.com", PASSWORD).await.refusal(), "401 invalid_credentials");
    // The mail can be sent again.
    assert_eq!(ask(&house, "resend-verification", "ada@example.com").await.status, 202);
    let again = house.mail().await;
    assert_ne!(again.token(), mail.token());

    let made = show(&house, "verify-email", &again.token()).await;
    assert_eq!((made.status.as_u16(), &made.body["user"]["is_verified"]), (200, &json!(true)), "{}", made.body);
    assert_eq!((&made.body["user"]["name"], &made.body["user"]["role"]), (&json!("Ada"), &json!("user")));
    assert!(made.body["user"]["tenant_id"].is_string());
    house.login("ada@example.com").await;
    assert_eq!(show(&house, "verify-email", &mail.token()).await.refusal(), "400 invalid_link", "there is one now");

    register("ADA@example.com", "somebody else's password").await;
    let told = house.mail().await;
    assert_eq!((&*told.to, &*told.subject), ("Ada@example.com", "You have an account with Portcullis already"));
    assert!(!told.text.contains("pco_"), "{}", told.text);
    house.login("ada@example.com").await;
}

#[tokio::test]
async fn mail_goes_to_the_address_as_its_owner_writes_it() {
    let house = House::open().await;
    person(&house, "ada@example.com").await;
    // One address to us; to servers that carry mail they are others, which somebody else may have.
    for typed in ["ADA@EXAMPLE.COM", "\u{ff41}da@example.com", "ada@\u{ff45}xample.com", " ada@example.com "] {
        assert_eq!(ask(&house, "request-password-reset", typed).await.status, 202, "{typed}");
        assert_eq!(house.mail().await.to, "ada@example.com", "{typed}");
    }
    // Cyrillic, which looks the same and is another address.
    assert_eq!(ask(&house, "request-password-reset", "\u{430}da@example.com").await.status, 202);
    assert_eq!(house.mails().await.len(), 0);
    let twin = json!({ "email": "\u{430}da@example.com", "password": PASSWORD });
    let twin = house.post("/auth/register", Shown::Nothing, twin).await;
    assert_eq!(twin.status, 201);
    assert_eq!(try_login(&house, "ada@example.com", PASSWORD).await.status, 200);
}

#[tokio::test]
async fn nothing_that_is_typed_becomes_a_header_of_a_mail_or_words_of_it() {
    let house = House::open().await;
    for email in [
        "ada@example.com\r\nBcc: eve@example.com",
        "ada@example.com\nx",
        "<ada@example.com>",
        "a,b@example.com",
        "a\u{0}@b.c",
    ] {
        for what in ["request-password-reset", "resend-verification", "magic-link"] {
            assert_eq!(ask(&house, what, email).await.status, 422, "{what} {email:?}");
        }
    }
    let name = "Ada\" <eve@example.com>, =?utf-8?q?=0D=0ABcc:_eve@example.com?= http://evil.test <b>";
    let body = json!({ "email": "ada@example.com", "password": PASSWORD, "name": name });
    assert_eq!(house.post("/auth/register", Shown::Nothing, body).await.status, 201);
    let mail = house.mail().await;
    for word in ["eve@", "evil.test", "Bcc", "<b>"] {
        assert!(!mail.raw.contains(word), "{word} in {}", mail.raw);
    }
    let body = json!({ "email": "bob@example.com", "password": PASSWORD, "name": "a\r\nBcc: eve@example.com" });
    assert_eq!(house.post("/auth/register", Shown::Nothing, body).await.status, 422);
}

#[tokio::test]
async fn links_begin_with_the_public_address_whatever_host_a_request_names() {
    let house = House::open().await;
    person(&house, "ada@example.com").await;
    for header in ["Host", "X-Forwarded-Host", "Forwarded"] {
        let answer = house
            .call(
                "POST",
                "/auth/request-password-reset",
                Shown::Header(header, "host=evil.test"),
                json!({ "email": "ada@example.com" }),
            )
            .await;
        assert_eq!(answer.status, 202);
        let mail = house.mail().await;
        assert!(mail.text.contains(&format!("{ISSUER}/account/reset-password?token=")), "{}", mail.text);
        assert!(!mail.raw.contains("evil.test"), "{}", mail.raw);
    }
}

#[tokio::test]
async fn nobody_floods_a_mailbox() {
    let house = House::open().await;
    person(&house, "ada@example.com").await;
    for _ in 0..8 {
        assert_eq!(ask(&house, "request-password-reset", "ada@example.com").await.status, 202);
    }
    assert_eq!(house.mails().await.len(), 5);
    house.advance(Duration::from_secs(3601));
    ask(&house, "request-password-reset", "ada@example.com").await;
    assert_eq!(house.mails().await.len(), 1);
}

/// Makes keys, and chooses passwords to and fro, so often; how many letters tell of either.
async fn told_of(house: &House, person: &Person, keys: usize, passwords: usize) -> (usize, usize) {
    for _ in 0..keys {
        let key = house.make_key(person, json!({ "name": "another" })).await;
        let path = format!("/auth/api-keys/{}", key["id"].as_str().unwrap());
        assert!(house.call("DELETE", &path, person.shown(), Value::Null).await.status.is_success());
    }
    for time in 0..passwords {
        let (old, new) = if time % 2 == 0 { (PASSWORD, NEW_PASSWORD) } else { (NEW_PASSWORD, PASSWORD) };
        let body = json!({ "old_password": old, "new_password": new });
        assert_eq!(house.post("/auth/change-password", person.shown(), body).await.status, 200);
    }
    let mails = house.mails().await;
    let of = |what: &str| mails.iter().filter(|mail| mail.subject.contains(what)).count();
    let told = (of("API key"), of("password"));
    assert_eq!(told.0 + told.1, mails.len(), "{mails:?}");
    told
}

#[tokio::test]
async fn whoever_sits_in_an_account_floods_no_mailbox() {
    let house = House::open().await;
    // Perhaps it is somebody else's address: whatever is done there is one kind.
    let mallory = person(&house, "ada@example.com").await;
    assert_eq!(told_of(&house, &mallory, 3, 4).await, (3, 2));
    assert_eq!(told_of(&house, &mallory, 3, 2).await, (0, 0));
    house.advance(Duration::from_secs(3601));
    let ada = house.login("ada@example.com").await;
    house.confirm(ada.id).await;
    assert_eq!(told_of(&house, &ada, 8, 2).await, (5, 2), "five of each kind");
    assert_eq!(told_of(&house, &ada, 1, 4).await, (0, 3));
    // Nor by making the account anew.
    house.store.delete_account(ada.id, None, house.now()).await.unwrap();
    let again = person(&house, "ada@example.com").await;
    assert_eq!(told_of(&house, &again, 2, 2).await, (0, 0));
}

#[tokio::test]
async fn what_is_kept_opens_no_account() {
    let house = House::open().await;
    person(&house, "ada@example.com").await;
    ask(&house, "magic-link", "ada@example.com").await;
    let token = house.mail().await.token();
    // The log of writes holds what the file does not yet.
    let bytes = ["test.db", "test.db-wal"].map(|name| std::fs::read(house.file(name)).unwrap_or_default()).concat();
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains("magic_link"), "it is looked for where it would be");
    assert!(!text.contains(&token) && !text.contains("account/magic-link"));
}
