//! `/account/passkeys.js`: the one script, which asks for passkeys and does nothing else.

use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};

const SCRIPT: &str = include_str!("../../templates/pages/passkeys.js");
const JAVASCRIPT: HeaderValue = HeaderValue::from_static("text/javascript; charset=utf-8");
const SHORT: HeaderValue = HeaderValue::from_static("public, max-age=300");

pub(super) async fn show() -> Response {
    ([(header::CONTENT_TYPE, JAVASCRIPT), (header::CACHE_CONTROL, SHORT)], SCRIPT).into_response()
}
