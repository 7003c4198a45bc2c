//! Accounts that administrators make: taken over by whoever reads the mail, and used by nobody before.

use std::time::Duration;

use serde_json::{Value, json};

use crate::house::{Answer, House, ISSUER, PASSWORD, Person, Place, Shown};

/// A house with an administrator, whose mail has been taken away.
async fn house() -> (House, Person) {
    let house = House::open().await;
    let root = house.administrator("root@example.com").await;
    house.mails().await;
    (house, root)
}

async fn create(house: &House, root: &Person, body: Value) -> Answer {
    house.post("/admin/users", root.shown(), body).await
}

async fn accept(house: &House, token: &str, password: &str) -> Answer {
    house.post("/auth/accept-invite", Shown::Nothing, json!({ "token": token, "password": password })).await
}

async fn try_login(house: &House, password: &str) -> Answer {
    house.post("/auth/login", Shown::Nothing, json!({ "email": "ada@example.com", "password": password })).await
}

fn invited() -> Value {
    json!({ "email": "Ada@example.com", "name": "Ada", "role": "helpdesk", "tier": "pro", "invite": true })
}

#[tokio::test]
async fn whoever_is_invited_takes_the_account_over_once_and_has_its_role_and_tier() {
    let (house, root) = house().await;
    let made = create(&house, &root, invited()).await;
    assert_eq!((made.status.as_u16(), &made.body["is_verified"]), (201, &json!(false)), "{}", made.body);
    let mail = house.mail().await;
    assert_eq!((&*mail.to, &*mail.subject), ("Ada@example.com", "You are invited to Portcullis"));
    let token = mail.token();
    assert!(mail.text.contains(&format!("{ISSUER}/account/accept-invite?token={token}")), "{}", mail.text);
    assert!(mail.text.contains("168 hours"), "{}", mail.text);
    // A password that is refused does not use the token up.
    assert_eq!(
        accept(&house, &token, "short").await.refusal(),
        "422 invalid_fields\n  password: the password needs at least 8 characters"
    );
    let accepted = accept(&house, &token, PASSWORD).await;
    assert_eq!((accepted.status.as_u16(), accepted.body.get("access_token")), (200, None), "{}", accepted.body);
    let user = &accepted.body["user"];
    assert_eq!(
        (&user["role"], &user["tier"], &user["name"], &user["is_verified"]),
        (&json!("helpdesk"), &json!("pro"), &json!("Ada"), &json!(true))
    );
    let ada = house.login("ada@example.com").await;
    assert_eq!(ada.id.to_string(), made.text("id"));
    assert_eq!(accept(&house, &token, "another horse battery").await.refusal(), "400 invalid_link");
    house.login("ada@example.com").await;
}

#[tokio::test]
async fn nobody_uses_an_account_before_it_is_taken_over() {
    let (house, root) = house().await;
    create(&house, &root, invited()).await;
    let token = house.mail().await.token();
    assert_eq!(try_login(&house, PASSWORD).await.refusal(), "401 invalid_credentials");
    assert_eq!(try_login(&house, "").await.status, 422);
    for what in ["request-password-reset", "resend-verification", "magic-link"] {
        let from = Place { address: "192.0.2.1", cookie: None };
        let asked = house.visit(&from, &format!("/auth/{what}"), json!({ "email": "ada@example.com" })).await;
        assert_eq!(asked.status, 202, "{what}");
        assert_eq!(house.mails().await.len(), 0, "{what}");
    }
    for (what, body) in [
        ("verify-email", json!({ "token": token })),
        ("reset-password", json!({ "token": token, "new_password": PASSWORD })),
        ("magic-link/consume", json!({ "token": token })),
        ("confirm-email", json!({ "token": token })),
    ] {
        let answer = house.post(&format!("/auth/{what}"), Shown::Nothing, body).await;
        assert_eq!(answer.refusal(), "400 invalid_link", "{what}");
    }
    house.advance(Duration::from_hours(168) + Duration::from_secs(1));
    assert_eq!(accept(&house, &token, PASSWORD).await.refusal(), "400 invalid_link", "seven days are over");
}

#[tokio::test]
async fn of_several_invitations_the_last_one_counts_and_only_who_was_invited_is_invited_again() {
    let (house, root) = house().await;
    let made = create(&house, &root, invited()).await;
    let path = format!("/admin/users/{}/invite", made.text("id"));
    let first = house.mail().await.token();
    assert_eq!(house.post(&path, root.shown(), Value::Null).await.status, 202);
    let second = house.mail().await.token();
    assert_eq!(accept(&house, &first, PASSWORD).await.refusal(), "400 invalid_link");
    assert_eq!(accept(&house, &second, PASSWORD).await.status, 200);
    assert_eq!(house.post(&path, root.shown(), Value::Null).await.refusal(), "409 conflict");

    // What an administrator has decided is not undone by a mail.
    let status = |status: &str| json!({ "status": status });
    let user = format!("/admin/users/{}", made.text("id"));
    assert_eq!(house.call("PATCH", &user, root.shown(), status("disabled")).await.status, 200);
    assert_eq!(house.post(&path, root.shown(), Value::Null).await.refusal(), "409 conflict");
    let other = create(&house, &root, json!({ "email": "bob@example.com", "invite": true })).await;
    let token = house.mail().await.token();
    let user = format!("/admin/users/{}", other.text("id"));
    assert_eq!(house.call("PATCH", &user, root.shown(), status("disabled")).await.status, 200);
    assert_eq!(accept(&house, &token, PASSWORD).await.refusal(), "400 invalid_link");
    assert_eq!(house.call("DELETE", &user, root.shown(), Value::Null).await.status, 204);
    let again = format!("{user}/invite");
    assert_eq!(house.post(&again, root.shown(), Value::Null).await.refusal(), "404 not_found");
}

#[tokio::test]
async fn an_administrator_may_give_a_password_and_is_told_what_is_wrong() {
    let (house, root) = house().await;
    let made = create(&house, &root, json!({ "email": "ada@example.com", "password": PASSWORD })).await;
    assert_eq!((made.status.as_u16(), &made.body["role"], &made.body["tier"]), (201, &json!("user"), &json!("free")));
    assert_eq!(house.mail().await.subject, "Confirm your address for Portcullis");
    house.login("ada@example.com").await;
    let taken = create(&house, &root, json!({ "email": "ADA@example.com", "invite": true })).await;
    assert_eq!(taken.refusal(), "409 email_taken");
    for (body, wrong) in [
        (json!({ "email": "x@example.com" }), "password"),
        (json!({ "email": "x@example.com", "invite": true, "password": PASSWORD }), "password"),
        (json!({ "email": "x@example.com", "password": "short" }), "password"),
        (json!({ "email": "x@example.com", "invite": true, "role": "king" }), "role"),
        (json!({ "email": "x@example.com", "invite": true, "tier": "gold" }), "tier"),
        (json!({ "email": "x", "invite": true }), "email"),
        (json!({ "email": "x@example.com", "invite": true, "name": "" }), "name"),
    ] {
        let refusal = create(&house, &root, body.clone()).await.refusal();
        assert!(refusal.starts_with("422") && refusal.contains(&format!("\n  {wrong}: ")), "{body}: {refusal}");
    }
    assert_eq!(house.mails().await.len(), 0);
    let events = house.get("/admin/audit?event=create_user&outcome=ok", root.shown()).await.body;
    let event = &events["items"][0];
    assert_eq!((&event["subject"], &event["details"]["invited"]), (&made.body["id"], &json!(false)), "{events}");
    assert_eq!(event["actor"], root.id.to_string());
}
