//! Who is thrown out, or becomes less, while a request of theirs is on its way has nothing done by it any more: its body may come much later
//! than the head by which the door has let it in.

use std::time::Duration;

use axum::{
    body::{Body, Bytes},
    http::{Request, header},
};
use identity::{AccountId, ApiKey, CertificateId, Email, ExternalId, Grant, PasswordHash, Principal, Voucher};
use serde_json::{Value, json};
use store::{AccountChange, AccountKind, Belonging, ExternalSubject, NewAccount, Status, TenantChange};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::{
    house::{Answer, House, PASSWORD, Person, Shown},
    idor::joined,
    operations::{Document, UNASKED, filled},
};

const ASSERTION: &str = "X-Gateway-Assertion";
const ABSENT: &str = "0190a5a0-0000-7000-8000-00000000000f";

/// Sends the head of a request, and its body once `meanwhile` is over, which begins when the office waits for the body.
async fn held(
    house: &House,
    (method, path): (&str, &str),
    assertion: &str,
    body: Value,
    meanwhile: impl Future<Output = ()>,
) -> Answer {
    let ((asks, is_asked), (give, given)) = (oneshot::channel::<()>(), oneshot::channel::<Bytes>());
    let stream = futures_util::stream::once(async move {
        asks.send(()).ok();
        given.await
    });
    let request = Request::builder().method(method).uri(path).header(ASSERTION, assertion);
    let request = request.header(header::CONTENT_TYPE, "application/json").body(Body::from_stream(stream)).unwrap();
    let rest = async {
        is_asked.await.unwrap();
        meanwhile.await;
        give.send(Bytes::from(body.to_string())).unwrap();
    };
    tokio::join!(house.send(request), rest).0
}

/// Shows the password anew. Gives the token or cookie that takes the place of this one.
async fn shown_anew(house: &House, shown: &str) -> String {
    let answer = house.post("/auth/reauthenticate", Shown::Credential(shown), json!({ "password": PASSWORD })).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let cookie = answer.cookie().map(|pair| pair.split_once('=').unwrap().1.to_owned());
    cookie.unwrap_or_else(|| answer.text("access_token").to_owned())
}

fn with_role(role: &str) -> AccountChange {
    AccountChange { role: Some(role.to_owned()), ..AccountChange::default() }
}

fn with_status(status: Status) -> AccountChange {
    AccountChange { status: Some(status), ..AccountChange::default() }
}

#[tokio::test]
async fn an_administrator_who_is_disabled_or_becomes_less_meanwhile_changes_and_makes_nobody() {
    let house = House::open().await;
    // There is always one left.
    house.administrator("root@example.com").await;
    let (desk, ada) = (house.administrator("desk@example.com").await, house.register("ada@example.com").await);
    let (assertion, user) = (house.assertion_of(&desk).await, format!("/admin/users/{}", ada.id));
    let role = json!({ "role": "admin" });
    let disable = house.change(&desk, with_status(Status::Disabled));
    let refused = held(&house, ("PATCH", &user), &assertion, role.clone(), disable).await;
    assert_eq!(refused.refusal(), "403 account_disabled");
    assert_eq!(house.store.account(ada.id).await.unwrap().unwrap().role, "user");

    let desk = house.administrator("other@example.com").await;
    let assertion = house.assertion_of(&desk).await;
    let new = json!({ "email": "late@example.com", "password": PASSWORD, "role": "admin" });
    let demote = house.change(&desk, with_role("user"));
    let refused = held(&house, ("POST", "/admin/users"), &assertion, new, demote).await;
    assert_eq!(refused.refusal(), "409 conflict");
    assert!(house.store.account_by_address("late@example.com").await.unwrap().is_none());
    house.change(&desk, with_role("admin")).await;
    let done = held(&house, ("PATCH", &user), &assertion, role, async {}).await;
    assert_eq!((done.status.as_u16(), &done.body["role"]), (200, &json!("admin")), "it could have been done");
}

#[tokio::test]
async fn who_is_sent_away_or_whose_organisation_is_disabled_meanwhile_changes_nothing_there() {
    let house = House::open().await;
    let ada = house.register("ada@example.com").await;
    let tenant = house.tenant_of(&ada).await;
    let bob = joined(&house, &ada, &tenant, "bob@example.com").await;
    let member = format!("/tenants/{tenant}/members/{}", bob.id);
    assert_eq!(house.call("PATCH", &member, ada.shown(), json!({ "role": "admin" })).await.status, 204);
    let key = json!({ "service": "claude", "api_key": "sk-ant-0123456789", "owner": "tenant" });
    let path = format!("/integrations/{}", house.made_id("/integrations", ada.shown(), key).await);
    let assertion = house.assertion_of(&bob).await;
    let other = json!({ "api_key": "sk-ant-of-somebody-else-9999" });
    let send_away = async {
        assert_eq!(house.call("DELETE", &member, ada.shown(), Value::Null).await.status, 204);
    };
    assert_eq!(held(&house, ("PATCH", &path), &assertion, other, send_away).await.refusal(), "401 revoked");
    assert_eq!(house.get(&path, ada.shown()).await.text("last_four"), "6789");

    let assertion = house.assertion_of(&ada).await;
    let disable = async {
        let change = TenantChange { status: Some(Status::Disabled), ..TenantChange::default() };
        house.store.change_tenant(tenant.parse().unwrap(), change, house.now()).await.unwrap();
    };
    let team = held(&house, ("POST", "/teams"), &assertion, json!({ "name": "Late" }), disable).await;
    assert_eq!(team.refusal(), "403 tenant_disabled");
    assert_eq!(house.post("/auth/logout", Shown::Header(ASSERTION, &assertion), Value::Null).await.status, 200);
}

#[tokio::test]
async fn a_session_that_is_ended_meanwhile_neither_changes_the_password_nor_deletes_the_account() {
    let house = House::open().await;
    let owner = house.register("ada@example.com").await;
    for (request, body) in [
        (("POST", "/auth/change-password"), json!({ "old_password": PASSWORD, "new_password": "another good one" })),
        (("DELETE", "/auth/me"), json!({ "password": PASSWORD })),
        (("DELETE", "/auth/sessions"), json!({ "password": PASSWORD })),
        (("PATCH", "/auth/me"), json!({ "name": "Eve" })),
    ] {
        let thief = house.login("ada@example.com").await;
        let assertion = house.assertion_of(&thief).await;
        let end = async {
            assert_eq!(house.call("DELETE", "/auth/sessions", owner.shown(), Value::Null).await.status, 200);
        };
        assert_eq!(held(&house, request, &assertion, body, end).await.refusal(), "401 revoked", "{request:?}");
    }
    assert_eq!(house.get("/auth/me", owner.shown()).await.text("name"), "Ada");
    house.login("ada@example.com").await;
}

/// Whoever has a copy of a token or cookie waits with it until its owner shows who they are.
#[tokio::test]
async fn what_was_let_in_by_a_stale_token_or_cookie_is_not_raised_with_its_owner() {
    let house = House::open().await;
    house.register("ada@example.com").await;
    let owner = house.login("ada@example.com").await;
    let body = json!({ "email": "ada@example.com", "password": PASSWORD, "session": "cookie" });
    let login = house.post("/auth/login", Shown::Nothing, body).await;
    let cookie = login.cookie().unwrap().split_once('=').unwrap().1.to_owned();
    for mut shown in [owner.access, cookie] {
        for (request, body) in [
            (("POST", "/auth/api-keys"), json!({ "name": "late" })),
            (("POST", "/auth/mfa/recovery-codes"), json!({})),
            (("POST", "/auth/mfa/totp"), json!({})),
            (("DELETE", "/auth/me"), json!({})),
        ] {
            house.advance(Duration::from_mins(6));
            let stale = house.call(request.0, request.1, Shown::Credential(&shown), body.clone()).await;
            assert_eq!(stale.refusal(), "401 insufficient_user_authentication", "{request:?}");
            let copy = Person { id: owner.id, access: shown.clone(), refresh: String::new() };
            let assertion = house.assertion_of(&copy).await;
            let mut next = String::new();
            let show_anew = async { next = shown_anew(&house, &shown).await };
            assert_eq!(
                held(&house, request, &assertion, body, show_anew).await.refusal(),
                "401 revoked",
                "{request:?}"
            );
            shown = next;
        }
    }
    let now = house.login("ada@example.com").await;
    assert_eq!(house.get("/auth/api-keys", now.shown()).await.body["items"], json!([]));
}

#[tokio::test]
async fn a_key_that_is_revoked_meanwhile_changes_nothing() {
    let house = House::open().await;
    let ada = house.register("ada@example.com").await;
    house.change(&ada, with_role("developer")).await;
    let agent = format!("/agents/{}", house.made_id("/agents", ada.shown(), json!({ "name": "Hers" })).await);
    let key = house.make_key(&ada, json!({ "name": "ci" })).await;
    let shown = Person { id: ada.id, access: key["key"].as_str().unwrap().to_owned(), refresh: String::new() };
    let assertion = house.assertion_of(&shown).await;
    let revoke = async {
        let path = format!("/auth/api-keys/{}", key["id"].as_str().unwrap());
        assert_eq!(house.call("DELETE", &path, ada.shown(), Value::Null).await.status, 204);
    };
    let refused = held(&house, ("PATCH", &agent), &assertion, json!({ "name": "Late" }), revoke).await;
    assert_eq!(refused.refusal(), "401 revoked");
    assert_eq!(house.get(&agent, ada.shown()).await.text("name"), "Hers");
}

#[tokio::test]
async fn a_service_whose_key_is_revoked_meanwhile_bills_nobody() {
    let house = House::open().await;
    let (root, ada) = (house.administrator("root@example.com").await, house.register("ada@example.com").await);
    let (id, key) = house.service(None).await;
    let key_id = ApiKey::parse(&key).unwrap().id();
    let service = Person { id, access: key, refresh: String::new() };
    let assertion = house.assertion_of(&service).await;
    let report = json!({ "service": "claude", "cost": 1, "account_id": ada.id.to_string() });
    let used = async || house.get("/usage?group_by=service", ada.shown()).await.body["items"].clone();
    let revoke = async {
        let path = format!("/admin/keys/{key_id}");
        assert_eq!(house.call("DELETE", &path, root.shown(), Value::Null).await.status, 204);
    };
    assert_eq!(held(&house, ("POST", "/usage"), &assertion, report.clone(), revoke).await.refusal(), "401 revoked");
    assert_eq!(used().await, json!([]));
    let (id, key) = house.service(None).await;
    let assertion = house.assertion_of(&Person { id, access: key, refresh: String::new() }).await;
    assert_eq!(held(&house, ("POST", "/usage"), &assertion, report, async {}).await.status, 202);
    assert_eq!(used().await[0]["cost"], "1.00", "it could have been");
}

/// Every one that there is, so that none can be added which is not asked.
#[tokio::test]
async fn nothing_is_changed_by_a_session_that_has_ended_whatever_the_operation() {
    let house = House::open().await;
    let root = house.administrator("root@example.com").await;
    let assertion = house.assertion_of(&root).await;
    assert_eq!(house.post("/auth/logout", root.shown(), Value::Null).await.status, 200);
    let by = Shown::Header(ASSERTION, &assertion);
    let document = Document::of(&house).await;
    let mut asked = 0;
    for (method, template, operation) in document.all() {
        let name = format!("{method} {template}");
        if method == "GET" || !operation["security"].is_array() || UNASKED.contains(&&*name) {
            continue;
        }
        let ids = vec![ABSENT.to_owned(); template.matches('{').count()];
        let answer = house.call(&method, &filled(template, &ids), by, json!({})).await;
        assert_eq!(answer.refusal_or_status(), "401 revoked", "{name}");
        asked += 1;
    }
    assert!(asked > 60, "{asked}");
    // A second click on the way out is none that fails.
    assert_eq!(house.post("/auth/logout", by, Value::Null).await.status, 200);
}

#[tokio::test]
async fn who_is_refused_so_is_written_down_and_on_a_page_told_by_a_page() {
    let house = House::open().await;
    let (root, ada) = (house.administrator("root@example.com").await, house.register("ada@example.com").await);
    let assertion = house.assertion_of(&ada).await;
    assert_eq!(house.post("/auth/logout", ada.shown(), Value::Null).await.status, 200);
    let fields = [(ASSERTION, &*assertion), ("Sec-Fetch-Site", "same-origin")];
    let page = crate::browsers::send(&house, "POST", "/account/keys", &fields, "csrf=x&name=ci&expires_in_days=").await;
    assert_eq!(page.status, 403);
    assert!(page.body.as_str().unwrap().contains("The credential was revoked"), "{}", page.body);
    let events = house.get("/admin/audit?event=create_key", root.shown()).await.body;
    let event = &events["items"][0];
    assert_eq!((&event["outcome"], &event["actor"]), (&json!("revoked"), &json!(ada.id.to_string())), "{events}");
}

#[tokio::test]
async fn what_takes_no_body_is_not_done_with_a_large_one() {
    let house = House::open().await;
    let ada = house.register("ada@example.com").await;
    let key = format!("/auth/api-keys/{}", house.make_key(&ada, json!({ "name": "ci" })).await["id"].as_str().unwrap());
    let large = json!("x".repeat(64 * 1024));
    assert_eq!(house.call("DELETE", &key, ada.shown(), large).await.refusal(), "413 body_too_large");
    assert_eq!(house.call("DELETE", &key, ada.shown(), Value::Null).await.status, 204);
}

/// No session of ours stands behind them; what their account is does.
#[tokio::test]
async fn whoever_somebody_else_vouches_for_is_asked_for_too_and_who_holds_a_certificate_is_not() {
    let house = House::open().await;
    let subject = ExternalSubject { issuer: "https://tokens.test", subject: "ada-there", claims_at: None };
    let (id, email) = (AccountId::new(Uuid::now_v7()), Email::parse("ada@example.com").unwrap());
    let new = NewAccount {
        id,
        email: &email,
        password_hash: PasswordHash::from(String::new()),
        name: None,
        role: "user",
        tier: "free",
        has_own_tier: false,
        is_verified: false,
        kind: AccountKind::Person,
        tenant: Belonging::FoundsOwn,
        now: house.now(),
    };
    house.store.create_external(new, subject).await.unwrap();
    let external = ExternalId::of(subject.issuer, subject.subject);
    let account = house.store.account(id).await.unwrap().unwrap();
    for by in [Voucher::Issuer, Voucher::IssuerForTenant, Voucher::Legacy, Voucher::Developer] {
        let principal = store::GrantFacts::of_account(account.clone()).principal(Grant::External(external, by));
        let assertion = house.assert(&principal, "admin-api");
        let rename = async || {
            house.call("PATCH", "/auth/me", Shown::Header(ASSERTION, &assertion), json!({ "name": "Ada" })).await
        };
        assert_eq!(rename().await.status, 200, "{by:?}");
        house.store.change_account(id, with_status(Status::Disabled), house.now()).await.unwrap();
        assert_eq!(rename().await.refusal(), "403 account_disabled", "{by:?}");
        house.store.change_account(id, with_status(Status::Active), house.now()).await.unwrap();
    }
    house.run("DELETE FROM external_identities").await;
    let principal = store::GrantFacts::of_account(account).principal(Grant::External(external, Voucher::Issuer));
    let assertion = house.assert(&principal, "admin-api");
    let unlinked =
        house.call("PATCH", "/auth/me", Shown::Header(ASSERTION, &assertion), json!({ "name": "Ada" })).await;
    // The account is there.
    let said = "The credential was revoked; log in again or use another key.";
    assert_eq!((unlinked.refusal().as_str(), unlinked.text("detail")), ("401 revoked", said));
    let holder = Uuid::now_v7();
    let principal = Principal {
        account: AccountId::new(holder),
        role: "admin".into(),
        tier: "free".into(),
        tenant: None,
        tenant_role: None,
        actor: None,
        is_service: false,
        grant: Grant::Certificate(CertificateId::new(holder)),
        scopes: None,
        networks: None,
        authentication: None,
        generation: 0,
    };
    let assertion = house.assert(&principal, "admin-api");
    let by = Shown::Header(ASSERTION, &assertion);
    assert_eq!(house.post("/admin/config/reload", by, Value::Null).await.status, 200);
}

#[tokio::test]
async fn who_becomes_less_while_the_password_is_hashed_makes_nobody() {
    let house = House::open().await;
    let desk = house.administrator("desk@example.com").await;
    let new = json!({ "email": "late@example.com", "password": PASSWORD, "role": "admin" });
    house.run_meanwhile("UPDATE accounts SET role = 'user' WHERE email = 'desk@example.com'");
    assert_eq!(house.post("/admin/users", desk.shown(), new).await.refusal(), "409 conflict");
    assert!(house.store.account_by_address("late@example.com").await.unwrap().is_none());
}
