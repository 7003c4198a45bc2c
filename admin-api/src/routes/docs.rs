//! `GET /openapi.json` and the page at `/docs` that shows it.
//!
//! The page's files are inside the binary and the browser is told to load nothing else; what they say is [`crate::openapi`]'s.

use std::sync::{Arc, LazyLock};

use axum::{
    Router,
    body::Bytes,
    extract::Path,
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use identity::CookieNames;
use utoipa_swagger_ui::Config;

use crate::error::ApiError;

/// The page draws with inline styles and data images; scripts and requests are ours alone.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
);
const SHORT: HeaderValue = HeaderValue::from_static("public, max-age=300");

const JSON: [(HeaderName, HeaderValue); 2] =
    [(header::CONTENT_TYPE, HeaderValue::from_static("application/json")), (header::CACHE_CONTROL, SHORT)];
/// The document and the page. Addresses in the page are relative, so that both may stand below any prefix.
pub(crate) fn router(cookies: CookieNames) -> Router {
    // Made when somebody asks for the first time: making it takes megabytes, which are none of a start's.
    let document = Arc::new(LazyLock::new(move || text(cookies)));
    // Without this the page has a service elsewhere check the document and shows its badge.
    let config = Arc::new(Config::from("../openapi.json").validator_url("none"));
    let asset = {
        let config = Arc::clone(&config);
        move |Path(file): Path<String>| async move { serve(&file, config) }
    };
    Router::new()
        .route("/openapi.json", get(|| async move { (JSON, Bytes::clone(&document)) }))
        // The page's own links are relative to the folder.
        .route("/docs", get(|| async { Redirect::permanent("docs/") }))
        .route("/docs/", get(|| async { serve("", config) }))
        .route("/docs/{*file}", get(asset))
}

fn text(cookies: CookieNames) -> Bytes {
    crate::written(cookies).to_json().expect("a document is strings and maps with string keys").into()
}

fn serve(file: &str, config: Arc<Config<'static>>) -> Result<Response, ApiError> {
    let found = utoipa_swagger_ui::serve(file, config)
        .map_err(|error| ApiError::Internal(format!("the page cannot be made: {error}")))?;
    let file = found.ok_or(ApiError::NoSuchPath)?;
    let content_type =
        HeaderValue::try_from(file.content_type).map_err(|error| ApiError::Internal(error.to_string()))?;
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, SHORT),
        (header::CONTENT_SECURITY_POLICY, POLICY),
    ];
    Ok((headers, file.bytes.into_owned()).into_response())
}
