//! What the document promises of every operation: the answers that come of what it takes, whatever it does.

use serde_json::{Value, json};

use crate::{
    house::{House, Shown},
    operations::UNASKED,
};

async fn document() -> Value {
    House::open().await.get("/openapi.json", Shown::Nothing).await.body
}

/// Every operation by its method and path.
fn operations(document: &Value) -> impl Iterator<Item = (String, String, &Value)> {
    document["paths"].as_object().unwrap().iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter();
        methods.map(move |(method, operation)| (method.to_uppercase(), path.clone(), operation))
    })
}

/// Status and code of what each operation of its kind may be refused with.
fn promised(method: &str, path: &str, operation: &Value) -> Vec<(&'static str, &'static str)> {
    let mut all = vec![("400", "malformed"), ("429", "rate_limited"), ("503", "directory_unavailable")];
    let is_known = operation["security"].is_array();
    if is_known {
        all.extend(["missing_credential", "invalid_token", "expired", "revoked"].map(|code| ("401", code)));
        all.extend(["forbidden", "account_disabled", "tenant_disabled"].map(|code| ("403", code)));
        all.extend([("400", "ambiguous_credentials"), ("401", "insufficient_user_authentication")]);
        all.push(("429", "too_many_refusals"));
        all.extend((method != "GET").then_some(("403", "csrf")));
        if method != "GET" && !UNASKED.contains(&&*format!("{method} {path}")) {
            all.extend([("409", "conflict"), ("408", "body_timeout"), ("413", "body_too_large")]);
        }
    }
    let parameters = operation["parameters"].as_array();
    if is_known && parameters.is_some_and(|all| all.iter().any(|one| one["in"] == "query")) {
        all.push(("400", "invalid_query"));
    }
    let body = &operation["requestBody"]["content"];
    if !body.is_null() {
        all.extend([("408", "body_timeout"), ("413", "body_too_large")]);
    }
    if !body["application/json"].is_null() {
        all.extend([("400", "malformed_json"), ("415", "unsupported_media_type"), ("422", "invalid_fields")]);
    }
    all
}

#[tokio::test]
async fn every_operation_promises_what_comes_of_what_it_takes() {
    let document = document().await;
    for (method, path, operation) in operations(&document) {
        for (status, code) in promised(&method, &path, operation) {
            let answer = &operation["responses"][status];
            let words = answer["description"].as_str().unwrap_or_default();
            assert_eq!(words.matches(&format!("`{code}`")).count(), 1, "{method} {path}: {status} {code}: {words}");
            let problem = &answer["content"]["application/problem+json"]["schema"]["$ref"];
            assert_eq!(problem, "#/components/schemas/Problem", "{method} {path}: {status}");
        }
    }
}

#[tokio::test]
async fn whatever_takes_a_proof_says_that_it_may_be_locked_or_busy() {
    let document = document().await;
    let mut told = 0;
    for (method, path, operation) in operations(&document) {
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        let Some(name) = schema["$ref"].as_str().and_then(|name| name.rsplit('/').next()) else { continue };
        let shape = document["components"]["schemas"][name].to_string();
        if !shape.contains(r#""recovery_code""#) && !shape.contains(r#"/schemas/Proof""#) {
            continue;
        }
        for (status, code) in [("429", "login_locked"), ("503", "busy")] {
            let words = operation["responses"][status]["description"].as_str().unwrap_or_default();
            assert_eq!(words.matches(&format!("`{code}`")).count(), 1, "{method} {path}: {status} {code}: {words}");
        }
        told += 1;
    }
    assert!(told > 15, "{told}");
}

#[tokio::test]
async fn what_an_operation_says_itself_stays_before_what_all_say() {
    let document = document().await;
    let words = |method: &str, path: &str, status: &str| {
        document["paths"][path][method]["responses"][status]["description"].as_str().unwrap().to_owned()
    };
    insta::assert_snapshot!(words("post", "/auth/verify-email", "400"), @"`invalid_link`: the token is unknown, used, expired, or for something else; `malformed`: not a request that has one meaning; `malformed_json`: not JSON, nested too deeply, or a member given twice");
    insta::assert_snapshot!(words("delete", "/auth/me", "401"), @"`insufficient_user_authentication`: the session is not fresh, and nothing was shown; `missing_credential`; `unsupported_credential`; `invalid_token`; `expired`; `revoked`");
    insta::assert_snapshot!(words("delete", "/auth/me", "403"), @"`wrong_proof`: the password or code is wrong; `session_required`: an API key cannot do this; `forbidden`: the caller's role, or the scopes of its key, do not reach as far; `account_disabled`; `tenant_disabled`: that in which the caller acts; `csrf`: a cookie came along, and nothing shows that its user meant it; `impersonated`: whoever acts as somebody else changes nothing");
    insta::assert_snapshot!(words("delete", "/auth/me", "409"), @"`conflict`: nobody else administers the platform, or the account was changed at the same moment; `last_owner`: nobody would answer for an organisation of others");
    insta::assert_snapshot!(words("post", "/auth/logout", "403"), @"`forbidden`: the caller's role, or the scopes of its key, do not reach as far; `account_disabled`; `tenant_disabled`: that in which the caller acts; `csrf`: a cookie came along, and nothing shows that its user meant it");
    insta::assert_snapshot!(words("get", "/quota", "400"), @"`malformed`: not a request that has one meaning; `ambiguous_credentials`: more than one was shown; `invalid_query`: `errors` names each parameter that is unknown or wrong");
}

#[tokio::test]
async fn what_is_left_of_a_quota_is_a_number_or_one_word() {
    let schemas = document().await["components"]["schemas"].take();
    assert_eq!(schemas["Quota"]["properties"]["limit"]["$ref"], "#/components/schemas/Limit");
    assert_eq!(
        schemas["Limit"]["oneOf"],
        json!([{ "type": "integer", "format": "int64", "minimum": 0 }, { "type": "string", "enum": ["unlimited"] }])
    );
}

#[tokio::test]
async fn names_and_descriptions_say_how_long_they_may_be() {
    let document = document().await;
    let most = |property: &str| match property {
        "name" | "full_name" | "tenant_name" | "external_ref" | "reason" => Some(100),
        "description" => Some(2000),
        _ => None,
    };
    let mut told = 0;
    for (method, path, operation) in operations(&document) {
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        let Some(name) = schema["$ref"].as_str().and_then(|name| name.rsplit('/').next()) else { continue };
        let properties = document["components"]["schemas"][name]["properties"].as_object().into_iter().flatten();
        for (property, schema) in properties {
            if let Some(most) = most(property) {
                assert_eq!(schema["maxLength"], most, "{method} {path}: {property} of {name}");
                told += 1;
            }
        }
    }
    assert!(told > 20, "{told}");
}
