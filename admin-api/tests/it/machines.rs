//! Machines of one organisation and of the platform: what each may say and take, and who rules over them.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use identity::TenantId;
use serde_json::{Value, json};

use crate::{
    browsers::send,
    house::{Answer, House, Shown},
};

fn fields(answer: &Answer) -> Vec<String> {
    let named = answer.body["errors"].as_array().into_iter().flatten();
    named.map(|one| one["field"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_machine_may_name_itself_twice_and_leave_empty_what_it_shows_elsewhere() {
    let house = House::open().await;
    let (machine, key) = house.service(None).await;
    let (other, _) = house.service(None).await;
    let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("{machine}:{key}")));
    let buy = async |fields: &[(&str, &str)], more: &str| {
        let form = format!("grant_type=client_credentials{more}");
        let answer = send(&house, "POST", "/auth/token", fields, &form).await;
        let word = answer.body["error"].as_str().unwrap_or("bought").to_owned();
        (answer.status.as_u16(), word)
    };
    let header = [("Authorization", &*basic)];
    for more in
        ["", &format!("&client_id={machine}"), "&client_secret=", &format!("&client_id={machine}&client_secret=")]
    {
        assert_eq!(buy(&header, more).await, (200, "bought".to_owned()), "{more}");
    }
    for more in [&format!("&client_id={other}"), &format!("&client_id={machine}&client_secret={key}")] {
        assert_eq!(buy(&header, more).await, (400, "invalid_request".to_owned()), "{more}");
    }
    assert_eq!(buy(&[], &format!("&client_id={machine}&client_secret={key}")).await, (200, "bought".to_owned()));
    for more in ["", &format!("&client_id={machine}&client_secret=")] {
        assert_eq!(buy(&[], more).await, (401, "invalid_client".to_owned()), "{more}");
    }
}

#[tokio::test]
async fn who_sends_no_form_is_told_so_in_the_words_of_the_rfc_and_on_pages_in_ours() {
    let house = House::open().await;
    let asked = house.post("/auth/token", Shown::Nothing, json!({ "grant_type": "client_credentials" })).await;
    assert_eq!((asked.status.as_u16(), asked.text("error")), (400, "invalid_request"));
    assert!(asked.text("error_description").contains("application/x-www-form-urlencoded"), "{}", asked.body);
    let page = house.post("/account/sign-in", Shown::Header("sec-fetch-site", "same-origin"), json!({})).await;
    let page = page.body.as_str().unwrap();
    assert!(page.contains("application/x-www-form-urlencoded") && !page.contains("application/json"), "{page}");
}

/// It ends within the hour, and the key would not.
#[tokio::test]
async fn a_token_that_a_key_has_bought_makes_and_rotates_no_keys() {
    let house = House::open().await;
    let (machine, key) = house.service(None).await;
    let form = format!("grant_type=client_credentials&client_id={machine}&client_secret={key}");
    let bought = send(&house, "POST", "/auth/token", &[], &form).await;
    let (by_token, by_key) = (Shown::Credential(bought.text("access_token")), Shown::Credential(&key));
    let listed = house.get("/auth/api-keys", by_token).await.body;
    let rotate = format!("/auth/api-keys/{}/rotate", listed["items"][0]["id"].as_str().unwrap());
    for (path, body) in [("/auth/api-keys", json!({ "name": "x" })), (&*rotate, json!({}))] {
        assert_eq!(house.post(path, by_token, body.clone()).await.refusal(), "403 session_required", "{path}");
        assert_eq!(house.post(path, by_key, body).await.status, 201, "{path}");
    }
}

#[tokio::test]
async fn a_machine_of_one_tenant_bills_no_other_one_and_takes_none_of_its_quotas() {
    let house = House::open().await;
    let (ada, eve) = (house.register("ada@example.com").await, house.register("eve@example.com").await);
    let theirs: TenantId = house.tenant_of(&ada).await.parse().unwrap();
    let other: TenantId = house.tenant_of(&eve).await.parse().unwrap();
    let (_, bound) = house.service(Some(theirs)).await;
    let (_, free) = house.service(None).await;
    let report = async |by: &str, named: Value| {
        let mut report = json!({ "service": "claude", "cost": 1 });
        report.as_object_mut().unwrap().extend(named.as_object().unwrap().clone());
        house.post("/usage", Shown::Credential(by), report).await
    };
    let (ada_s, eve_s) = (ada.id.to_string(), eve.id.to_string());
    for (named, field) in [
        (json!({ "account_id": eve_s }), "account_id"),
        (json!({ "account_id": eve_s, "tenant_id": other.to_string() }), "tenant_id"),
        (json!({ "account_id": ada_s, "tenant_id": other.to_string() }), "tenant_id"),
        (json!({ "tenant_id": other.to_string() }), "tenant_id"),
    ] {
        let refused = report(&bound, named.clone()).await;
        assert_eq!((refused.status.as_u16(), fields(&refused)), (422, vec![field.to_owned()]), "{named}");
        assert_eq!(report(&free, named.clone()).await.status == 202, named["account_id"] == *eve_s, "{named}");
    }
    for named in
        [json!({ "account_id": ada_s }), json!({ "account_id": ada_s, "tenant_id": theirs.to_string() }), json!({})]
    {
        assert_eq!(report(&bound, named.clone()).await.status, 202, "{named}");
    }
    let seen = house.get("/usage?group_by=service", eve.shown()).await.body;
    assert_eq!(seen["items"][0]["cost"], "2.00", "what the platform's machine has said: {seen}");
    let reserve = async |by: &str, tenant: TenantId| {
        let wanted = json!({ "resource": "workbenches", "amount": 1, "tenant_id": tenant.to_string() });
        house.post("/quota/reserve", Shown::Credential(by), wanted).await
    };
    assert_eq!(reserve(&bound, other).await.refusal(), "404 not_found");
    assert_eq!(
        (reserve(&bound, theirs).await.status.as_u16(), reserve(&free, other).await.status.as_u16()),
        (201, 201)
    );
}

#[tokio::test]
async fn a_machine_within_a_tenant_is_the_platforms_to_end_and_to_change() {
    let house = House::open().await;
    let (ada, root) = (house.register("ada@example.com").await, house.administrator("root@example.com").await);
    let tenant: TenantId = house.tenant_of(&ada).await.parse().unwrap();
    let (machine, key) = house.service(Some(tenant)).await;
    let path = format!("/tenants/{tenant}/members/{machine}");
    let owner = json!({ "role": "owner" });
    for by in [ada.shown(), Shown::Credential(&key)] {
        for (method, body) in [("PATCH", owner.clone()), ("DELETE", Value::Null)] {
            assert_eq!(house.call(method, &path, by, body).await.refusal(), "403 forbidden", "{method}");
        }
    }
    let listed = house.get(&format!("/tenants/{tenant}/members"), ada.shown()).await.body;
    let is_there = |item: &Value| item["account_id"] == machine.to_string() && item["role"] == "member";
    assert!(listed["items"].as_array().unwrap().iter().any(is_there), "it is seen: {listed}");
    assert_eq!(house.call("PATCH", &path, root.shown(), json!({ "role": "admin" })).await.status, 204);
    assert_eq!(house.call("DELETE", &path, root.shown(), Value::Null).await.status, 204);
}
