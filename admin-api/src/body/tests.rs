//! What becomes of bodies, good and bad, without a handler behind them.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use axum::{
    Json, Router,
    body::Body as Bytes,
    http::{Request, StatusCode, header},
    routing::post,
};
use chrono::{DateTime, Utc};
use insta::assert_snapshot;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    name: String,
    pieces: Option<i64>,
    #[serde(default)]
    labels: Vec<String>,
    place: Option<Place>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    town: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parcel {
    order: Option<uuid::Uuid>,
    pieces: Option<i64>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    grace: Option<i64>,
}

fn counter() -> Router {
    let order = |Body(order): Body<Order>| async { Json(order) };
    let wish = |BodyOrNothing(wish): BodyOrNothing<Wish>| async { Json(wish) };
    let parcel = |Exact(parcel): Exact<Parcel>| async { Json(parcel) };
    let router = Router::new().route("/order", post(order)).route("/wish", post(wish)).route("/parcel", post(parcel));
    crate::answer::around(router)
}

async fn send(path: &str, content_type: Option<&str>, body: impl Into<Bytes>) -> String {
    let mut request = Request::post(path);
    if let Some(content_type) = content_type {
        request = request.header(header::CONTENT_TYPE, content_type);
    }
    let answer = counter().oneshot(request.body(body.into()).unwrap()).await.unwrap();
    let status = answer.status();
    let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    let body = String::from_utf8(body.to_vec()).unwrap();
    if status == StatusCode::OK {
        return body;
    }
    let problem: Value = serde_json::from_str(&body).unwrap();
    let words = [format!("{} {}", status.as_u16(), problem["code"].as_str().unwrap())].into_iter();
    let fields = problem["errors"].as_array().into_iter().flatten();
    let fields = fields.map(|error| format!("{} {}", error["field"], error["message"].as_str().unwrap()));
    words.chain(fields).collect::<Vec<_>>().join("; ")
}

async fn order(body: &str) -> String {
    send("/order", Some("application/json"), body.to_owned()).await
}

#[tokio::test]
async fn a_good_body_is_read() {
    assert_snapshot!(order(r#"{"name":"bolt","pieces":3,"labels":["m8"],"place":{"town":"Ulm"}}"#).await, @r#"{"name":"bolt","pieces":3,"labels":["m8"],"place":{"town":"Ulm"}}"#);
}

#[tokio::test]
async fn each_field_that_is_wrong_is_named_and_what_was_sent_is_not_repeated() {
    assert_snapshot!(order(r"{}").await, @r#"422 invalid_fields; "name" is required"#);
    assert_snapshot!(order(r#"{"name":null}"#).await, @r#"422 invalid_fields; "name" must be a string"#);
    assert_snapshot!(order(r#"{"name":"x","colour":"secret"}"#).await, @r#"422 invalid_fields; "colour" is not a field here; expected one of name, pieces, labels, place"#);
    assert_snapshot!(order(r#"{"name":["secret"]}"#).await, @r#"422 invalid_fields; "name" must be a string"#);
    assert_snapshot!(order(r#"{"name":"x","pieces":"secret, expected b"}"#).await, @r#"422 invalid_fields; "pieces" must be a whole number"#);
    assert_snapshot!(order(r#"{"name":"x","pieces":1.5}"#).await, @r#"422 invalid_fields; "pieces" must be a whole number"#);
    assert_snapshot!(order(r#"{"name":"x","labels":["a",7]}"#).await, @r#"422 invalid_fields; "labels[1]" must be a string"#);
    assert_snapshot!(order(r#"{"name":"x","place":{}}"#).await, @r#"422 invalid_fields; "place.town" is required"#);
    assert_snapshot!(order(r#"{"name":"x","place":{"town":"a","country":"b"}}"#).await, @r#"422 invalid_fields; "place.country" is not a field here; expected town"#);
    assert_snapshot!(order(r#"["x"]"#).await, @r#"422 invalid_fields; "" must be an object"#);
}

#[test]
fn what_is_no_time_is_told_what_a_time_is() {
    for sent in [
        json!("2026-01-31T12:00:00"),
        json!("2026-01-31"),
        json!(""),
        json!("yesterday"),
        json!("2026-13-31T12:00:00Z"),
        json!("2026-02-30T12:00:00Z"),
        json!("2026-01-31T12:00:00Zulu"),
        json!(1_769_860_800),
    ] {
        let read: Result<DateTime<Utc>, _> = shape(sent.clone());
        let Err(ApiError::Fields(faults)) = read else { panic!("{sent}") };
        assert_eq!(faults[0].message, "must be a time of RFC 3339 with a zone, such as 2026-01-31T12:00:00Z", "{sent}");
    }
}

#[tokio::test]
async fn what_is_not_json_is_refused() {
    assert_snapshot!(order("name=bolt").await, @"400 malformed_json");
    assert_snapshot!(order("").await, @"400 malformed_json");
    assert_snapshot!(order(r#"{"name":"a","name":"b"}"#).await, @r#"400 malformed_json; "name" is given twice"#);
    assert_snapshot!(order(&"[".repeat(40_000)).await, @"400 malformed_json");
}

#[tokio::test]
async fn what_is_too_large_is_refused() {
    let filler = "x".repeat(MAX_BODY - r#"{"name":""}"#.len());
    assert!(order(&format!(r#"{{"name":"{filler}"}}"#)).await.starts_with(r#"{"name":"xxx"#));
    assert_snapshot!(order(&format!(r#"{{"name":"{filler}x"}}"#)).await, @"413 body_too_large");
}

#[tokio::test]
async fn only_json_is_taken_for_json() {
    for good in ["application/json", "Application/JSON; charset=UTF-8", "application/json;charset=\"utf-8\"; v=1"] {
        assert!(send("/order", Some(good), r#"{"name":"x"}"#).await.starts_with('{'), "{good}");
    }
    let bad = [
        Some(""),
        Some("text/plain"),
        Some("application/jsonx"),
        Some("application/json; charset=utf-16"),
        Some("application/x-www-form-urlencoded"),
    ];
    for bad in bad {
        assert!(send("/order", bad, r#"{"name":"x"}"#).await.starts_with("415 unsupported_media_type"), "{bad:?}");
    }
}

/// A page can send a body without a type to whom it likes, and its browser asks nobody before.
#[tokio::test]
async fn a_body_of_no_type_is_json_only_where_no_browser_can_have_sent_it() {
    let sent = async |name: Option<&'static str>| {
        let request = Request::post("/order");
        let request = name.into_iter().fold(request, |request, name| request.header(name, "x"));
        counter().oneshot(request.body(Bytes::from(r#"{"name":"x"}"#)).unwrap()).await.unwrap().status()
    };
    assert_eq!(sent(None).await, StatusCode::OK);
    for name in ["cookie", "origin", "referer", "sec-fetch-site", "sec-fetch-mode"] {
        assert_eq!(sent(Some(name)).await, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{name}");
    }
}

#[tokio::test]
async fn where_a_body_may_be_left_out_nothing_means_the_defaults() {
    assert_snapshot!(send("/wish", None, "").await, @r#"{"grace":null}"#);
    assert_snapshot!(send("/wish", Some("application/json"), "").await, @r#"{"grace":null}"#);
    assert_snapshot!(send("/wish", Some("application/json"), r#"{"grace":5}"#).await, @r#"{"grace":5}"#);
    assert_snapshot!(send("/wish", Some("text/plain"), r#"{"grace":5}"#).await, @"415 unsupported_media_type");
    assert_snapshot!(send("/wish", None, r#"{"grace":5}"#).await, @r#"{"grace":5}"#);
    assert_snapshot!(send("/wish", Some("application/json"), r#"{"grace":"5"}"#).await, @r#"422 invalid_fields; "grace" must be a whole number"#);
}

#[tokio::test]
async fn what_is_wrong_is_said_in_our_words_without_places_or_what_was_sent() {
    let parcel = async |body: &str| send("/parcel", Some("application/json"), body.to_owned()).await;
    assert_snapshot!(parcel(r#"{"order": "7"}"#).await, @r#"422 invalid_fields; "order" must be an id"#);
    assert_snapshot!(parcel(r#"{"pieces": "7 at line 1 column 2"}"#).await, @r#"422 invalid_fields; "pieces" must be a whole number"#);
    assert_snapshot!(parcel(r#"{"at line 1 column 2": 1}"#).await, @r#"422 invalid_fields; "at line 1 column 2" is not a field here; expected order or pieces"#);
}
