//! The database cannot be written: 503 with a time to come again, never 401, and nothing half-written.

use serde_json::{Value, json};

use crate::house::{House, PASSWORD, Shown};

#[tokio::test]
async fn while_nothing_can_be_written_nobody_is_refused_for_it_and_nothing_is_half_done() {
    let house = House::open().await;
    let person = house.administrator("ada@example.com").await;
    let assertion = house.assertion_of(&person).await;
    let (ada, public) = (Shown::Header("X-Gateway-Assertion", &assertion), Shown::Nothing);
    let before = house.get("/auth/me", ada).await.body;
    let lock = house.block_writes().await;
    let (login, newcomer) = (
        json!({ "email": "ada@example.com", "password": PASSWORD }),
        json!({ "email": "bob@example.com", "password": PASSWORD }),
    );
    let token = json!({ "refresh_token": person.refresh });
    // At once, since each waits as long as the store waits for a lock.
    let answers: [_; 6] = tokio::join!(
        house.post("/auth/login", public, login.clone()),
        house.post("/auth/register", public, newcomer.clone()),
        house.post("/auth/refresh", public, token.clone()),
        house.post("/auth/logout", ada, Value::Null),
        house.call("PATCH", "/auth/me", ada, json!({ "name": "Eve" })),
        house.post("/auth/api-keys", ada, json!({ "name": "ci" })),
    )
    .into();
    for answer in answers {
        assert_eq!(answer.refusal(), "503 directory_unavailable");
        assert_eq!(answer.headers["retry-after"], "2");
        assert!(!answer.text("detail").contains("lock"), "{}", answer.body);
    }
    drop(lock);
    assert_eq!(house.get("/auth/me", ada).await.body, before);
    assert_eq!(house.post("/auth/refresh", public, token).await.status, 200);
    assert_eq!(house.post("/auth/register", public, newcomer).await.status, 201);
    assert_eq!(house.post("/auth/login", public, login).await.status, 200);
}
