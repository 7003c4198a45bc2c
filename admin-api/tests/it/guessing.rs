//! Who guesses is stopped; who is at home is not (docs/decisions/0008-lockout.md).

use std::time::Duration;

use serde_json::json;

use crate::house::{Answer, House, PASSWORD, Place, Shown};

const HOME: Place<'_> = Place { address: "192.0.2.1", cookie: None };
const FAR: Place<'_> = Place { address: "198.51.100.7", cookie: None };

async fn log_in(house: &House, from: &Place<'_>, email: &str, password: &str) -> Answer {
    house.visit(from, "/auth/login", json!({ "email": email, "password": password })).await
}

async fn guess(house: &House, from: &Place<'_>, email: &str, times: usize) {
    for n in 0..times {
        let answer = log_in(house, from, email, "not the password").await;
        assert_eq!(answer.refusal(), "401 invalid_credentials", "guess {n}");
    }
}

/// Locks so far, of accounts and of networks: an alert rests on both.
fn locks(house: &House) -> (i64, i64) {
    let of = |what| house.outcome("portcullis_lockouts_total", what);
    (of("account"), of("network"))
}

/// Registered at home, and so known there.
async fn at_home(house: &House) -> String {
    let body = json!({ "email": "ada@example.com", "password": PASSWORD });
    let answer = house.visit(&HOME, "/auth/register", body).await;
    assert_eq!(answer.status, 201);
    let id = answer.body["user"]["id"].as_str().unwrap().parse().unwrap();
    house.confirm(id).await;
    house.mails().await;
    answer.cookie().unwrap()
}

#[tokio::test]
async fn the_fifth_wrong_password_locks_everywhere_but_at_home_and_the_owner_is_told() {
    let house = House::open().await;
    let cookie = at_home(&house).await;
    guess(&house, &FAR, "ada@example.com", 4).await;
    assert_eq!(locks(&house), (0, 0));
    guess(&house, &FAR, "ada@example.com", 1).await;
    let locked = log_in(&house, &FAR, "ada@example.com", PASSWORD).await;
    assert_eq!(locks(&house), (1, 0), "what is tried while it lasts makes no more of them");
    assert_eq!(
        (locked.refusal().as_str(), locked.headers["retry-after"].to_str().unwrap()),
        ("429 login_locked", "1800")
    );
    // From elsewhere too, since an attacker has many addresses.
    let elsewhere = Place { address: "203.0.113.9", cookie: None };
    assert_eq!(log_in(&house, &elsewhere, "ADA@example.com", PASSWORD).await.refusal(), "429 login_locked");
    let mail = house.mail().await;
    assert_eq!((&*mail.to, mail.subject.contains("guessing")), ("ada@example.com", true));
    assert!(mail.text.contains("30 minutes"), "{}", mail.text);

    // Her network, and her browser wherever it is.
    assert_eq!(log_in(&house, &HOME, "ada@example.com", PASSWORD).await.status, 200);
    let travelling = Place { cookie: Some(&cookie), ..elsewhere };
    assert_eq!(log_in(&house, &travelling, "ada@example.com", PASSWORD).await.status, 200);
    // That she was let in has unlocked nothing for the attacker.
    assert_eq!(log_in(&house, &FAR, "ada@example.com", PASSWORD).await.refusal(), "429 login_locked");
    // And who guesses at home is stopped at home.
    guess(&house, &HOME, "ada@example.com", 5).await;
    assert_eq!(log_in(&house, &HOME, "ada@example.com", PASSWORD).await.refusal(), "429 login_locked");
    assert_eq!(log_in(&house, &travelling, "ada@example.com", PASSWORD).await.status, 200);
}

#[tokio::test]
async fn a_lock_ends_by_itself_and_the_next_is_longer_and_none_is_for_ever() {
    let house = House::open().await;
    at_home(&house).await;
    for minutes in [30, 60, 120] {
        guess(&house, &FAR, "ada@example.com", 5).await;
        house.advance(Duration::from_secs(minutes * 60 - 5));
        // Whoever goes on while it is locked is not looked at, and makes it no longer.
        assert_eq!(log_in(&house, &FAR, "ada@example.com", "x").await.refusal(), "429 login_locked", "{minutes}");
        house.advance(Duration::from_secs(6));
    }
    assert_eq!(log_in(&house, &FAR, "ada@example.com", PASSWORD).await.status, 200);
}

#[tokio::test]
async fn mail_opens_what_guesses_have_locked() {
    let house = House::open().await;
    at_home(&house).await;
    guess(&house, &FAR, "ada@example.com", 5).await;
    house.mails().await;
    // On the road, in a browser that nobody knows.
    let asked = house.visit(&FAR, "/auth/magic-link", json!({ "email": "ada@example.com" })).await;
    let cookie = asked.cookie().unwrap();
    let browser = Place { cookie: Some(&cookie), ..FAR };
    let token = house.mail().await.token();
    assert_eq!(house.visit(&browser, "/auth/magic-link/consume", json!({ "token": token })).await.status, 200);
    assert_eq!(log_in(&house, &browser, "ada@example.com", PASSWORD).await.status, 200, "it is familiar now");

    house.visit(&FAR, "/auth/request-password-reset", json!({ "email": "ada@example.com" })).await;
    let body = json!({ "token": house.mail().await.token(), "new_password": "another horse battery" });
    assert_eq!(house.visit(&FAR, "/auth/reset-password", body).await.status, 200);
    let elsewhere = Place { address: "203.0.113.9", cookie: None };
    assert_eq!(log_in(&house, &elsewhere, "ada@example.com", "another horse battery").await.status, 200);
}

#[tokio::test]
async fn an_address_without_an_account_is_locked_as_one_with() {
    let house = House::open().await;
    at_home(&house).await;
    let mut seen = Vec::new();
    for email in ["ada@example.com", "nobody@example.com"] {
        let mut answers = Vec::new();
        for _ in 0..7 {
            let answer = log_in(&house, &FAR, email, "not the password").await;
            answers.push((answer.refusal(), answer.headers.get("retry-after").is_some()));
        }
        seen.push(answers);
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0].iter().filter(|(code, _)| code == "429 login_locked").count(), 2);
    assert_eq!(house.mails().await.len(), 1, "nobody is told of nobody's account");
}

#[tokio::test]
async fn whoever_logs_in_has_not_failed() {
    let house = House::open().await;
    at_home(&house).await;
    for _ in 0..3 {
        guess(&house, &FAR, "ada@example.com", 4).await;
        assert_eq!(log_in(&house, &FAR, "ada@example.com", PASSWORD).await.status, 200);
    }
}

#[tokio::test]
async fn a_network_that_guesses_at_many_accounts_is_stopped_and_nobody_else_is() {
    let house = House::open_with(|settings| settings.lockout.network.attempts = 8).await;
    let cookie = at_home(&house).await;
    for n in 0..8 {
        assert_eq!(locks(&house), (0, 0));
        guess(&house, &FAR, &format!("person{n}@example.com"), 1).await;
    }
    assert_eq!(locks(&house), (0, 1));
    assert_eq!(log_in(&house, &FAR, "fresh@example.com", PASSWORD).await.refusal(), "429 login_locked");
    assert_eq!(log_in(&house, &FAR, "ada@example.com", PASSWORD).await.refusal(), "429 login_locked");
    assert_eq!(log_in(&house, &HOME, "ada@example.com", PASSWORD).await.status, 200);
    // Behind one address with the guesser, in a browser of her own.
    let neighbour = Place { cookie: Some(&cookie), ..FAR };
    assert_eq!(log_in(&house, &neighbour, "ada@example.com", PASSWORD).await.status, 200);
}

#[tokio::test]
async fn a_proxy_that_does_not_say_for_whom_it_asks_is_counted_by_itself_and_nobody_s_home() {
    let house = House::open_with(|settings| settings.lockout.network.attempts = 6).await;
    at_home(&house).await;
    let by = async |proxy: &str, email: &str| {
        let body = json!({ "email": email, "password": "not the password" });
        house.post("/auth/login", Shown::Header("x-gateway-proxy", proxy), body).await.refusal()
    };
    // Even one with the address that her home has.
    for _ in 0..5 {
        assert_eq!(by(HOME.address, "ada@example.com").await, "401 invalid_credentials");
    }
    assert_eq!(log_in(&house, &FAR, "ada@example.com", PASSWORD).await.refusal(), "429 login_locked");
    assert_eq!(log_in(&house, &HOME, "ada@example.com", PASSWORD).await.status, 200);
    assert_eq!(by(HOME.address, "bob@example.com").await, "401 invalid_credentials");
    assert_eq!(by(HOME.address, "bob@example.com").await, "429 login_locked");
    assert_eq!(locks(&house), (1, 1));
    assert_eq!(by("192.0.2.2", "bob@example.com").await, "401 invalid_credentials");
    guess(&house, &HOME, "bob@example.com", 1).await;
}

#[tokio::test]
async fn a_hundred_who_guess_at_once_get_no_more_guesses_than_one_after_the_other() {
    let house = std::sync::Arc::new(House::open().await);
    at_home(&house).await;
    let guesses: Vec<_> = (0..40)
        .map(|_| {
            let house = std::sync::Arc::clone(&house);
            tokio::spawn(async move {
                loop {
                    let said = log_in(&house, &FAR, "ada@example.com", "not the password").await.refusal();
                    // On a busy machine some wait too long.
                    if said != "503 busy" {
                        return said;
                    }
                }
            })
        })
        .collect();
    let mut looked_at = 0;
    for guess in guesses {
        looked_at += usize::from(guess.await.unwrap() == "401 invalid_credentials");
    }
    assert_eq!(looked_at, 5);
}

#[tokio::test]
async fn an_administrator_unlocks() {
    let house = House::open().await;
    at_home(&house).await;
    let root = house.administrator("root@example.com").await;
    guess(&house, &FAR, "ada@example.com", 5).await;
    assert_eq!(log_in(&house, &FAR, "ada@example.com", PASSWORD).await.refusal(), "429 login_locked");
    let users = house.get("/admin/users", root.shown()).await;
    let id = users.body["items"][0]["id"].as_str().unwrap().to_owned();
    let unlock = async |id: &str| house.post(&format!("/admin/users/{id}/unlock"), root.shown(), json!(null)).await;
    assert_eq!(unlock(&id).await.status, 204);
    assert_eq!(log_in(&house, &FAR, "ada@example.com", PASSWORD).await.status, 200);
    for nobody in ["0190a5a0-0000-7000-8000-000000000000", "x"] {
        assert_eq!(unlock(nobody).await.refusal(), "404 not_found");
    }
}

#[tokio::test]
async fn sessions_show_where_they_began_and_are_ended_by_their_owner() {
    let house = House::open().await;
    at_home(&house).await;
    let answer = log_in(&house, &FAR, "ada@example.com", PASSWORD).await;
    let ada = crate::house::Person::of(&answer);
    let listed = house.get("/auth/sessions", ada.shown()).await;
    let items = listed.body["items"].as_array().unwrap();
    let shown: Vec<_> = items
        .iter()
        .map(|item| (item["current"].clone(), item["address"].clone(), item["device"].clone(), item["method"].clone()))
        .collect();
    assert_eq!(
        shown,
        [
            (json!(true), json!("198.51.100.7"), json!("test"), json!("password")),
            (json!(false), json!("192.0.2.1"), json!("test"), json!("registration")),
        ]
    );
    let page = house.get("/auth/sessions?limit=1", ada.shown()).await.body;
    let next = format!("/auth/sessions?limit=1&cursor={}", page["next_cursor"].as_str().unwrap());
    let last = house.get(&next, ada.shown()).await.body;
    assert_eq!((&page["items"][0], &last["items"][0], &last["next_cursor"]), (&items[0], &items[1], &json!(null)));
    assert_eq!(
        house.get("/auth/sessions?device=test", ada.shown()).await.refusal_or_status(),
        "400 invalid_query\n  device: is not a parameter here; expected one of cursor, limit"
    );
    let bob = house.register("bob@example.com").await;
    let other = items[1]["id"].as_str().unwrap();
    let end = async |id: &str, shown: Shown<'_>| {
        house.call("DELETE", &format!("/auth/sessions/{id}"), shown, json!(null)).await
    };
    assert_eq!(end(other, bob.shown()).await.refusal(), "404 not_found", "it is somebody else's");
    // Whoever finds a session open throws nobody out of another one, but may leave their own.
    house.advance(Duration::from_mins(6));
    assert_eq!(end(other, ada.shown()).await.refusal(), "401 insufficient_user_authentication");
    let others = house.call("DELETE", "/auth/sessions", ada.shown(), json!(null)).await;
    assert_eq!(others.refusal(), "401 insufficient_user_authentication");
    let key = house.make_key(&house.login("ada@example.com").await, json!({ "name": "CI" })).await;
    let by_key =
        house.call("DELETE", "/auth/sessions", Shown::Credential(key["key"].as_str().unwrap()), json!(null)).await;
    assert_eq!(by_key.refusal(), "403 session_required");
    let shown = |password: &str| json!({ "password": password });
    let path = format!("/auth/sessions/{other}");
    assert_eq!(house.call("DELETE", &path, ada.shown(), shown("not it")).await.refusal(), "403 wrong_proof");
    assert_eq!(house.call("DELETE", &path, ada.shown(), shown(PASSWORD)).await.status, 204);
    let left = house.login("ada@example.com").await;
    house.advance(Duration::from_mins(6));
    let listed = house.get("/auth/sessions", left.shown()).await;
    let own = listed.body["items"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(end(&own, left.shown()).await.status, 204, "as to log out");
    let ada = house.login("ada@example.com").await;
    house.call("DELETE", "/auth/sessions", ada.shown(), json!(null)).await;
    assert_eq!(end(other, ada.shown()).await.refusal(), "404 not_found");

    let third = house.login("ada@example.com").await;
    let ended = house.call("DELETE", "/auth/sessions", ada.shown(), json!(null)).await;
    assert_eq!((ended.status.as_u16(), &ended.body["ended"]), (200, &json!(1)));
    assert_eq!(house.get("/auth/me", third.shown()).await.refusal(), "401 door:revoked");
    assert_eq!(house.get("/auth/me", ada.shown()).await.status, 200);
    assert_eq!(house.get("/auth/me", bob.shown()).await.status, 200);
}

#[tokio::test]
async fn whoever_was_there_before_the_owner_guesses_as_a_stranger() {
    const NEW_PASSWORD: &str = "another horse battery";
    let (house, email) = (House::open().await, "ada@example.com");
    let body = json!({ "email": email, "password": PASSWORD });
    house.visit(&FAR, "/auth/register", body.clone()).await;
    let mut cookies = Vec::new();
    for _ in 0..3 {
        cookies.extend(log_in(&house, &FAR, email, PASSWORD).await.cookie());
    }
    house.mails().await;
    house.visit(&HOME, "/auth/request-password-reset", json!({ "email": email })).await;
    let reset = json!({ "token": house.mail().await.token(), "new_password": NEW_PASSWORD });
    assert_eq!(house.visit(&HOME, "/auth/reset-password", reset).await.status, 200);
    assert_eq!(log_in(&house, &HOME, email, NEW_PASSWORD).await.status, 200);
    let places: Vec<_> = cookies.iter().map(|cookie| Place { cookie: Some(cookie), ..FAR }).collect();
    for (place, times) in places.iter().zip([2, 2, 1]) {
        guess(&house, place, email, times).await;
    }
    for place in &places {
        assert_eq!(log_in(&house, place, email, NEW_PASSWORD).await.refusal(), "429 login_locked");
    }
    assert_eq!(log_in(&house, &HOME, email, NEW_PASSWORD).await.status, 200, "she is at home now");
}
