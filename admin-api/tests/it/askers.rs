//! Who asks for somebody else's mail neither floods the mailbox nor leaves nothing for its owner (docs/decisions/0008-lockout.md).

use std::time::Duration;

use admin_api::Registration;
use serde_json::json;

use crate::house::{Answer, House, Mail, PASSWORD, Person, Place, Shown};

const ADA: &str = "ada@example.com";
const NEW_PASSWORD: &str = "another horse battery";
const HOME: Place<'_> = Place { address: "192.0.2.1", cookie: None };
const FAR: Place<'_> = Place { address: "198.51.100.7", cookie: None };
const ROAD: Place<'_> = Place { address: "203.0.113.9", cookie: None };

/// Ada has registered at home; her browser's cookie.
async fn at_home(house: &House) -> String {
    let answer = house.visit(&HOME, "/auth/register", json!({ "email": ADA, "password": PASSWORD })).await;
    let id = answer.body["user"]["id"].as_str().unwrap().parse().unwrap();
    house.confirm(id).await;
    house.mails().await;
    answer.cookie().unwrap()
}

async fn ask(house: &House, from: &Place<'_>, what: &str) -> Answer {
    let answer = house.visit(from, &format!("/auth/{what}"), json!({ "email": ADA })).await;
    assert_eq!(answer.status, 202, "whatever becomes of it");
    answer
}

/// Asks for a link, and logs in with it in the browser that asked; `false` if no mail came.
async fn comes_in_by_link(house: &House, from: &Place<'_>) -> bool {
    let cookie = ask(house, from, "magic-link").await.cookie();
    let Some(mail) = house.mails().await.pop() else { return false };
    let browser = Place { cookie: from.cookie.or(cookie.as_deref()), ..*from };
    house.visit(&browser, "/auth/magic-link/consume", json!({ "token": mail.token() })).await.status == 200
}

/// Somebody with many addresses asks so often from each; the mails that came of it.
async fn strangers_ask(house: &House, networks: u8, times: usize, what: &str) -> Vec<Mail> {
    for last in 0..networks {
        let address = format!("198.51.100.{last}");
        for _ in 0..times {
            ask(house, &Place { address: &address, cookie: None }, what).await;
        }
    }
    house.mails().await
}

#[tokio::test]
async fn a_stranger_who_asks_first_leaves_links_for_the_owner_wherever_she_is() {
    let house = House::open().await;
    at_home(&house).await;
    assert_eq!(strangers_ask(&house, 1, 8, "magic-link").await.len(), 5);
    assert!(comes_in_by_link(&house, &ROAD).await, "in a browser and a network that nobody knows");
    assert!(comes_in_by_link(&house, &HOME).await);
    // The stranger has had an hour's.
    assert_eq!(strangers_ask(&house, 1, 1, "magic-link").await.len(), 0);
    house.advance(Duration::from_secs(3601));
    assert_eq!(strangers_ask(&house, 1, 1, "magic-link").await.len(), 1);
}

#[tokio::test]
async fn who_has_many_addresses_floods_no_mailbox_and_keeps_nobody_from_links_at_home() {
    let house = House::open().await;
    let cookie = at_home(&house).await;
    assert_eq!(strangers_ask(&house, 100, 2, "magic-link").await.len(), 20);
    assert!(!comes_in_by_link(&house, &ROAD).await, "nobody can tell her from them there");
    for place in [HOME, Place { cookie: Some(&cookie), ..ROAD }] {
        assert!(comes_in_by_link(&house, &place).await, "where she has logged in before");
    }
    // And who sits beside her fills the network's count, not her browser's.
    for _ in 0..8 {
        ask(&house, &HOME, "magic-link").await;
    }
    // One of the network's five was hers.
    assert_eq!(house.mails().await.len(), 4);
    assert!(!comes_in_by_link(&house, &HOME).await);
    assert!(comes_in_by_link(&house, &Place { cookie: Some(&cookie), ..HOME }).await);
}

#[tokio::test]
async fn a_new_password_by_mail_serves_wherever_its_owner_is_and_whoever_has_asked() {
    let house = House::open().await;
    at_home(&house).await;
    let mut theirs = strangers_ask(&house, 100, 2, "request-password-reset").await;
    assert_eq!(theirs.len(), 5);
    ask(&house, &ROAD, "request-password-reset").await;
    assert_eq!(house.mails().await.len(), 0, "she has five that serve");
    // When those are about to be over, the strangers have still had what there is in an hour.
    house.advance(Duration::from_secs(15 * 60 + 1));
    ask(&house, &ROAD, "request-password-reset").await;
    let own = house.mail().await;
    assert_eq!(strangers_ask(&house, 100, 1, "request-password-reset").await.len(), 0);
    let mut token = theirs.remove(0).token();
    for (status, password) in [(200, NEW_PASSWORD), (400, PASSWORD)] {
        let body = json!({ "token": token, "new_password": password });
        assert_eq!(house.visit(&ROAD, "/auth/reset-password", body).await.status, status);
        token = own.token();
    }
    let body = json!({ "email": ADA, "password": NEW_PASSWORD });
    assert_eq!(house.visit(&ROAD, "/auth/login", body).await.status, 200);
    house.mails().await;
    assert!(comes_in_by_link(&house, &ROAD).await, "it is familiar now");
}

#[tokio::test]
async fn whoever_knows_the_password_and_changes_it_to_and_fro_leaves_its_owner_a_link_that_serves() {
    let house = House::open().await;
    at_home(&house).await;
    let eve = house.login(ADA).await;
    let links = async |from: &Place<'_>| {
        ask(&house, from, "request-password-reset").await;
        let mails = house.mails().await.into_iter();
        mails.filter(|mail| mail.text.contains("/account/reset-password?token=")).collect::<Vec<_>>()
    };
    for _ in 0..5 {
        assert_eq!(links(&FAR).await.len(), 1);
    }
    assert_eq!(links(&HOME).await.len(), 0, "she has five that serve");
    let mut passwords = [PASSWORD, NEW_PASSWORD];
    let mut token = None;
    for time in 1..=8 {
        let body = json!({ "old_password": passwords[0], "new_password": passwords[1] });
        assert_eq!(house.post("/auth/change-password", eve.shown(), body).await.status, 200);
        passwords.reverse();
        // What ends links is told of, five times an hour; another time ends none.
        let link = links(&HOME).await.pop();
        assert_eq!(link.is_some(), time <= 5, "{time}");
        token = link.map(|link| link.token()).or(token);
    }
    let body = json!({ "token": token, "new_password": "a third horse battery" });
    assert_eq!(house.visit(&HOME, "/auth/reset-password", body).await.status, 200);
    assert_eq!(house.get("/auth/me", eve.shown()).await.refusal(), "401 door:revoked");
}

#[tokio::test]
async fn a_stranger_who_registers_first_leaves_a_letter_for_the_newcomer() {
    let house = House::open_with(|settings| settings.accounts.registration = Registration::Verified).await;
    let register = async |place: &Place<'_>, password: &str| {
        let answer = house.visit(place, "/auth/register", json!({ "email": ADA, "password": password })).await;
        assert_eq!(answer.status, 202);
    };
    for _ in 0..8 {
        register(&FAR, "the stranger's password").await;
    }
    for _ in 0..3 {
        ask(&house, &FAR, "resend-verification").await;
    }
    assert_eq!(house.mails().await.len(), 5);
    register(&HOME, PASSWORD).await;
    let body = json!({ "token": house.mail().await.token() });
    assert_eq!(house.visit(&HOME, "/auth/verify-email", body).await.status, 200);
    house.login_by(ADA, PASSWORD).await;
}

#[tokio::test]
async fn many_who_register_somebody_flood_no_mailbox() {
    let house = House::open_with(|settings| settings.accounts.registration = Registration::Verified).await;
    for last in 0..100 {
        let address = format!("198.51.100.{last}");
        let place = Place { address: &address, cookie: None };
        house.visit(&place, "/auth/register", json!({ "email": ADA, "password": PASSWORD })).await;
    }
    assert_eq!(house.mails().await.len(), 20);
}

#[tokio::test]
async fn whom_many_have_registered_chooses_her_password_by_mail() {
    let house = House::open_with(|settings| settings.accounts.registration = Registration::Verified).await;
    let register = async |address: &str, password: &str| {
        let body = json!({ "email": ADA, "password": password, "name": "Eve", "tenant_name": "Eve & Co" });
        house.visit(&Place { address, cookie: None }, "/auth/register", body).await;
    };
    ask(&house, &HOME, "request-password-reset").await;
    assert_eq!(house.mails().await.len(), 0, "nobody has registered the address");
    for last in 0..24 {
        register(&format!("198.51.100.{last}"), "the strangers' password").await;
    }
    let theirs = house.mails().await;
    register("192.0.2.1", PASSWORD).await;
    assert_eq!((theirs.len(), house.mails().await.len()), (20, 0), "none is left for her");
    let letters = strangers_ask(&house, 10, 1, "request-password-reset").await;
    assert_eq!(letters.len(), 5, "whoever has asked");
    let choose = async |token: String, password: &str| {
        let body = json!({ "token": token, "new_password": password });
        house.visit(&HOME, "/auth/reset-password", body).await
    };
    assert_eq!(choose(letters[0].token(), "short").await.status, 422);
    assert_eq!(choose(theirs[0].token(), NEW_PASSWORD).await.refusal(), "400 invalid_link", "it is for something else");
    assert_eq!(choose(letters[0].token(), NEW_PASSWORD).await.status, 200);
    for letter in &letters[..2] {
        assert_eq!(choose(letter.token(), PASSWORD).await.refusal(), "400 invalid_link", "there is one now");
    }
    let confirm = json!({ "token": theirs[0].token() });
    assert_eq!(house.visit(&FAR, "/auth/verify-email", confirm).await.refusal(), "400 invalid_link");
    let ada = house.login_by(ADA, NEW_PASSWORD).await;
    let me = house.get("/auth/me", ada.shown()).await.body;
    assert_eq!((&me["is_verified"], &me["name"]), (&json!(true), &json!(null)), "nothing of theirs is left");
}

#[tokio::test]
async fn what_one_organisation_asks_keeps_no_other_from_asking() {
    let house = House::open().await;
    let (eve, bob) = (house.register("eve@example.com").await, house.register("bob@example.com").await);
    house.mails().await;
    let invite = async |by: &Person| {
        let tenant = house.tenant_of(by).await;
        let asked = house.post(&format!("/tenants/{tenant}/members"), by.shown(), json!({ "email": ADA })).await;
        assert_eq!(asked.status, 202, "{}", asked.body);
    };
    for _ in 0..8 {
        invite(&eve).await;
    }
    assert_eq!(house.mails().await.len(), 5);
    invite(&bob).await;
    assert_eq!(house.mail().await.to, ADA);
}

#[tokio::test]
async fn whoever_wants_somebody_elses_address_leaves_it_to_its_owner() {
    let house = House::open().await;
    let (eve, ada) = (house.register("eve@example.com").await, house.register("ada@old.example").await);
    house.mails().await;
    let wants = async |who: &Person| {
        let body = json!({ "new_email": ADA, "password": PASSWORD });
        assert_eq!(house.post("/auth/change-email", who.shown(), body).await.status, 202);
        house.mails().await.into_iter().filter(|mail| mail.to == ADA).collect::<Vec<_>>()
    };
    let mut theirs = 0;
    for _ in 0..8 {
        theirs += wants(&eve).await.len();
    }
    assert_eq!(theirs, 5);
    let body = json!({ "token": wants(&ada).await.pop().unwrap().token() });
    assert_eq!(house.post("/auth/confirm-email", Shown::Nothing, body).await.body["user"]["email"], ADA);
}

#[tokio::test]
async fn whoever_registers_somebody_is_at_home_nowhere_there() {
    let house = House::open().await;
    let body = json!({ "email": ADA, "password": PASSWORD });
    // In each network they log in before they ask, as often as they like.
    let many_links = async || {
        let answer = house.visit(&FAR, "/auth/register", body.clone()).await;
        house.mails().await;
        for last in 0..6 {
            let address = format!("198.51.100.{last}");
            let login = house.visit(&Place { address: &address, cookie: None }, "/auth/login", body.clone()).await;
            for _ in 0..6 {
                ask(&house, &Place { address: &address, cookie: login.cookie().as_deref() }, "magic-link").await;
            }
        }
        (answer.body["user"]["id"].as_str().unwrap().parse().unwrap(), house.mails().await.len())
    };
    let (id, links) = many_links().await;
    assert_eq!(links, 5 + 5 + 4, "as strangers have them");
    // Nor by making the account anew.
    house.store.delete_account(id, None, house.now()).await.unwrap();
    let (_, links) = many_links().await;
    assert_eq!(links, 20 - 14);
}
