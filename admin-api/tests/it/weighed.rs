//! Somebody's role changes between the moment at which a right is weighed that goes by it and the one at which it is used: theirs to whom something
//! is done, or theirs who does it.

use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _, PgConnection};

use crate::house::{Answer, House, PASSWORD, Person, Shown};

const WAITING: &str =
    "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";

/// Method, path and body of everything that is done to somebody, and to whom has been invited.
async fn deeds(house: &House, root: &Person, whom: &Person) -> Vec<(&'static str, String, Value)> {
    let key = house.make_key(whom, json!({ "name": "key" })).await;
    let session = house.get("/auth/sessions", whom.shown()).await.body["items"][0]["id"].as_str().unwrap().to_owned();
    let invited = json!({ "email": "invited@example.com", "role": "helpdesk", "invite": true });
    let invited = house.post("/admin/users", root.shown(), invited).await;
    let of = |id: &str, rest: &str| format!("/admin/users/{id}{rest}");
    let whom = whom.id.to_string();
    vec![
        ("DELETE", of(&whom, "/mfa"), json!({ "reason": "ticket 7" })),
        ("POST", of(invited.text("id"), "/invite"), Value::Null),
        ("POST", of(&whom, "/unlock"), Value::Null),
        ("DELETE", format!("/admin/keys/{}", key["id"].as_str().unwrap()), Value::Null),
        ("DELETE", format!("/admin/sessions/{session}"), Value::Null),
        ("PATCH", of(&whom, ""), json!({ "tier": "pro" })),
        ("DELETE", of(&whom, ""), Value::Null),
    ]
}

/// Until what is being done waits for a row that somebody else holds.
async fn comes_to_wait(what: &str, doing: &mut (impl Future<Output = Answer> + Unpin), watcher: &mut PgConnection) {
    loop {
        tokio::select! {
            answer = &mut *doing => panic!("{what} did not wait: {}", answer.status),
            waiting = sqlx::query_scalar::<_, i64>(WAITING).fetch_one(&mut *watcher) => {
                if waiting.unwrap() > 0 { break }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_organisation_is_deleted_by_nobody_who_ceases_to_own_it_meanwhile() {
    let database = crate::postgres::Database::create().await;
    let house = House::open_on(database.url(), tempfile::tempdir().unwrap()).await;
    let ada = house.register("ada@example.com").await;
    let path = format!("/tenants/{}", house.get("/auth/me", ada.shown()).await.text("tenant_id"));
    let mut other = PgConnection::connect(database.url()).await.unwrap();
    let mut watcher = PgConnection::connect(database.url()).await.unwrap();
    let mut tx = other.begin().await.unwrap();
    // As whoever changes members does it.
    tx.execute("UPDATE portcullis.tenants SET name = name").await.unwrap();
    tx.execute("UPDATE portcullis.tenant_members SET role = 'admin'").await.unwrap();
    let mut doing = std::pin::pin!(house.call("DELETE", &path, ada.shown(), Value::Null));
    comes_to_wait(&path, &mut doing, &mut watcher).await;
    tx.commit().await.unwrap();
    assert_eq!(doing.await.refusal(), "409 conflict");
    watcher.execute("UPDATE portcullis.tenant_members SET role = 'owner'").await.unwrap();
    assert_eq!(house.call("DELETE", &path, ada.shown(), Value::Null).await.status, 204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_done_to_who_becomes_an_administrator_meanwhile() {
    let database = crate::postgres::Database::create().await;
    let house = House::open_on(database.url(), tempfile::tempdir().unwrap()).await;
    let root = house.administrator("root@example.com").await;
    let (help, peer) = (house.register("help@example.com").await, house.register("peer@example.com").await);
    for person in [&help, &peer] {
        let role = json!({ "role": "helpdesk" });
        let path = format!("/admin/users/{}", person.id);
        assert_eq!(house.call("PATCH", &path, root.shown(), role).await.status, 200);
    }
    let deeds = deeds(&house, &root, &peer).await;
    let assertion = house.assertion_of(&help).await;
    let by = Shown::Header("X-Gateway-Assertion", &assertion);
    let mut other = PgConnection::connect(database.url()).await.unwrap();
    let mut watcher = PgConnection::connect(database.url()).await.unwrap();
    for (method, path, body) in &deeds {
        let mut tx = other.begin().await.unwrap();
        tx.execute("UPDATE portcullis.accounts SET role = 'admin' WHERE email_normalised <> 'help@example.com'")
            .await
            .unwrap();
        let mut doing = std::pin::pin!(house.call(method, path, by, body.clone()));
        comes_to_wait(&format!("{method} {path}"), &mut doing, &mut watcher).await;
        tx.commit().await.unwrap();
        let answer = doing.await;
        assert_eq!(answer.refusal(), "409 conflict", "{method} {path}");
        watcher
            .execute("UPDATE portcullis.accounts SET role = 'helpdesk' WHERE email_normalised <> 'root@example.com'")
            .await
            .unwrap();
    }
    // All of it was there to be done.
    for (method, path, body) in &deeds {
        let answer = house.call(method, path, by, body.clone()).await;
        assert!(answer.status.is_success(), "{method} {path}: {}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_done_by_who_administers_no_more_when_it_is_written() {
    const LESS: &str = "UPDATE accounts SET role = 'user' WHERE email_normalised = 'desk@example.com'";
    const AGAIN: &str = "UPDATE accounts SET role = 'admin' WHERE email_normalised = 'desk@example.com'";
    let house = House::open().await;
    let (root, desk) = (house.administrator("root@example.com").await, house.administrator("desk@example.com").await);
    let bob = house.register("bob@example.com").await;
    let tenant = house.tenant_of(&bob).await;
    let users = || "/admin/users".to_owned();
    let mut all = vec![
        ("POST", users(), json!({ "email": "one@example.com", "role": "admin", "invite": true })),
        ("POST", users(), json!({ "email": "two@example.com", "role": "admin", "password": PASSWORD })),
        ("PATCH", format!("/admin/tenants/{tenant}"), json!({ "tier": "pro" })),
        ("PATCH", format!("/admin/users/{}", bob.id), json!({ "status": "active" })),
    ];
    all.extend(deeds(&house, &root, &bob).await);
    let assertion = house.assertion_of(&desk).await;
    let by = Shown::Header("X-Gateway-Assertion", &assertion);
    for (method, path, body) in &all {
        house.run_meanwhile(LESS);
        let answer = house.call(method, path, by, body.clone()).await;
        assert_eq!(answer.refusal(), "409 conflict", "{method} {path}");
        house.run(AGAIN).await;
    }
    // All of it was there to be done.
    for (method, path, body) in &all {
        let answer = house.call(method, path, by, body.clone()).await;
        assert!(answer.status.is_success(), "{method} {path}: {}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_thrown_out_while_their_password_is_checked_does_nothing_by_it() {
    let database = crate::postgres::Database::create().await;
    let house = House::open_on(database.url(), tempfile::tempdir().unwrap()).await;
    let (root, bob) = (house.administrator("root@example.com").await, house.register("bob@example.com").await);
    let assertion = house.assertion_of(&root).await;
    let by = Shown::Header("X-Gateway-Assertion", &assertion);
    let (shown, tenant) = (json!({ "password": PASSWORD }), house.tenant_of(&bob).await);
    let mut other = PgConnection::connect(database.url()).await.unwrap();
    let mut watcher = PgConnection::connect(database.url()).await.unwrap();
    let (factors, tenant) = (format!("/admin/users/{}/mfa", bob.id), format!("/tenants/{tenant}"));
    let deeds: [(&str, &str, Value); 7] = [
        ("DELETE", "/auth/me", shown.clone()),
        ("POST", "/auth/change-password", json!({ "old_password": PASSWORD, "new_password": "another good one" })),
        ("POST", "/auth/mfa/recovery-codes", shown.clone()),
        ("POST", "/auth/reauthenticate", shown.clone()),
        ("DELETE", &factors, json!({ "reason": "lost", "password": PASSWORD })),
        ("DELETE", &tenant, shown.clone()),
        ("DELETE", "/auth/sessions", shown),
    ];
    for (method, path, body) in deeds {
        // How often somebody has guessed is asked before a password is checked.
        let mut tx = other.begin().await.unwrap();
        tx.execute("LOCK TABLE portcullis.login_failures IN ACCESS EXCLUSIVE MODE").await.unwrap();
        let mut doing = std::pin::pin!(house.call(method, path, by, body));
        comes_to_wait(&format!("{method} {path}"), &mut doing, &mut watcher).await;
        watcher.execute("UPDATE portcullis.sessions SET ended_at = now()").await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(doing.await.refusal(), "401 revoked", "{method} {path}");
        watcher.execute("UPDATE portcullis.sessions SET ended_at = NULL").await.unwrap();
    }
    for person in [&root, &bob] {
        assert_eq!(house.get("/auth/me", person.shown()).await.status, 200, "all of them are there");
    }
    house.login("root@example.com").await;
}
