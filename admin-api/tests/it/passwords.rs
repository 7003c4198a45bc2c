//! What a password buys, and what guessing tells: nothing, in words or in work.
//!
//! Time is not measured. What takes the time is the password computation, and those are counted.

use serde_json::{Value, json};
use sqlx::Executor as _;

use crate::house::{House, PASSWORD, Shown};

const HASHES: &str = "portcullis_password_hashes_total";

async fn login(house: &House, email: &str, password: &str) -> crate::house::Answer {
    house.post("/auth/login", Shown::Nothing, json!({ "email": email, "password": password })).await
}

async fn change_password(house: &House, shown: Shown<'_>, old: &str, new: &str) -> crate::house::Answer {
    house.post("/auth/change-password", shown, json!({ "old_password": old, "new_password": new })).await
}

#[tokio::test]
async fn guessing_tells_nothing_about_who_has_an_account() {
    let house = House::open().await;
    house.register("ada@example.com").await;
    let disabled = house.register("bob@example.com").await;
    house.change(&disabled, store::AccountChange { status: Some(store::Status::Disabled), ..Default::default() }).await;
    let mut answers = Vec::new();
    for email in ["ada@example.com", "bob@example.com", "nobody@example.com"] {
        let before = house.metric(HASHES);
        let answer = login(&house, email, "wrong password").await;
        assert_eq!(house.metric(HASHES) - before, 1, "{email}");
        answers.push((answer.status, format!("{:?}", answer.headers), answer.body));
    }
    assert_eq!(answers[0].0, 401);
    assert_eq!(answers[0].2["code"], "invalid_credentials");
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
}

#[tokio::test]
async fn only_who_knows_the_password_learns_that_the_account_is_disabled() {
    let house = House::open().await;
    let person = house.register("ada@example.com").await;
    house.change(&person, store::AccountChange { status: Some(store::Status::Disabled), ..Default::default() }).await;
    assert_eq!(login(&house, "ada@example.com", PASSWORD).await.refusal(), "403 account_disabled");
    assert_eq!(login(&house, "ada@example.com", "wrong password").await.refusal(), "401 invalid_credentials");
}

#[tokio::test]
async fn an_account_that_goes_while_its_password_is_checked_is_none() {
    let house = House::open().await;
    house.register("ada@example.com").await;
    assert_eq!(login(&house, "ada@example.com", "wrong password").await.status, 401);
    // What was counted is forgiven between the check and the session.
    let mut beside = house.block_writes().await;
    let gone = "CREATE TRIGGER gone AFTER DELETE ON login_failures BEGIN DELETE FROM accounts; END; COMMIT";
    beside.execute(gone).await.unwrap();
    assert_eq!(login(&house, "ada@example.com", PASSWORD).await.refusal(), "401 invalid_credentials");
    assert_eq!(login(&house, "ada@example.com", PASSWORD).await.refusal(), "401 invalid_credentials");
}

#[tokio::test]
async fn a_password_is_taken_as_it_is() {
    let house = House::open().await;
    let long = "päßwörd 🐎 ".repeat(60);
    let answer =
        house.post("/auth/register", Shown::Nothing, json!({ "email": "ada@example.com", "password": long })).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(login(&house, "ada@example.com", &long).await.status, 200);
    for almost in [long.trim_end(), &long.to_uppercase(), &long[..long.len() - 4 - "🐎".len()]] {
        assert_eq!(login(&house, "ada@example.com", almost).await.refusal(), "401 invalid_credentials");
    }
}

#[tokio::test]
async fn a_changed_password_ends_every_other_session_and_no_key() {
    let house = House::open().await;
    let person = house.register("ada@example.com").await;
    let other = house.login("ada@example.com").await;
    let key = house.make_key(&person, json!({ "name": "ci" })).await;
    house.mails().await;
    assert_eq!(change_password(&house, person.shown(), "wrong", "another good one").await.status, 403);
    assert!(house.mails().await.is_empty(), "nothing has changed");
    let answer = change_password(&house, person.shown(), PASSWORD, "another good one").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let told = house.mail().await;
    assert_eq!(told.to, "ada@example.com");
    assert!(told.subject.contains("has changed") && told.text.contains("/account/forgot-password"), "{}", told.text);
    assert_eq!(house.get("/auth/me", person.shown()).await.status, 200);
    assert_eq!(house.get("/auth/me", other.shown()).await.refusal(), "401 door:revoked");
    assert_eq!(house.get("/auth/me", Shown::Credential(key["key"].as_str().unwrap())).await.status, 200);
    assert_eq!(login(&house, "ada@example.com", PASSWORD).await.refusal(), "401 invalid_credentials");
    assert_eq!(login(&house, "ada@example.com", "another good one").await.status, 200);
}

#[tokio::test]
async fn a_key_that_changes_the_password_ends_every_session() {
    let house = House::open().await;
    let person = house.register("ada@example.com").await;
    let key = house.make_key(&person, json!({ "name": "ci", "scopes": ["account:manage"] })).await;
    let answer =
        change_password(&house, Shown::Credential(key["key"].as_str().unwrap()), PASSWORD, "another good one").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(house.get("/auth/me", person.shown()).await.refusal(), "401 door:revoked");
}

#[tokio::test]
async fn without_the_old_password_nothing_changes() {
    let house = House::open().await;
    let person = house.register("ada@example.com").await;
    assert_eq!(
        change_password(&house, person.shown(), "wrong password", "another good one").await.refusal(),
        "403 wrong_password"
    );
    insta::assert_snapshot!(change_password(&house, person.shown(), PASSWORD, "short").await.refusal(), @"
    422 invalid_fields
      new_password: the password needs at least 8 characters
    ");
    assert_eq!(login(&house, "ada@example.com", PASSWORD).await.status, 200);
}

#[tokio::test]
async fn logins_are_counted_by_outcome() {
    let house = House::open().await;
    let person = house.register("ada@example.com").await;
    login(&house, "ada@example.com", PASSWORD).await;
    login(&house, "ada@example.com", "wrong password").await;
    house.post("/auth/logout", person.shown(), Value::Null).await;
    let text = prometheus::TextEncoder::new().encode_to_string(&house.registry.gather()).unwrap();
    let all: Vec<_> = text.lines().filter(|line| line.starts_with("portcullis_logins_total")).collect();
    assert_eq!(all.len(), 13, "what has not happened is there all the same: {all:?}");
    let logins: Vec<_> = all.into_iter().filter(|line| !line.ends_with(" 0")).collect();
    assert_eq!(
        logins,
        [r#"portcullis_logins_total{outcome="ok"} 1"#, r#"portcullis_logins_total{outcome="refused"} 1"#]
    );
}

/// A password that is known to be stolen in [`where_one_is_stolen`].
pub(crate) const STOLEN: &str = "nine stolen trumpets";

pub(crate) async fn where_one_is_stolen() -> House {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stolen");
    write_stolen(&file);
    House::open_with(|settings| settings.breached = Some(admin_api::Breached::open(&file).unwrap())).await
}

fn write_stolen(file: &std::path::Path) {
    let hash = identity::Password::new(STOLEN.to_owned()).unwrap().sha1();
    std::fs::write(file, format!("{}:17\r\n", String::from_utf8_lossy(&hash))).unwrap();
}

#[tokio::test]
async fn a_stolen_password_is_chosen_by_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stolen");
    write_stolen(&file);
    let house = House::open_with(|settings| settings.breached = Some(admin_api::Breached::open(&file).unwrap())).await;
    let register = json!({ "email": "ada@example.com", "password": STOLEN });
    let refused = house.post("/auth/register", Shown::Nothing, register).await;
    let said = refused.refusal();
    assert!(said.starts_with("422 invalid_fields\n  password: the password was stolen somewhere"), "{said}");
    let person = house.register("ada@example.com").await;
    let said = change_password(&house, person.shown(), PASSWORD, STOLEN).await.refusal();
    assert!(said.starts_with("422 invalid_fields\n  new_password: the password was stolen somewhere"), "{said}");
    assert_eq!(change_password(&house, person.shown(), PASSWORD, "ten stolen trumpets").await.status, 200);
    // What cannot be looked up is nobody's password either.
    std::fs::write(&file, "no such file any more").unwrap();
    let lost = change_password(&house, person.shown(), "ten stolen trumpets", "eleven stolen trumpets").await;
    assert_eq!(lost.status, 500, "{}", lost.body);
}
