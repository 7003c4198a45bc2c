//! Bills as those see them whom they concern, and what is heard of payments.

use aws_lc_rs::hmac;
use axum::{body::Body, http::Request};
use identity::TenantId;
use serde_json::{Value, json};
use store::Charge;
use uuid::Uuid;

use crate::house::{House, Person, SECRET_OF_PAYMENTS, Shown};

async fn bill(house: &House, tenant: Uuid) -> String {
    let charge = Charge {
        tenant: TenantId::new(tenant),
        name: Some("Acme".to_owned()),
        month: "2026-01".to_owned(),
        tier: "pro".to_owned(),
        currency: "USD".to_owned(),
        price: 99_000_000,
        due_at: house.now(),
        now: house.now(),
    };
    house.store.bill(&charge, |_| None).await.unwrap().unwrap().id.to_string()
}

/// The ids of the statements that somebody is shown, or why they are shown none.
async fn listed(house: &House, person: &Person, query: &str) -> Vec<String> {
    let answer = house.get(&format!("/billing/statements{query}"), person.shown()).await;
    let Some(items) = answer.body["items"].as_array() else { return vec![answer.refusal()] };
    items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn what_a_deleted_organisation_owes_is_still_owed_and_seen_by_the_platform_s_administrators() {
    let house = House::open().await;
    let root = house.administrator("root@example.com").await;
    let (ada, eve) = (house.register("ada@example.com").await, house.register("eve@example.com").await);
    let tenant = house.tenant_of(&ada).await;
    let statement = bill(&house, tenant.parse().unwrap()).await;
    assert_eq!(listed(&house, &ada, "").await, [&*statement]);
    assert_eq!(house.call("DELETE", &format!("/tenants/{tenant}"), ada.shown(), Value::Null).await.status, 204);
    let path = format!("/billing/statements/{statement}");
    let seen = house.get(&path, root.shown()).await;
    assert_eq!(
        [seen.text("tenant_name"), seen.text("total"), seen.text("payment_status")],
        ["Acme", "99.00", "open"],
        "{}",
        seen.body
    );
    assert_eq!(listed(&house, &root, "?tenant_id=all").await, [&*statement]);
    assert_eq!(listed(&house, &root, &format!("?tenant_id={tenant}")).await, [&*statement]);
    for person in [&house.login("ada@example.com").await, &eve] {
        assert_eq!(listed(&house, person, "?tenant_id=all").await, ["403 forbidden"]);
        assert_eq!(listed(&house, person, &format!("?tenant_id={tenant}")).await, ["404 not_found"]);
        assert_eq!(house.get(&path, person.shown()).await.refusal(), "404 not_found");
    }
    assert_eq!(
        listed(&house, &root, "?tenant_id=everybody").await,
        ["400 invalid_query\n  tenant_id: must be an id, or `all`"]
    );
}

#[tokio::test]
async fn who_acts_in_no_organisation_sees_what_they_owe_themselves() {
    let house = House::open().await;
    let ada = house.register("ada@example.com").await;
    let tenant = house.tenant_of(&ada).await;
    house.call("DELETE", &format!("/tenants/{tenant}"), ada.shown(), Value::Null).await;
    let ada = house.login("ada@example.com").await;
    assert_eq!(listed(&house, &ada, "").await, [""; 0]);
    let statement = bill(&house, ada.id.uuid()).await;
    let other = bill(&house, Uuid::from_u128(7)).await;
    assert_eq!(listed(&house, &ada, "").await, [&*statement]);
    let read = async |id: &str| house.get(&format!("/billing/statements/{id}"), ada.shown()).await;
    assert_eq!(read(&statement).await.status, 200);
    assert_eq!(read(&other).await.refusal(), "404 not_found");
    // Whoever founds an organisation owes it still; a key of that one's has nothing to do with it.
    assert_eq!(house.post("/tenants", ada.shown(), json!({ "name": "Another" })).await.status, 201);
    let own = format!("?tenant_id={}", ada.id);
    assert_eq!(listed(&house, &ada, "").await, [""; 0]);
    assert_eq!(listed(&house, &ada, &own).await, [&*statement]);
    assert_eq!(read(&statement).await.status, 200);
    assert_eq!(read(&other).await.refusal(), "404 not_found");
    let key = house.make_key(&ada, json!({ "name": "books" })).await;
    let by_key = Shown::Credential(key["key"].as_str().unwrap());
    assert_eq!(house.get(&format!("/billing/statements{own}"), by_key).await.refusal(), "404 not_found");
}

/// A scope says what kind of thing a key is for; how far it reaches is its owner's role to say.
#[tokio::test]
async fn a_key_sees_what_its_scope_names_as_far_as_its_owner_does() {
    let house = House::open().await;
    let ada = house.register("ada@example.com").await;
    let statement = bill(&house, house.tenant_of(&ada).await.parse().unwrap()).await;
    let key = house.make_key(&ada, json!({ "name": "books", "scopes": ["billing:read"] })).await;
    let by_key = Shown::Credential(key["key"].as_str().unwrap());
    assert_eq!(house.get("/billing/statements", by_key).await.body["items"][0]["id"], json!(statement));
    assert_eq!(house.get("/usage", by_key).await.refusal(), "403 forbidden");
}

#[tokio::test]
async fn where_no_secret_is_configured_anybody_s_word_of_payments_is_no_event() {
    let house = House::open_with(|settings| settings.payment_secret = None).await;
    let root = house.administrator("root@example.com").await;
    let heard = house.post("/billing/webhook", Shown::Nothing, json!({ "id": "evt_1" })).await;
    assert_eq!(heard.refusal(), "404 no_route");
    let trail = house.get("/admin/audit?event=hear_payment", root.shown()).await;
    assert_eq!(trail.body["items"], json!([]));
}

/// An event of an invoice over all of a statement, signed as Stripe signs; what became of it.
async fn invoice(house: &House, event: &str, kind: &str, metadata: Value) -> String {
    invoice_of(house, event, kind, json!({ "amount_paid": 9_900, "currency": "usd", "metadata": metadata })).await
}

async fn invoice_of(house: &House, event: &str, kind: &str, mut object: Value) -> String {
    for (name, value) in [("id", "in_1"), ("object", "invoice"), ("status", "paid")] {
        object[name] = json!(value);
    }
    let body = json!({
        "id": event, "object": "event", "type": kind, "created": house.now().timestamp(), "data": { "object": object },
    });
    let (body, at) = (body.to_string(), house.now().timestamp());
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET_OF_PAYMENTS.as_bytes());
    let tag = hmac::sign(&key, format!("{at}.{body}").as_bytes());
    let hex = tag.as_ref().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    let request = Request::post("/billing/webhook").header("Content-Type", "application/json");
    let request = request.header("Stripe-Signature", format!("t={at},v1={hex}")).body(Body::from(body));
    let heard = house.send(request.unwrap()).await;
    assert_eq!(heard.status, 200, "{}", heard.body);
    heard.text("status").to_owned()
}

#[tokio::test]
async fn an_invoice_that_is_paid_pays_the_statement_that_it_names_and_no_other() {
    for kind in ["invoice.paid", "invoice.payment_succeeded"] {
        let house = House::open().await;
        let root = house.administrator("root@example.com").await;
        let (ada, eve) = (house.register("ada@example.com").await, house.register("eve@example.com").await);
        let (hers, others) = (
            bill(&house, house.tenant_of(&ada).await.parse().unwrap()).await,
            bill(&house, house.tenant_of(&eve).await.parse().unwrap()).await,
        );
        let status = async |id: &str| {
            let seen = house.get(&format!("/billing/statements/{id}"), root.shown()).await;
            seen.text("payment_status").to_owned()
        };
        let both = async || [status(&hers).await, status(&others).await];
        let names = |statement: &str| json!({ "statement_id": statement });
        // What says nothing of a payment, or names no statement of ours, pays nothing.
        for (event, kind, metadata) in [
            ("evt_1", "invoice.payment_failed", names(&hers)),
            ("evt_2", "invoice.created", names(&hers)),
            ("evt_3", kind, json!({})),
            ("evt_4", kind, names("all")),
            ("evt_5", kind, names(&Uuid::from_u128(7).to_string())),
        ] {
            assert_eq!(invoice(&house, event, kind, metadata).await, "ignored", "{event} {kind}");
        }
        assert_eq!(both().await, ["open", "open"], "{kind}");
        assert_eq!(invoice(&house, "evt_6", kind, names(&hers)).await, "done", "{kind}");
        assert_eq!(both().await, ["paid", "open"], "{kind}");
        assert_eq!(invoice(&house, "evt_6", kind, names(&others)).await, "duplicate", "{kind}: it was heard before");
        assert_eq!(both().await, ["paid", "open"], "{kind}");
        let trail = house.get("/admin/audit?event=hear_payment&limit=200", root.shown()).await.body;
        let heard = trail["items"].as_array().unwrap().iter().find(|one| one["details"]["event"] == "evt_6").unwrap();
        assert_eq!((&heard["subject"], &heard["details"]["type"]), (&json!(others), &json!(kind)), "the later of two");
    }
}

#[tokio::test]
async fn an_invoice_that_does_not_pay_all_of_a_statement_leaves_it_open_and_says_what_was_paid() {
    let house = House::open().await;
    let root = house.administrator("root@example.com").await;
    let ada = house.register("ada@example.com").await;
    let statement = bill(&house, house.tenant_of(&ada).await.parse().unwrap()).await;
    let path = format!("/billing/statements/{statement}");
    let names = json!({ "statement_id": statement });
    for (number, wrong) in [
        json!({ "amount_paid": 9_899, "currency": "usd" }),
        json!({ "amount_paid": 0, "currency": "usd" }),
        json!({ "amount_paid": -9_900, "currency": "usd" }),
        json!({ "amount_paid": 99_000_000_000_i64, "currency": "jpy" }),
        // Of these nobody knows how much it is.
        json!({ "amount_paid": "9900", "currency": "usd" }),
        json!({ "amount_paid": 9_900.0, "currency": "usd" }),
        json!({ "amount_paid": u64::MAX, "currency": "usd" }),
        json!({ "amount_paid": 9_900, "currency": "dollars" }),
        json!({ "amount_paid": 9_900 }),
        json!({ "amount_due": 9_900, "total": 9_900, "currency": "usd" }),
    ]
    .into_iter()
    .enumerate()
    {
        let mut object = wrong.clone();
        object["metadata"] = names.clone();
        assert_eq!(invoice_of(&house, &format!("evt_{number}"), "invoice.paid", object).await, "ignored", "{wrong}");
        assert_eq!(house.get(&path, root.shown()).await.text("payment_status"), "open", "{wrong}");
    }
    let trail = house.get("/admin/audit?event=hear_payment&limit=200", root.shown()).await.body;
    let events = trail["items"].as_array().unwrap();
    let heard = |event: &str| events.iter().find(|one| one["details"]["event"] == event).unwrap();
    assert_eq!(heard("evt_0")["subject"], json!(statement));
    assert_eq!(
        heard("evt_0")["details"],
        json!({ "event": "evt_0", "type": "invoice.paid", "amount": 9_899, "currency": "USD", "short": true })
    );
    // What is no amount in a currency is not taken for one that is too small.
    for number in [2].into_iter().chain(4..10) {
        let event = format!("evt_{number}");
        assert_eq!(heard(&event)["details"], json!({ "event": event, "type": "invoice.paid" }));
    }
    // The whole of it is enough, and what is above it is no harm.
    assert_eq!(invoice(&house, "evt_all", "invoice.paid", names).await, "done");
    assert_eq!(house.get(&path, root.shown()).await.text("payment_status"), "paid");
}

#[tokio::test]
async fn how_many_agents_an_organisation_has_room_for_is_its_own_tier_s_to_say() {
    let house = House::open().await;
    let ada = house.register("ada@example.com").await;
    let developer = store::AccountChange {
        role: Some("developer".to_owned()),
        tier: Some(store::NewTier::Own("pro".to_owned())),
        ..Default::default()
    };
    house.change(&ada, developer).await;
    let tenant: TenantId = house.tenant_of(&ada).await.parse().unwrap();
    let change = |tier: &str| store::TenantChange { tier: Some(Some(tier.to_owned())), ..Default::default() };
    house.store.change_tenant(tenant, change("gone"), house.now()).await.unwrap();
    let make = async |name: &str| house.post("/agents", ada.shown(), json!({ "name": name })).await.refusal_or_status();
    assert_eq!(make("one").await, "409 quota_exceeded", "nobody knows of that tier");
    house.store.change_tenant(tenant, change("free"), house.now()).await.unwrap();
    assert_eq!(make("one").await, "201 Created");
}
