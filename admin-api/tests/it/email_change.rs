//! An account that gets another address: confirmed by its mail, told to the one before, and no way in for anybody else.

use std::time::Duration;

use serde_json::json;
use store::{AccountChange, Status};

use crate::house::{Answer, House, Mail, PASSWORD, Person, Shown};

async fn ask(house: &House, who: &Person, email: &str) -> Answer {
    house.post("/auth/change-email", who.shown(), json!({ "new_email": email, "password": PASSWORD })).await
}

async fn confirm(house: &House, token: &str) -> Answer {
    house.post("/auth/confirm-email", Shown::Nothing, json!({ "token": token })).await
}

/// Somebody whose mail has been taken away.
async fn person(house: &House, email: &str) -> Person {
    let person = house.register(email).await;
    house.mails().await;
    person
}

/// The mail to an address, of those that there are.
fn to(mails: &[Mail], address: &str) -> String {
    mails.iter().find(|mail| mail.to == address).unwrap_or_else(|| panic!("{mails:?}")).token()
}

/// Asks, and gives the token that was sent.
async fn asked(house: &House, who: &Person, email: &str) -> String {
    assert_eq!(ask(house, who, email).await.status, 202);
    to(&house.mails().await, email)
}

#[tokio::test]
async fn an_account_has_another_address_when_its_mail_is_answered_and_the_one_before_is_told() {
    let house = House::open().await;
    let ada = person(&house, "ada@example.com").await;
    let elsewhere = house.login("ada@example.com").await;
    assert_eq!(ask(&house, &ada, "Ada@new.example").await.status, 202);
    let mails = house.mails().await;
    let subjects: Vec<_> = mails.iter().map(|mail| (mail.to.as_str(), mail.subject.as_str())).collect();
    assert!(
        subjects.contains(&("ada@example.com", "Your account of Portcullis is to get another address")),
        "{subjects:?}"
    );
    assert!(subjects.contains(&("Ada@new.example", "Confirm your new address for Portcullis")), "{subjects:?}");
    assert_eq!(house.get("/auth/me", ada.shown()).await.body["email"], "ada@example.com", "not yet");

    let token = to(&mails, "Ada@new.example");
    let changed = confirm(&house, &token).await;
    assert_eq!((changed.status.as_u16(), &changed.body["user"]["email"]), (200, &json!("Ada@new.example")));
    assert_eq!(changed.body["user"]["is_verified"], true);
    let told = house.mail().await;
    assert_eq!((&*told.to, &*told.subject), ("ada@example.com", "Your account of Portcullis has another address"));
    assert!(!told.text.contains("pco_") && !told.text.contains("new.example"), "{}", told.text);
    // Where it was asked for it goes on; elsewhere it ends.
    assert_eq!(house.get("/auth/me", ada.shown()).await.body["email"], "Ada@new.example");
    assert_eq!(house.get("/auth/me", elsewhere.shown()).await.refusal(), "401 door:revoked");
    house.login("ada@NEW.example").await;
    let before = json!({ "email": "ada@example.com", "password": PASSWORD });
    assert_eq!(house.post("/auth/login", Shown::Nothing, before).await.refusal(), "401 invalid_credentials");
    assert_eq!(confirm(&house, &token).await.refusal(), "400 invalid_link", "it serves once");
    // The address before is anybody's.
    house.register("ada@example.com").await;
}

/// Whoever belongs to one that is called otherwise all of a sudden finds out by whom.
#[tokio::test]
async fn which_organisations_are_called_otherwise_with_an_address_is_in_the_trail() {
    let house = House::open().await;
    let root = house.administrator("root@example.com").await;
    let (ada, bob) = (person(&house, "ada@example.com").await, person(&house, "bob@example.com").await);
    let tenant = house.tenant_of(&ada).await;
    let named = json!({ "name": "ada@example.com" });
    assert_eq!(house.call("PATCH", &format!("/tenants/{tenant}"), ada.shown(), named).await.status, 200);
    for (who, email) in [(&ada, "ada@new.example"), (&bob, "bob@new.example")] {
        let token = asked(&house, who, email).await;
        assert_eq!(confirm(&house, &token).await.status, 200);
    }
    let trail = house.get("/admin/audit?event=confirm_email", root.shown()).await.body;
    let details = |who: &Person| {
        let of = |event: &&serde_json::Value| event["subject"] == json!(who.id.to_string());
        trail["items"].as_array().unwrap().iter().find(of).unwrap()["details"].clone()
    };
    assert_eq!(details(&ada), json!({ "renamed": [tenant] }));
    assert_eq!(details(&bob), json!(null));
}

#[tokio::test]
async fn nobody_learns_whether_an_address_is_taken_but_its_owner() {
    let house = House::open().await;
    let (ada, bob) = (person(&house, "ada@example.com").await, person(&house, "bob@example.com").await);
    let free = ask(&house, &ada, "free@example.com").await;
    house.mails().await;
    let taken = ask(&house, &ada, "BOB@example.com").await;
    assert_eq!((free.status, &free.body), (taken.status, &taken.body));
    let mails = house.mails().await;
    let told = mails.iter().find(|mail| mail.to == "bob@example.com").unwrap();
    assert_eq!(told.subject, "You have an account with Portcullis already");
    assert!(mails.iter().all(|mail| !mail.text.contains("pco_")), "{mails:?}");

    // Taken only after the mail was sent.
    let link = asked(&house, &ada, "carol@example.com").await;
    let carol = person(&house, "carol@example.com").await;
    assert_eq!(confirm(&house, &link).await.refusal(), "400 invalid_link");
    assert_eq!(house.get("/auth/me", ada.shown()).await.body["email"], "ada@example.com");
    for (who, email) in [(&bob, "bob@example.com"), (&carol, "carol@example.com")] {
        assert_eq!(house.get("/auth/me", who.shown()).await.body["email"], email);
    }
}

#[tokio::test]
async fn the_owner_shows_who_they_are_for_it() {
    let house = House::open().await;
    let ada = person(&house, "ada@example.com").await;
    let wrong = json!({ "new_email": "new@example.com", "password": "not the password" });
    assert_eq!(house.post("/auth/change-email", ada.shown(), wrong).await.refusal(), "403 wrong_proof");
    let bare = json!({ "new_email": "new@example.com" });
    let key = house.make_key(&ada, json!({ "name": "ci" })).await;
    house.mails().await;
    house.advance(Duration::from_mins(6));
    assert_eq!(
        house.post("/auth/change-email", ada.shown(), bare).await.refusal(),
        "401 insufficient_user_authentication"
    );
    let by_key = Shown::Credential(key["key"].as_str().unwrap());
    let body = json!({ "new_email": "new@example.com", "password": PASSWORD });
    assert_eq!(house.post("/auth/change-email", by_key, body).await.refusal(), "403 session_required");
    assert_eq!(
        ask(&house, &ada, "new\r\nBcc: eve@example.com").await.refusal(),
        "422 invalid_fields\n  new_email: the address contains a character that addresses do not have"
    );
    assert_eq!(house.mails().await.len(), 0);
}

/// Else whoever had got in could come back after the owner has thrown them out ("unexpired email change", Sudhodanan and Paverd, 2022).
#[tokio::test]
async fn a_change_dies_with_the_session_in_which_it_was_asked_for() {
    let house = House::open().await;
    let ada = person(&house, "ada@example.com").await;
    let thief = house.login("ada@example.com").await;
    let token = asked(&house, &thief, "eve@example.com").await;
    house.post("/auth/request-password-reset", Shown::Nothing, json!({ "email": "ada@example.com" })).await;
    let reset = json!({ "token": house.mail().await.token(), "new_password": "another horse battery" });
    assert_eq!(house.post("/auth/reset-password", Shown::Nothing, reset).await.status, 200);
    assert_eq!(confirm(&house, &token).await.refusal(), "400 invalid_link");
    assert_eq!(house.store.account(ada.id).await.unwrap().unwrap().email, "ada@example.com");
}

#[tokio::test]
async fn a_new_password_voids_a_change_that_was_asked_for_in_the_same_session() {
    let house = House::open().await;
    let ada = person(&house, "ada@example.com").await;
    let token = asked(&house, &ada, "eve@example.com").await;
    let body = json!({ "old_password": PASSWORD, "new_password": "another horse battery" });
    let changed = house.post("/auth/change-password", ada.shown(), body).await;
    assert!(changed.status.is_success(), "{}", changed.body);
    assert_eq!(house.get("/auth/me", ada.shown()).await.status, 200, "the session goes on");
    assert_eq!(confirm(&house, &token).await.refusal(), "400 invalid_link");
    assert_eq!(house.store.account(ada.id).await.unwrap().unwrap().email, "ada@example.com");
}

#[tokio::test]
async fn a_change_of_an_account_that_is_deleted_holds_no_mail_up() {
    let house = House::open().await;
    let ada = person(&house, "ada@example.com").await;
    assert_eq!(ask(&house, &ada, "new@example.com").await.status, 202);
    house.store.delete_account(ada.id, None, house.now()).await.unwrap();
    assert_eq!(house.mails().await.len(), 0);
    assert_eq!(house.store.next_mail_due().await.unwrap(), None);
}

#[tokio::test]
async fn only_the_last_change_asked_for_is_good_and_none_of_a_disabled_account_or_after_a_day() {
    let house = House::open().await;
    let ada = person(&house, "ada@example.com").await;
    let first = asked(&house, &ada, "first@example.com").await;
    let second = asked(&house, &ada, "second@example.com").await;
    assert_eq!(confirm(&house, &first).await.refusal(), "400 invalid_link");
    // Nor does it serve for anything else.
    for what in ["verify-email", "magic-link/consume", "reset-password", "accept-invite"] {
        let body = match what {
            "reset-password" => json!({ "token": second, "new_password": "another horse battery" }),
            "accept-invite" => json!({ "token": second, "password": "another horse battery" }),
            _ => json!({ "token": second }),
        };
        let answer = house.post(&format!("/auth/{what}"), Shown::Nothing, body).await;
        assert_eq!(answer.refusal(), "400 invalid_link", "{what}");
    }
    house.change(&ada, AccountChange { status: Some(Status::Disabled), ..AccountChange::default() }).await;
    assert_eq!(confirm(&house, &second).await.refusal(), "400 invalid_link");
    house.change(&ada, AccountChange { status: Some(Status::Active), ..AccountChange::default() }).await;
    assert_eq!(confirm(&house, &second).await.refusal(), "400 invalid_link", "its session has ended");
    let ada = house.login("ada@example.com").await;
    let third = asked(&house, &ada, "third@example.com").await;
    house.advance(Duration::from_secs(86_401));
    assert_eq!(confirm(&house, &third).await.refusal(), "400 invalid_link");
}

#[tokio::test]
async fn what_was_sent_to_the_address_before_buys_nothing_any_more() {
    let house = House::open().await;
    let ada = person(&house, "ada@example.com").await;
    house.post("/auth/request-password-reset", Shown::Nothing, json!({ "email": "ada@example.com" })).await;
    let reset = house.mail().await.token();
    let body = json!({ "token": reset, "new_password": "another horse battery" });
    // Nor when the account comes back to it.
    for email in ["new@example.com", "ada@example.com"] {
        let link = asked(&house, &ada, email).await;
        assert_eq!(confirm(&house, &link).await.status, 200);
        house.mails().await;
        let shown = house.post("/auth/reset-password", Shown::Nothing, body.clone()).await;
        assert_eq!(shown.refusal(), "400 invalid_link", "{email}");
    }
}

/// One address to us, and its owner writes it otherwise from now on.
#[tokio::test]
async fn the_same_address_may_be_written_otherwise() {
    let house = House::open().await;
    let ada = person(&house, "ada@example.com").await;
    assert_eq!(ask(&house, &ada, "Ada@Example.com").await.status, 202);
    let token = to(&house.mails().await, "Ada@Example.com");
    assert_eq!(confirm(&house, &token).await.body["user"]["email"], "Ada@Example.com");
}
