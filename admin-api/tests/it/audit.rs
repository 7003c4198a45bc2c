//! The audit trail: what changes something is in it with who, what and from where, and what only reads is not.

use std::time::Duration;

use identity::RefreshToken;
use serde_json::{Value, json};
use sqlx::Executor as _;

use crate::{
    house::{House, PASSWORD, Place, Shown},
    passwords::{STOLEN, where_one_is_stolen},
};

/// Every event so far, the oldest first: what, how it ended, by whom and to whom.
async fn events(house: &House, administrator: &Shown<'_>) -> Vec<Value> {
    let answer = house.get("/admin/audit?limit=200", *administrator).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let mut items = answer.body["items"].as_array().unwrap().clone();
    items.reverse();
    items
}

fn told(event: &Value) -> (&str, &str) {
    (event["event"].as_str().unwrap(), event["outcome"].as_str().unwrap())
}

#[tokio::test]
async fn what_changes_something_is_written_down_and_what_reads_is_not() {
    let house = House::open().await;
    let administrator = house.administrator("root@example.com").await;
    let before = events(&house, &administrator.shown()).await.len();
    let ada = house.register("ada@example.com").await;
    let id = ada.id.to_string();
    let login = |password: &str| json!({ "email": "ADA@example.com", "password": password });
    house.post("/auth/login", Shown::Nothing, login("wrong horse")).await;
    house.post("/auth/login", Shown::Nothing, json!({ "email": "nobody@example.com", "password": PASSWORD })).await;
    house.post("/auth/login", Shown::Nothing, login(PASSWORD)).await;
    house.post("/auth/login", Shown::Nothing, json!({ "unknown": 1 })).await;
    house.post("/auth/validate", Shown::Nothing, json!({ "token": "x" })).await;
    house.get("/auth/me", ada.shown()).await;
    let key = house.post("/auth/api-keys", ada.shown(), json!({ "name": "ci" })).await.body;
    let change = json!({ "role": "helpdesk", "status": "active" });
    house.call("PATCH", &format!("/admin/users/{id}"), administrator.shown(), change.clone()).await;
    house.call("PATCH", &format!("/admin/users/{id}"), ada.shown(), change).await;
    let events = events(&house, &administrator.shown()).await.split_off(before);
    assert_eq!(
        events.iter().map(told).collect::<Vec<_>>(),
        [
            ("register", "ok"),
            ("login", "invalid_credentials"),
            ("login", "invalid_credentials"),
            ("login", "ok"),
            ("create_key", "ok"),
            ("change_user", "ok"),
            ("change_user", "own_account"),
        ]
    );
    let who = |number: usize| (events[number]["actor"].clone(), events[number]["subject"].clone());
    let (ada, root) = (json!(id), json!(administrator.id.to_string()));
    assert_eq!(who(0), (ada.clone(), ada.clone()));
    // It was aimed at her, and nobody knows by whom; at an address without an account there is nobody to name.
    assert_eq!(who(1), (Value::Null, ada.clone()));
    assert_eq!(who(2), (Value::Null, Value::Null));
    assert_eq!(who(4), (ada.clone(), ada.clone()));
    assert_eq!(events[4]["details"], json!({ "key": key["id"], "scopes": null }));
    assert_eq!(who(5), (root, ada.clone()));
    assert_eq!(events[5]["details"], json!({ "role": "helpdesk", "status": "active" }));
    let text = serde_json::to_string(&events).unwrap();
    for secret in ["example.com", PASSWORD, key["key"].as_str().unwrap()] {
        assert!(!text.contains(secret), "{text}");
    }
    let report = house.audit.verify().await.unwrap();
    assert_eq!((report.faults.len(), report.events), (0, u64::try_from(before + events.len()).unwrap()));
}

#[tokio::test]
async fn what_somebody_does_to_their_own_account_is_found_by_its_id() {
    let house = House::open().await;
    let administrator = house.administrator("root@example.com").await;
    let ada = house.register("ada@example.com").await;
    let proof = json!({ "password": PASSWORD });
    house.call("PATCH", "/auth/me", ada.shown(), json!({ "name": "Ada" })).await;
    house.post("/auth/mfa/totp", ada.shown(), proof.clone()).await;
    house.post("/auth/mfa/recovery-codes", ada.shown(), proof.clone()).await;
    house.call("DELETE", "/auth/sessions", ada.shown(), proof).await;
    let scoped = json!({ "name": "ci", "scopes": ["agents:read"] });
    let key = house.make_key(&ada, scoped).await;
    house.post("/auth/logout", ada.shown(), Value::Null).await;
    // Whoever is named by the path is whom it is done to, and what is nobody's is done to nobody.
    house.post("/admin/config/reload", administrator.shown(), Value::Null).await;
    let all = events(&house, &administrator.shown()).await;
    let of =
        |event: &str| all.iter().find(|found| found["event"] == event).unwrap_or_else(|| panic!("{event}: {all:?}"));
    for event in ["update_me", "enrol_totp", "renew_recovery_codes", "end_other_sessions", "create_key", "logout"] {
        assert_eq!(of(event)["subject"], json!(ada.id.to_string()), "{event}");
    }
    assert_eq!(of("create_key")["details"], json!({ "key": key["id"], "scopes": ["agents:read"] }));
    assert_eq!(of("reload_config")["subject"], Value::Null);
}

#[tokio::test]
async fn as_what_somebody_was_invited_and_has_accepted_is_written_down() {
    let house = House::open().await;
    let administrator = house.administrator("root@example.com").await;
    let (ada, bob) = (house.register("ada@example.com").await, house.register("bob@example.com").await);
    house.confirm(bob.id).await;
    let tenant = house.tenant_of(&ada).await;
    let asked = json!({ "email": "bob@example.com", "role": "admin" });
    let asked = house.post(&format!("/tenants/{tenant}/members"), ada.shown(), asked).await;
    let id = asked.text("id");
    house.post(&format!("/auth/invitations/{id}/accept"), bob.shown(), Value::Null).await;
    let all = events(&house, &administrator.shown()).await;
    let [.., invited, accepted] = &all[..] else { panic!("{all:?}") };
    assert_eq!((told(invited).0, told(accepted).0), ("invite_member", "accept_invitation"));
    assert_eq!(
        (&invited["subject"], &invited["details"]),
        (&json!(tenant), &json!({ "role": "admin", "invitation": id }))
    );
    assert_eq!(accepted["details"], json!({ "tenant": tenant, "role": "admin", "invitation": id }));
}

#[tokio::test]
async fn whose_account_a_mail_or_a_stolen_token_has_opened_is_said() {
    let house = House::open().await;
    let administrator = house.administrator("root@example.com").await;
    house.mails().await;
    let ada = house.register("ada@example.com").await;
    let browser = |cookie| Place { address: "203.0.113.7", cookie };
    let confirm = json!({ "token": house.mail().await.token() });
    let before = events(&house, &administrator.shown()).await.len();
    house.post("/auth/verify-email", Shown::Nothing, confirm).await;
    let asked = house.visit(&browser(None), "/auth/magic-link", json!({ "email": "ada@example.com" })).await;
    let cookie = asked.cookie().unwrap();
    let token = json!({ "token": house.mail().await.token() });
    assert_eq!(house.visit(&browser(Some(&cookie)), "/auth/magic-link/consume", token).await.status, 200);
    let refresh = json!({ "refresh_token": ada.refresh });
    house.post("/auth/refresh", Shown::Nothing, refresh.clone()).await;
    house.advance(Duration::from_secs(11));
    assert_eq!(house.post("/auth/refresh", Shown::Nothing, refresh).await.refusal(), "401 token_reused");
    house.post("/auth/request-password-reset", Shown::Nothing, json!({ "email": "ada@example.com" })).await;
    let reset = json!({ "token": house.mail().await.token(), "new_password": "another horse battery" });
    assert_eq!(house.post("/auth/reset-password", Shown::Nothing, reset).await.status, 200);
    let events = events(&house, &administrator.shown()).await.split_off(before);
    let id = json!(ada.id.to_string());
    for (event, outcome, actor) in [
        ("verify_email", "ok", &id),
        ("consume_magic_link", "ok", &id),
        ("refresh", "token_reused", &Value::Null),
        ("reset_password", "ok", &id),
    ] {
        let found = events.iter().find(|found| told(found) == (event, outcome));
        let found = found.unwrap_or_else(|| panic!("{event}: {events:?}"));
        assert_eq!((&found["actor"], &found["subject"]), (actor, &id), "{found}");
    }
}

#[tokio::test]
async fn a_refresh_token_with_a_guessed_secret_ends_the_session_of_the_true_one_and_is_an_event() {
    let house = House::open().await;
    let administrator = house.administrator("root@example.com").await;
    let ada = house.register("ada@example.com").await;
    let session = house.get("/auth/sessions", ada.shown()).await.body["items"][0]["id"].clone();
    let refresh = async |token: &str| {
        house.post("/auth/refresh", Shown::Nothing, json!({ "refresh_token": token })).await.refusal()
    };
    // Well-formed, and of the same record: the secret alone is another one.
    let forged = RefreshToken::generate(RefreshToken::parse(&ada.refresh).unwrap().id(), &mut rand::rng());
    assert_eq!(refresh(forged.expose()).await, "401 invalid_token");
    assert_eq!(refresh(&ada.refresh).await, "401 revoked");
    assert_eq!(house.get("/auth/me", ada.shown()).await.refusal(), "401 door:revoked");
    let events = events(&house, &administrator.shown()).await;
    let refreshes: Vec<_> = events.iter().filter(|event| event["event"] == "refresh").collect();
    let outcomes = refreshes.iter().map(|event| told(event));
    assert_eq!(outcomes.collect::<Vec<_>>(), [("refresh", "invalid_token"), ("refresh", "revoked")]);
    assert_eq!(refreshes[0]["subject"], json!(ada.id.to_string()));
    assert_eq!(refreshes[0]["details"], json!({ "session": session, "forged": true }));
    assert_eq!(refreshes[1]["details"], json!({ "session": session }));
}

#[tokio::test]
async fn it_is_said_from_where_and_under_which_request() {
    let house = House::open().await;
    let administrator = house.administrator("root@example.com").await;
    house
        .post(
            "/auth/login",
            Shown::Header("x-gateway-client", "203.0.113.7"),
            json!({ "email": "a@b.c", "password": PASSWORD }),
        )
        .await;
    house
        .post("/auth/login", Shown::Header("x-request-id", "r-7"), json!({ "email": "a@b.c", "password": PASSWORD }))
        .await;
    let events = events(&house, &administrator.shown()).await;
    let [.., one, other] = &events[..] else { panic!("{events:?}") };
    assert_eq!((&one["address"], &other["request_id"]), (&json!("203.0.113.7"), &json!("r-7")));
}

#[tokio::test]
async fn events_are_found_page_by_page_and_by_what_they_are() {
    let house = House::open().await;
    let administrator = house.administrator("root@example.com").await;
    let ada = house.register("ada@example.com").await;
    for _ in 0..4 {
        house
            .post("/auth/login", Shown::Nothing, json!({ "email": "ada@example.com", "password": "wrong horse" }))
            .await;
    }
    let get = async |query: &str| house.get(&format!("/admin/audit?{query}"), administrator.shown()).await;
    let failed = format!("event=login&outcome=invalid_credentials&subject={}", ada.id);
    let first = get(&format!("{failed}&limit=3")).await.body;
    assert_eq!(first["items"].as_array().unwrap().len(), 3);
    let cursor = first["next_cursor"].as_str().unwrap();
    let last = get(&format!("{failed}&cursor={cursor}")).await.body;
    assert_eq!((last["items"].as_array().unwrap().len(), &last["next_cursor"]), (1, &Value::Null));
    assert_eq!(get("since=2999-01-01T00:00:00Z").await.body["items"], json!([]));
    assert_eq!(get("until=2001-01-01T00:00:00Z").await.body["items"], json!([]));
    for wrong in ["limit=0", "limit=201", "actor=x", "since=yesterday", "cursor=x", "email=a", "limit=1&limit=1"] {
        assert_eq!(get(wrong).await.status, 400, "{wrong}");
    }
    assert_eq!(house.get("/admin/audit", ada.shown()).await.status, 403);
}

#[tokio::test]
async fn what_fails_after_it_was_written_is_an_event_and_what_was_never_begun_is_none() {
    // From the last statement before the commit on the account cannot be read.
    const BREAK: &str = "CREATE TRIGGER breaks AFTER INSERT ON changes WHEN EXISTS \
        (SELECT 1 FROM accounts WHERE name = 'Broken') BEGIN UPDATE accounts SET created_at = 'x' WHERE name = 'Broken'; END; COMMIT";
    let house = House::open().await;
    let administrator = house.administrator("root@example.com").await;
    let ada = house.register("ada@example.com").await;
    let assertion = house.assertion_of(&ada).await;
    let shown = Shown::Header("X-Gateway-Assertion", &assertion);
    let mut lock = house.block_writes().await;
    let refused = house.call("PATCH", "/auth/me", shown, json!({ "name": "Ada" })).await;
    assert_eq!(refused.refusal(), "503 directory_unavailable");
    assert_eq!(house.metric("portcullis_audit_failures_total"), 0, "nobody has tried to write an event either");
    lock.execute(BREAK).await.unwrap();
    let broken = house.call("PATCH", "/auth/me", shown, json!({ "name": "Broken" })).await;
    assert!(broken.status.is_server_error(), "{}", broken.body);
    let events = events(&house, &administrator.shown()).await;
    let changes: Vec<_> = events.iter().filter(|event| event["event"] == "update_me").collect();
    assert_eq!(changes.iter().map(|event| told(event)).collect::<Vec<_>>(), [("update_me", "failed")]);
    assert_eq!(changes[0]["subject"], json!(ada.id.to_string()));
    assert_eq!(changes[0]["details"]["code"], broken.body["code"]);
}

#[tokio::test]
async fn what_is_refused_after_something_of_it_was_written_is_an_event() {
    let house = where_one_is_stolen().await;
    let administrator = house.administrator("root@example.com").await;
    let ada = house.register("ada@example.com").await;
    let change = async |old: &str| {
        let body = json!({ "old_password": old, "new_password": STOLEN });
        house.post("/auth/change-password", ada.shown(), body).await.status.as_u16()
    };
    // The right one forgives the wrong one, whatever becomes of the new one.
    assert_eq!([change(PASSWORD).await, change("wrong horse").await, change(PASSWORD).await], [422, 403, 422]);
    let events = events(&house, &administrator.shown()).await;
    let changes: Vec<_> = events.iter().filter(|event| event["event"] == "change_password").collect();
    let told = changes.iter().map(|event| told(event));
    assert_eq!(told.collect::<Vec<_>>(), [("change_password", "wrong_password"), ("change_password", "failed")]);
    assert_eq!(
        (&changes[1]["subject"], &changes[1]["details"]["code"]),
        (&json!(ada.id.to_string()), &json!("invalid_fields"))
    );
}
