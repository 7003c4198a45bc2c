//! Bills through the door: made when a month is over, seen by whom they concern, told to others, and paid.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    path::Path,
    sync::mpsc,
    thread,
};

use aws_lc_rs::hmac;
use base64::{Engine, prelude::BASE64_STANDARD};
use chrono::{Datelike, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::platform::{Answer, PASSWORD, Platform, Setup, eventually, token_of};

const SECRET: &str = "whsec_a-secret-of-the-tests";

fn register(platform: &Platform, email: &str, tenant: &str) -> Value {
    let asked = json!({ "email": email, "password": PASSWORD, "name": "A Person", "tenant_name": tenant });
    let answer = platform.post("/auth/register", None, &asked);
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()
}

fn tenant_of(platform: &Platform, token: &str) -> String {
    platform.get("/auth/me", token).json()["tenant_id"].as_str().unwrap().to_owned()
}

fn setup() -> Setup {
    Setup::default()
        .edit("gateway.toml", "grace = \"3d\"", "grace = \"0s\"")
        .edit(
            "gateway.toml",
            "# payment_secret = { env = \"STRIPE_WEBHOOK_SECRET\" }",
            "payment_secret = { env = \"STRIPE_WEBHOOK_SECRET\" }",
        )
        .env("STRIPE_WEBHOOK_SECRET", SECRET)
}

/// Ada's and Bob's tenants have used something last month; then the gateway starts again. Keeps the data in `data`.
fn used_last_month(data: &Path) {
    let mut platform = setup().start_on(data);
    platform.admin();
    let (_, service) = platform.service_account("meter");
    let last_month =
        Utc::now().date_naive().with_day(1).unwrap().and_hms_opt(0, 0, 0).unwrap().and_utc() - TimeDelta::hours(1);
    for (email, cost) in [("ada@example.com", "1.25"), ("bob@example.com", "0.000001")] {
        let person = register(&platform, email, "Acme");
        let report = json!({
            "service": "claude", "cost": cost, "tokens_used": 9, "account_id": person["user"]["id"], "occurred_at": last_month,
        });
        let answer = platform.post("/usage", Some(&service), &report);
        assert_eq!(answer.status, 202, "{answer:?}");
    }
    platform.gateway().signal("TERM");
    assert_eq!(platform.gateway().wait(), Some(0));
}

#[test]
fn a_month_that_is_over_is_billed_and_seen_by_those_whom_it_concerns() {
    let folder = tempfile::tempdir().unwrap();
    used_last_month(folder.path());
    let platform = setup().start_on(folder.path());
    let (ada, bob, admin) =
        (platform.login("ada@example.com"), platform.login("bob@example.com"), platform.login("root@example.com"));
    let list = |who: &str| platform.get("/billing/statements", who).json()["items"].as_array().unwrap().clone();
    eventually("the statement", || list(&ada).len() == 1);
    let statement = list(&ada).remove(0);
    let last_month = Utc::now().date_naive().with_day(1).unwrap().pred_opt().unwrap().format("%Y-%m").to_string();
    assert_eq!(
        [
            &statement["month"],
            &statement["currency"],
            &statement["usage"],
            &statement["total"],
            &statement["payment_status"]
        ],
        [&*last_month, "USD", "1.25", "1.25", "open"]
    );
    let path = format!("/billing/statements/{}", statement["id"].as_str().unwrap());
    assert_eq!(platform.get(&path, &ada).json(), statement);
    assert_eq!(statement["tenant_name"], "Acme");
    eventually("that it was made to be in the trail", || {
        let trail = platform.get("/admin/audit?event=make_statement", &admin).json();
        trail["items"].as_array().unwrap().iter().any(|event| event["subject"] == statement["id"])
    });
    // To Bob, who owns another tenant, there is no such thing.
    let theirs = platform.get(&path, &bob);
    let nothing = platform.get("/billing/statements/0190a5a0-0000-7000-8000-000000000000", &bob);
    let said = |answer: &Answer| (answer.status, answer.json()["code"].clone(), answer.json()["detail"].clone());
    assert_eq!(said(&theirs), said(&nothing));
    assert_eq!(theirs.status, 404);
    let adas = tenant_of(&platform, &ada);
    assert_eq!(platform.get(&format!("/billing/statements?tenant_id={adas}"), &bob).code(), "not_found");
    let seen = platform.get(&format!("/billing/statements?tenant_id={adas}"), &admin).json();
    assert_eq!(seen["items"][0], statement);
    assert_eq!(platform.json("PATCH", &path, Some(&ada), &json!({ "payment_status": "paid" })).code(), "forbidden");
    for wrong in [json!({ "payment_status": "open" }), json!({ "total": "0" }), json!({})] {
        assert_eq!(platform.json("PATCH", &path, Some(&admin), &wrong).status, 422, "{wrong}");
    }
    let paid = platform.json("PATCH", &path, Some(&admin), &json!({ "payment_status": "paid" }));
    assert_eq!((paid.status, paid.json()["payment_status"].as_str()), (200, Some("paid")));
    assert_eq!(platform.json("PATCH", &path, Some(&admin), &json!({ "payment_status": "void" })).code(), "conflict");
    let trail = platform.get("/admin/audit?event=settle_statement", &admin).json();
    assert!(trail["items"].as_array().unwrap().iter().any(|event| event["outcome"] == "ok"), "{trail}");
}

/// Takes what is sent; the first is answered 503.
fn receiver() -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hooks", listener.local_addr().unwrap());
    let (sender, received) = mpsc::channel();
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
            let whole = |bytes: &[u8]| {
                let text = String::from_utf8_lossy(bytes).into_owned();
                let (head, body) = text.split_once("\r\n\r\n")?;
                let length: usize =
                    head.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())?;
                (body.len() >= length).then_some(text)
            };
            let text = loop {
                let read = stream.read(&mut buffer).unwrap();
                bytes.extend_from_slice(&buffer[..read]);
                if let Some(text) = whole(&bytes) {
                    break text;
                }
            };
            let status = if number == 0 { "503 Later" } else { "204 Heard" };
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
            sender.send(text).unwrap();
        }
    });
    (url, received)
}

#[test]
fn a_statement_is_told_again_until_it_is_heard_and_signed_each_time() {
    let folder = tempfile::tempdir().unwrap();
    used_last_month(folder.path());
    let (url, received) = receiver();
    let key = [7; 32];
    let platform = setup()
        .edit("gateway.toml", "# webhook_url = \"https://example.com/hooks\"", &format!("webhook_url = \"{url}\""))
        .edit(
            "gateway.toml",
            "# webhook_secret = { env = \"BILLING_WEBHOOK_SECRET\" }",
            "webhook_secret = { env = \"BILLING_WEBHOOK_SECRET\" }",
        )
        .env("BILLING_WEBHOOK_SECRET", &format!("whsec_{}", BASE64_STANDARD.encode(key)))
        .start_on(folder.path());
    let mut heard: Vec<(String, Value)> = Vec::new();
    // One that is not taken and comes again, and those of the other tenants.
    while heard.len() < 3 || heard.iter().filter(|(id, _)| *id == heard[0].0).count() < 2 {
        let text = received.recv_timeout(std::time::Duration::from_secs(30)).unwrap();
        let (fields, body) = text.split_once("\r\n\r\n").unwrap();
        let field =
            |name: &str| fields.lines().find_map(|line| line.strip_prefix(&format!("{name}: "))).unwrap().to_owned();
        let (id, at) = (field("webhook-id"), field("webhook-timestamp"));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), format!("{id}.{at}.{body}").as_bytes());
        assert_eq!(field("webhook-signature"), format!("v1,{}", BASE64_STANDARD.encode(tag)));
        heard.push((id, serde_json::from_str(body).unwrap()));
    }
    let again: Vec<_> = heard.iter().filter(|(id, _)| *id == heard[0].0).collect();
    assert_eq!(again[0].1, again[1].1);
    assert_eq!(heard[0].1["type"], "billing.statement.closed");
    let usages: Vec<_> = heard.iter().map(|(_, body)| body["data"]["usage_micros"].clone()).collect();
    assert!(usages.contains(&json!("1250000")) && usages.contains(&json!("1")), "{usages:?}");
    drop(platform);
}

/// As Stripe signs it, so many seconds ago.
fn signed(platform: &Platform, body: &str, secret: &str, ago: i64) -> Answer {
    let at = Utc::now().timestamp() - ago;
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), format!("{at}.{body}").as_bytes());
    let hex = tag.as_ref().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    let signature = format!("t={at},v1={hex}");
    platform.send(
        "POST",
        "/billing/webhook",
        &[("Stripe-Signature", &signature), ("Content-Type", "application/json")],
        body,
    )
}

#[test]
fn an_event_of_a_payment_provider_may_be_long() {
    let platform = setup().start();
    let event = |description: &str| {
        let object = json!({ "description": description });
        json!({ "id": "evt_1", "type": "invoice.created", "created": 1, "data": { "object": object } }).to_string()
    };
    let most = 256 * 1024 - event("").len();
    let longest = signed(&platform, &event(&"x".repeat(most)), SECRET, 0);
    assert_eq!((longest.status, longest.json()["status"].as_str()), (200, Some("ignored")));
    assert_eq!(signed(&platform, &event(&"x".repeat(most + 1)), SECRET, 0).code(), "body_too_large");
}

#[test]
fn a_payment_provider_moves_a_tenant_between_tiers_if_it_is_the_one() {
    let platform = setup().start();
    let ada = token_of(&register(&platform, "ada@example.com", "Acme"));
    let tenant = tenant_of(&platform, &ada);
    let of = |number: i64, event: &str, kind: &str, tier: &str, status: &str| {
        // Their numbers are the order in which they were said, and those of subscriptions when they began.
        let created: i64 = event.trim_start_matches("evt_").parse().unwrap();
        let metadata = json!({ "tenant_id": tenant, "tier": tier });
        json!({
            "id": event, "object": "event", "type": kind, "created": created,
            "data": { "object": { "id": format!("sub_{number}"), "created": number, "status": status, "metadata": metadata } },
        })
        .to_string()
    };
    let subscription = |event: &str, kind: &str, tier: &str, status: &str| of(1, event, kind, tier, status);
    let tier = || platform.get("/quota", &ada).json()["tier"].as_str().unwrap().to_owned();
    let updated = subscription("evt_1", "customer.subscription.updated", "pro", "active");
    for (secret, ago) in [("whsec_another-secret-of-tests", 0), (SECRET, 400), (SECRET, -400)] {
        assert_eq!(signed(&platform, &updated, secret, ago).code(), "invalid_signature");
    }
    assert_eq!(
        platform.send("POST", "/billing/webhook", &[("Content-Type", "application/json")], &updated).code(),
        "invalid_signature"
    );
    assert_eq!(tier(), "free");
    let status = |answer: &Answer| answer.json()["status"].as_str().unwrap_or_default().to_owned();
    assert_eq!(status(&signed(&platform, &updated, SECRET, 0)), "done");
    assert_eq!(tier(), "pro");
    // What its members may do changes with it, on tokens that they have already.
    eventually("the door to hear of it", || platform.get("/demo/pro/x", &ada).status == 200);
    let deleted = subscription("evt_2", "customer.subscription.deleted", "pro", "canceled");
    assert_eq!(status(&signed(&platform, &deleted, SECRET, 0)), "done");
    assert_eq!(status(&signed(&platform, &updated, SECRET, 0)), "duplicate", "it was heard before");
    assert_eq!(tier(), "free");
    let unknown = subscription("evt_3", "customer.subscription.updated", "platinum", "active");
    assert_eq!(signed(&platform, &unknown, SECRET, 0).status, 422);
    let other = subscription("evt_4", "customer.created", "pro", "active");
    assert_eq!(status(&signed(&platform, &other, SECRET, 0)), "ignored");
    assert_eq!(signed(&platform, "{\"id\":\"evt_5\"}", SECRET, 0).status, 422);
    // What is paused is paid for no longer; what was said before that and comes late changes nothing.
    let active = subscription("evt_6", "customer.subscription.resumed", "pro", "active");
    assert_eq!((status(&signed(&platform, &active, SECRET, 0)), tier()), ("done".to_owned(), "pro".to_owned()));
    let paused = subscription("evt_8", "customer.subscription.updated", "pro", "paused");
    assert_eq!((status(&signed(&platform, &paused, SECRET, 0)), tier()), ("done".to_owned(), "free".to_owned()));
    let late = subscription("evt_7", "customer.subscription.updated", "pro", "active");
    assert_eq!(status(&signed(&platform, &late, SECRET, 0)), "ignored");
    // Of two the later one counts, and what becomes of the older one does not.
    let second = of(2, "evt_9", "customer.subscription.created", "pro", "active");
    assert_eq!((status(&signed(&platform, &second, SECRET, 0)), tier()), ("done".to_owned(), "pro".to_owned()));
    let first = subscription("evt_10", "customer.subscription.deleted", "pro", "canceled");
    assert_eq!((status(&signed(&platform, &first, SECRET, 0)), tier()), ("ignored".to_owned(), "pro".to_owned()));
    let second = of(2, "evt_11", "customer.subscription.deleted", "pro", "canceled");
    assert_eq!((status(&signed(&platform, &second, SECRET, 0)), tier()), ("done".to_owned(), "free".to_owned()));
    for path in ["id", "created"] {
        let mut nameless: Value = serde_json::from_str(&second).unwrap();
        nameless["id"] = json!("evt_12");
        nameless["data"]["object"][path] = Value::Null;
        assert_eq!(signed(&platform, &nameless.to_string(), SECRET, 0).status, 422, "{path}");
    }
    // Else whatever is said of it afterwards would be late.
    for path in ["/created", "/data/object/created"] {
        let mut future: Value = serde_json::from_str(&second).unwrap();
        future["id"] = json!("evt_12");
        *future.pointer_mut(path).unwrap() = json!(1_000_000_000_000_000_000_i64);
        assert_eq!(signed(&platform, &future.to_string(), SECRET, 0).status, 422, "{path}");
    }
    let trail = platform.get("/admin/audit?event=hear_payment", &platform.admin()).json();
    let events = trail["items"].as_array().unwrap();
    let heard = events.iter().find(|event| event["details"]["event"] == "evt_6").unwrap();
    assert_eq!((&heard["subject"], &heard["details"]["tier"]), (&json!(tenant), &json!("pro")));
    assert_eq!(signed(&platform, "[]", SECRET, 0).status, 422);
    assert_eq!(signed(&platform, "nonsense", SECRET, 0).code(), "malformed_json");
    assert_eq!(tier(), "free");
    // Without a secret nobody is heard.
    let shipped = Platform::start();
    assert_eq!(signed(&shipped, &updated, SECRET, 0).status, 404);
    assert!(!fs::read_to_string(platform.folder.path().join("gateway.log")).unwrap().contains(SECRET));
}
