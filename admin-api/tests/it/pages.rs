//! What machines and readers fetch: keys, health, the API's document and the page that shows it.

use serde_json::{Value, json};

use crate::house::{House, Shown};

#[tokio::test]
async fn the_public_keys_are_those_of_access_tokens_and_assertions() {
    let house = House::open().await;
    let answer = house.get("/.well-known/jwks.json", Shown::Nothing).await;
    assert_eq!(answer.headers["cache-control"], "public, max-age=300");
    let keys = answer.body["keys"].as_array().unwrap();
    let kids: Vec<_> = keys.iter().map(|key| key["kid"].as_str().unwrap()).collect();
    let keyring = house.keys.load();
    assert!(
        kids.contains(&keyring.access.current.kid()) && kids.contains(&keyring.assertion.current.kid()),
        "{kids:?}"
    );
    assert!(keys.iter().all(|key| key.get("d").is_none() && key.get("k").is_none()), "{keys:?}");
}

#[tokio::test]
async fn a_trailing_slash_means_nothing() {
    let house = House::open().await;
    let person = house.register("ada@example.com").await;
    assert_eq!(house.get("/health/", Shown::Nothing).await.status, 200);
    assert_eq!(house.get("/auth/me/", person.shown()).await.body, house.get("/auth/me", person.shown()).await.body);
    let key = house.post("/auth/api-keys/", person.shown(), json!({ "name": "ci" })).await;
    assert_eq!(key.status, 201, "{}", key.body);
    let path = format!("/auth/api-keys/{}/", key.body["id"].as_str().unwrap());
    assert_eq!(house.call("DELETE", &path, person.shown(), Value::Null).await.status, 204);
    assert_eq!(house.call("PUT", "/auth/me/", person.shown(), Value::Null).await.refusal(), "405 method_not_allowed");
    for nothing in ["/", "/auth/", "/auth/me//", "/nothing/"] {
        assert_eq!(house.get(nothing, person.shown()).await.refusal(), "404 no_route", "{nothing}");
    }
    assert_eq!(house.get("/docs/", Shown::Nothing).await.status, 200);
    assert_eq!(house.get("/docs", Shown::Nothing).await.status, 308, "relative links need the slash");
}

#[tokio::test]
async fn health_tells_what_does_not_work() {
    let house = House::open().await;
    assert_eq!(house.get("/health", Shown::Nothing).await.body, json!({ "status": "ok", "reasons": [] }));
    house.degrade("store_unavailable");
    assert_eq!(
        house.get("/health", Shown::Nothing).await.body,
        json!({ "status": "degraded", "reasons": ["store_unavailable"] })
    );
}

#[tokio::test]
async fn every_reference_in_the_document_leads_somewhere() {
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(members) => members.iter().for_each(|(name, value)| match value {
                Value::String(target) if name == "$ref" => found.push(target.clone()),
                _ => references(value, found),
            }),
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let house = House::open().await;
    let document = house.get("/openapi.json", Shown::Nothing).await.body;
    assert_eq!(document, serde_json::to_value(admin_api::document()).unwrap());
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 20, "{found:?}");
    for target in found {
        assert!(document.pointer(target.strip_prefix('#').unwrap()).is_some(), "{target}");
    }
    for schema in document["components"]["schemas"].as_object().unwrap().keys() {
        assert!(document.to_string().contains(&format!("#/components/schemas/{schema}")), "{schema} is used by nobody");
    }
}

#[tokio::test]
async fn every_refusal_in_the_document_is_a_problem_and_every_operation_says_what_it_does() {
    let house = House::open().await;
    let document = house.get("/openapi.json", Shown::Nothing).await.body;
    let operations =
        document["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap().values());
    for operation in operations {
        assert!(operation["summary"].as_str().is_some_and(|summary| summary.len() > 5), "{operation}");
        for (status, response) in operation["responses"].as_object().unwrap() {
            assert!(!response["description"].as_str().unwrap().is_empty());
            if status.starts_with(['4', '5']) {
                let schema = &response["content"]["application/problem+json"]["schema"]["$ref"];
                assert_eq!(schema, "#/components/schemas/Problem", "{operation}");
            }
        }
    }
}

#[tokio::test]
async fn the_page_loads_nothing_from_elsewhere() {
    let house = House::open().await;
    let answer = house.get("/docs", Shown::Nothing).await;
    assert_eq!((answer.status.as_u16(), &answer.headers["location"]), (308, &"docs/".parse().unwrap()));
    let page = house.get("/docs/", Shown::Nothing).await;
    assert_eq!(page.headers["content-type"], "text/html");
    assert!(page.headers["content-security-policy"].to_str().unwrap().starts_with("default-src 'self';"));
    let text = page.body.as_str().unwrap();
    assert!(!text.contains("http://") && !text.contains("https://") && !text.contains("src=\"//"), "{text}");
    let files: Vec<_> = text.split(['"', '\'']).filter_map(|part| part.strip_prefix("./")).collect();
    assert!(files.len() >= 4, "{files:?}");
    for file in files {
        assert_eq!(house.get(&format!("/docs/{file}"), Shown::Nothing).await.status, 200, "{file}");
    }
    let start = house.get("/docs/swagger-initializer.js", Shown::Nothing).await;
    let start = start.body.as_str().unwrap();
    assert!(start.contains(r#""url": "../openapi.json""#) && start.contains(r#""validatorUrl": "none""#), "{start}");
    assert_eq!(house.get("/docs/nothing.js", Shown::Nothing).await.refusal(), "404 no_route");
}
