//! Every list has pages and refuses what it does not understand: a parameter that is ignored may be a filter that somebody counts on.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::house::{House, Person, Shown};

/// Lists that are whole whatever there is: why.
const WHOLE: [(&str, &str); 1] = [("/quota", "the resources that configuration and services name")];

/// The paths of all lists in the document, and the parameters of their queries.
async fn lists(house: &House) -> Vec<(String, BTreeSet<String>)> {
    let document = house.get("/openapi.json", Shown::Nothing).await.body;
    let is_list = |operation: &Value| {
        let schema = &operation["responses"]["200"]["content"]["application/json"]["schema"];
        let of = |schema: &Value| {
            let place = schema["$ref"].as_str().map(|place| place.trim_start_matches('#').to_owned());
            place.map_or_else(|| schema.clone(), |place| document.pointer(&place).unwrap().clone())
        };
        let schema = of(schema);
        schema["type"] == "array" || schema["properties"]["items"]["type"] == "array"
    };
    let in_query = |operation: &Value| {
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let parameters = parameters.filter(|parameter| parameter["in"] == "query");
        parameters.map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect()
    };
    let paths = document["paths"].as_object().unwrap().iter();
    let lists = paths.filter(|(_, item)| is_list(&item["get"]));
    lists.map(|(path, item)| (path.clone(), in_query(&item["get"]))).collect()
}

#[tokio::test]
async fn every_list_has_pages_and_refuses_parameters_that_it_does_not_know() {
    let house = House::open().await;
    let root = house.administrator("root@example.com").await;
    let tenant = house.tenant_of(&root).await;
    let team = house.post("/teams", root.shown(), json!({ "name": "Team" })).await.text("id").to_owned();
    let domain = house.post("/domains", root.shown(), json!({ "key": "domain" })).await.text("id").to_owned();
    let lists = lists(&house).await;
    assert!(lists.len() > 20, "{lists:?}");
    for (path, parameters) in lists {
        let of = if path.starts_with("/teams") { &team } else { &tenant };
        let at = path.replace("{id}", if path.starts_with("/domains") { &domain } else { of });
        assert_eq!(house.get(&at, root.shown()).await.status, 200, "{at}");
        let unknown = house.get(&format!("{at}?nonsense=1"), root.shown()).await;
        assert!(unknown.refusal().starts_with("400 invalid_query\n  nonsense: "), "{at}: {}", unknown.body);
        if WHOLE.iter().any(|(whole, _)| *whole == path) {
            continue;
        }
        for name in ["cursor", "limit"] {
            assert!(parameters.contains(name), "{path} says nothing of {name}");
            let wrong = house.get(&format!("{at}?{name}=%00"), root.shown()).await;
            assert!(wrong.refusal().starts_with(&format!("400 invalid_query\n  {name}: ")), "{at}: {}", wrong.body);
        }
    }
}

/// The items of a list, page by page; what a page has besides is of the whole.
async fn walked(house: &House, path: &str, by: &Person, limit: usize) -> Vec<Value> {
    let (mut items, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = house.get(&format!("{path}?limit={limit}{cursor}"), by.shown()).await;
        let some = page.body["items"].as_array().unwrap_or_else(|| panic!("{path}: {}", page.body)).clone();
        assert!(some.len() <= limit && (some.len() == limit || page.body["next_cursor"].is_null()), "{}", page.body);
        items.extend(some);
        let Some(next) = page.body["next_cursor"].as_str() else { return items };
        cursor = format!("&cursor={next}");
    }
}

#[tokio::test]
async fn lists_that_were_whole_before_they_had_pages_are_whole_for_who_asks_for_none() {
    const FACTOR: &str = "INSERT INTO factors (id, account_id, kind, name, sealed, counter, created_at, confirmed_at) \
                          SELECT randomblob(16), id, 'totp', 'phone', x'00', 0, created_at, created_at FROM accounts \
                          WHERE email_normalised = 'ada@example.com'";
    let house = House::open().await;
    let (ada, bob) = (house.register("ada@example.com").await, house.register("bob@example.com").await);
    house.confirm(ada.id).await;
    let home = house.tenant_of(&ada).await;
    // While the account has no second factor, which would have to be shown for one.
    let mut key = Value::Null;
    for number in 0..60 {
        key = house.make_key(&ada, json!({ "name": format!("key {number}") })).await;
    }
    for number in 0..5 {
        let asked = json!({ "email": format!("guest{number}@example.com") });
        assert_eq!(house.post(&format!("/tenants/{home}/members"), ada.shown(), asked).await.status, 202);
        let made = house.post("/tenants", bob.shown(), json!({ "name": format!("His {number}") })).await;
        assert_eq!(made.status, 201, "{}", made.body);
        let asks = format!("/tenants/{}/members", made.text("id"));
        assert_eq!(house.post(&asks, bob.shown(), json!({ "email": "ada@example.com" })).await.status, 202);
        house.run(FACTOR).await;
        let subject = format!("ada-{number}");
        let subject = store::ExternalSubject { issuer: "https://acme.test", subject: &subject, claims_at: None };
        house.store.link_external(ada.id, None, subject, None, house.now()).await.unwrap();
    }
    for (path, by, many) in [
        ("/auth/api-keys", &ada, 60),
        ("/auth/mfa", &ada, 5),
        ("/auth/identities", &ada, 5),
        ("/auth/invitations", &ada, 5),
        (&format!("/tenants/{home}/invitations"), &ada, 5),
        ("/tenants", &bob, 6),
    ] {
        let whole = house.get(path, by.shown()).await.body;
        let items = whole["items"].as_array().unwrap();
        assert_eq!((items.len(), &whole["next_cursor"]), (many, &Value::Null), "{path}");
        for limit in [1, 2, many - 1, many] {
            assert_eq!(&walked(&house, path, by, limit).await, items, "{path}, {limit} at once");
        }
    }
    // A key sees the organisation for which it was made, whatever page it asks for.
    let seen = house.get("/tenants?limit=1", Shown::Credential(key["key"].as_str().unwrap())).await.body;
    assert_eq!((&seen["items"][0]["id"], &seen["next_cursor"]), (&json!(home), &Value::Null));
    let (_, nowhere) = house.loner().await;
    let seen = house.get("/tenants", Shown::Credential(&nowhere)).await.body;
    assert_eq!(seen, json!({ "items": [], "next_cursor": null }));
}
