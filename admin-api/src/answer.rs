//! How every answer leaves: refusals as `application/problem+json` (RFC 9457) with the request's id, panics as a 500 that
//! tells nothing, and nothing kept by caches unless its handler says so.
//!
//! What is refused and in which words is [`crate::error`]'s.

use std::{any::Any, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{DefaultBodyLimit, Request},
    http::{HeaderValue, header},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
};
use policies::problem::{MEDIA_TYPE, Problem};
use serde::Serialize;
use tower::ServiceExt as _;
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    body::MAX_BODY,
    error::ApiError,
    second_factor::{Challenge, MfaRequired},
};

/// Set by the door on every request; ends up in its access log, ours and the caller's hands.
pub(crate) const REQUEST_ID: &str = "x-request-id";

/// Puts the limits and the last word around a router.
pub(crate) fn around(router: Router) -> Router {
    let plain = router.clone().method_not_allowed_fallback(|| async { ApiError::MethodNotAllowed });
    router
        .fallback(move |request| without_slash(request, plain))
        .method_not_allowed_fallback(|| async { ApiError::MethodNotAllowed })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(finish))
}

/// At the door a trailing slash means nothing, so here neither; only `/docs/` is a path of its own.
async fn without_slash(mut request: Request, router: Router) -> Result<Response, ApiError> {
    let uri = request.uri();
    let path = uri.path().strip_suffix('/').filter(|path| !path.is_empty()).ok_or(ApiError::NoSuchPath)?;
    let target = uri.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    *request.uri_mut() = target.parse().map_err(|_| ApiError::NoSuchPath)?;
    let found = router.fallback(|| async { ApiError::NoSuchPath }).oneshot(request).await;
    Ok(found.unwrap_or_else(|never| match never {}))
}

/// The panic's own words go to the log by the panic hook; they are not for the caller.
fn panicked(_: Box<dyn Any + Send>) -> Response {
    ApiError::Internal("a handler panicked".to_owned()).into_response()
}

async fn finish(request: Request, next: Next) -> Response {
    let request_id = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut response = next.run(request).await;
    if let Some(error) = response.extensions_mut().remove::<Arc<ApiError>>() {
        log(&error, request_id.as_deref());
        render(&error, request_id, &mut response);
    }
    let headers = response.headers_mut();
    // RFC 6749 §5.1 asks it of tokens; accounts are nobody else's business either.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Refusals are the caller's affair and in the access log; what is ours is told with its cause.
fn log(error: &ApiError, request_id: Option<&str>) {
    match error {
        ApiError::Internal(cause) => tracing::error!(request_id, %cause, "a request failed by a defect of ours"),
        ApiError::StoreAway(cause) => tracing::warn!(request_id, %cause, "the database is away"),
        ApiError::BadAssertion(cause) => {
            tracing::warn!(request_id, %cause, "an assertion was refused; does somebody else reach this service?");
        }
        other => tracing::debug!(request_id, refused = %other.face().code, "refused"),
    }
}

/// A problem with the members that are its own (RFC 9457 §3.2).
#[derive(Serialize)]
struct Extended<'a> {
    #[serde(flatten)]
    problem: Problem,
    #[serde(flatten)]
    members: Option<MfaRequired<'a>>,
}

/// Writes the body; headers that the router set (`Allow`) stay.
fn render(error: &ApiError, request_id: Option<String>, response: &mut Response) {
    let face = error.face();
    let mut problem =
        Problem::new(face.status.as_u16(), face.code, face.title, error.detail()).with_errors(error.fields());
    problem.request_id = request_id;
    let extended = Extended { problem, members: error.challenge().map(Challenge::members) };
    let body = serde_json::to_vec(&extended).expect("a problem is strings and numbers");
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, body.len().into());
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    if let Some(challenge) = error.www_authenticate().and_then(|text| HeaderValue::try_from(&*text).ok()) {
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    if let Some(seconds) = error.retry_after() {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    *response.body_mut() = Body::from(body);
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use axum::routing::get;
    use insta::assert_snapshot;

    use super::*;

    async fn answer(method: &str, path: &str) -> String {
        let router = around(
            Router::new()
                .route("/panics", get(async || -> &'static str { panic!("the secret is hunter2") }))
                .route("/defect", get(async || ApiError::Internal("the secret is hunter2".to_owned())))
                .route("/busy", get(async || ApiError::Busy))
                .route("/fine", get(async || "fine")),
        );
        let request =
            Request::builder().method(method).uri(path).header(REQUEST_ID, "r-1").body(Body::empty()).unwrap();
        let answer = router.oneshot(request).await.unwrap();
        let headers = answer.headers().iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
        let text = [answer.status().to_string()].into_iter().chain(headers).collect::<Vec<_>>().join("\n") + "\n";
        let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        text + std::str::from_utf8(&body).unwrap()
    }

    #[tokio::test]
    async fn a_panic_and_a_defect_tell_the_caller_nothing() {
        assert_snapshot!(answer("GET", "/panics").await, @r#"
        500 Internal Server Error
        content-length: 194
        content-type: application/problem+json
        cache-control: no-store
        x-content-type-options: nosniff
        {"type":"urn:portcullis:problem:internal","title":"Internal error","status":500,"code":"internal","detail":"Something went wrong here; the request id helps to find out what.","request_id":"r-1"}
        "#);
        assert_eq!(answer("GET", "/panics").await, answer("GET", "/defect").await);
    }

    #[tokio::test]
    async fn whoever_comes_too_early_is_told_when_to_come_again() {
        assert_snapshot!(answer("GET", "/busy").await, @r#"
        503 Service Unavailable
        content-length: 167
        content-type: application/problem+json
        retry-after: 2
        cache-control: no-store
        x-content-type-options: nosniff
        {"type":"urn:portcullis:problem:busy","title":"Busy","status":503,"code":"busy","detail":"Too many passwords are being checked; try again shortly.","request_id":"r-1"}
        "#);
    }

    #[tokio::test]
    async fn an_unknown_path_and_a_wrong_method_are_problems_too() {
        assert_snapshot!(answer("GET", "/nothing").await, @r#"
        404 Not Found
        content-length: 154
        content-type: application/problem+json
        cache-control: no-store
        x-content-type-options: nosniff
        {"type":"urn:portcullis:problem:no_route","title":"Not found","status":404,"code":"no_route","detail":"There is nothing at this path.","request_id":"r-1"}
        "#);
        assert_snapshot!(answer("DELETE", "/fine").await, @r#"
        405 Method Not Allowed
        content-length: 219
        content-type: application/problem+json
        cache-control: no-store
        x-content-type-options: nosniff
        allow: GET,HEAD
        {"type":"urn:portcullis:problem:method_not_allowed","title":"Method not allowed","status":405,"code":"method_not_allowed","detail":"This path does not take this method; `Allow` names those it takes.","request_id":"r-1"}
        "#);
    }

    #[tokio::test]
    async fn what_is_answered_well_is_kept_by_nobody_either() {
        assert_snapshot!(answer("GET", "/fine").await, @"
        200 OK
        content-type: text/plain; charset=utf-8
        cache-control: no-store
        x-content-type-options: nosniff
        content-length: 4
        fine
        ");
    }
}
