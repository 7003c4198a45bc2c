//! Request bodies: bytes become the type that a handler asks for, or the caller learns exactly what is wrong with them.
//!
//! | what is wrong | answer |
//! |---|---|
//! | `Content-Type` is not JSON, or missing where a browser may have sent it | 415 |
//! | more than [`MAX_BODY`] bytes, or than a handler takes that takes more | 413 |
//! | not sent within [`DEADLINE`] | 408 |
//! | not JSON, nested too deeply, a member twice | 400 |
//! | a field is missing, unknown or of the wrong type | 422 naming the field |
//!
//! Messages name what was expected and never repeat what was sent: it may be a password. What a field's value must be
//! beyond its type is [`crate::form`]'s.

use std::time::Duration;

use axum::{
    body::Bytes,
    extract::{DefaultBodyLimit, FromRequest, Request},
    http::{HeaderMap, StatusCode, header},
};
use policies::problem::FieldError;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};

use crate::{error::ApiError, json};

/// Bytes of a body; the longest that anybody needs is a password of 1 KiB and a few names.
pub(crate) const MAX_BODY: usize = 64 * 1024;
/// How long a body may take to arrive; it is small, so this is generous.
const DEADLINE: Duration = Duration::from_secs(15);

/// What is said of a text that was to be one (chrono's `ParseError`), which helps nobody who has left out a zone.
const OF_TIMES: [&str; 6] = [
    "input is out of range",
    "no possible date and time matching input",
    "input is not enough for unique date and time",
    "input contains invalid characters",
    "premature end of input",
    "trailing input",
];
const A_TIME: &str = "a time of RFC 3339 with a zone, such as 2026-01-31T12:00:00Z";

/// A JSON object, read as `T`.
pub(crate) struct Body<T>(pub(crate) T);

/// The same, read from its text, so that a type sees a number as it was written ([`serde_json::value::RawValue`]).
pub(crate) struct Exact<T>(pub(crate) T);

/// The same, where no body at all means the same as `{}`.
pub(crate) struct BodyOrNothing<T>(pub(crate) T);

// === impl Body ===

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let is_json = is_json(request.headers());
        if !is_json {
            return Err(ApiError::ContentType);
        }
        read(&receive(request, state).await?).map(Self)
    }
}

// === impl Exact ===

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Exact<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        if !is_json(request.headers()) {
            return Err(ApiError::ContentType);
        }
        let bytes = receive(request, state).await?;
        // Members twice and nesting are found here, and numbers left alone.
        if !json::parse(&bytes)?.is_object() {
            return Err(ApiError::one_field("", "must be an object"));
        }
        shape(&mut serde_json::Deserializer::from_slice(&bytes)).map(Self)
    }
}

// === impl BodyOrNothing ===

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for BodyOrNothing<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let is_json = is_json(request.headers());
        let bytes = receive(request, state).await?;
        match (bytes.is_empty(), is_json) {
            (true, _) => read(b"{}").map(Self),
            (false, true) => read(&bytes).map(Self),
            (false, false) => Err(ApiError::ContentType),
        }
    }
}

/// The body of a form (HTML §4.10.21.8).
pub(crate) async fn receive_form<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, ApiError> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = kind.split(';').next().unwrap_or_default().trim();
    if !media.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(ApiError::NotAForm);
    }
    receive(request, state).await
}

/// The limit itself is set on the router, so that no handler can forget it.
pub(crate) async fn receive<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, ApiError> {
    receive_set(MAX_BODY, request, state).await
}

/// The same, of a handler that takes more.
pub(crate) async fn receive_most<S: Send + Sync>(
    most: usize,
    mut request: Request,
    state: &S,
) -> Result<Bytes, ApiError> {
    DefaultBodyLimit::max(most).apply(&mut request);
    receive_set(most, request, state).await
}

async fn receive_set<S: Send + Sync>(most: usize, request: Request, state: &S) -> Result<Bytes, ApiError> {
    match tokio::time::timeout(DEADLINE, Bytes::from_request(request, state)).await {
        Err(_) => Err(ApiError::BodyTimeout),
        Ok(Err(rejection)) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(ApiError::BodyTooLarge(most)),
        Ok(Err(_)) => Err(ApiError::BodyBroken),
        Ok(Ok(bytes)) => Ok(bytes),
    }
}

/// `application/json`, perhaps with a charset, which can only be UTF-8 (RFC 8259 §8.1).
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return came_by_program(headers) };
    let Ok(value) = value.to_str() else { return false };
    let mut parts = value.split(';').map(str::trim);
    let is_media_type = parts.next().is_some_and(|media| media.eq_ignore_ascii_case("application/json"));
    is_media_type
        && parts.all(|parameter| match parameter.split_once('=') {
            Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
                value.trim_matches('"').eq_ignore_ascii_case("utf-8")
            }
            _ => true,
        })
}

/// Old clients say nothing of what they send. A page could do so too without asking anybody first (a `fetch` of a `Blob` is a "simple" request),
/// but its browser names where it comes from with every such request (Fetch §3.2, Fetch Metadata §2), and adds cookies of itself.
fn came_by_program(headers: &HeaderMap) -> bool {
    const OF_BROWSERS: [&str; 5] = ["cookie", "origin", "referer", "sec-fetch-site", "sec-fetch-mode"];
    !OF_BROWSERS.iter().any(|name| headers.contains_key(*name))
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let value = json::parse(bytes)?;
    // A list would be taken for a struct's fields in order.
    if !value.is_object() {
        return Err(ApiError::one_field("", "must be an object"));
    }
    shape(value)
}

fn shape<'de, T: DeserializeOwned, D: Deserializer<'de, Error = serde_json::Error>>(from: D) -> Result<T, ApiError> {
    serde_path_to_error::deserialize(from).map_err(|error| {
        let field = error.path().to_string();
        ApiError::Fields(vec![describe(field, &error.into_inner().to_string())])
    })
}

/// For a field that may be left out, and is not `null`: that is no way to say that something shall be gone.
pub(crate) fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// Turns `serde`'s words into ours. They begin with what was sent and end with what was expected; words without that are
/// our own already, from a type that reads itself.
fn describe(path: String, words: &str) -> FieldError {
    let words = without_place(words);
    if words.starts_with("UUID parsing failed") {
        return FieldError { field: path, message: "must be an id".to_owned() };
    }
    if let Some(name) = words.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        let field = if path == "." { name.to_owned() } else { format!("{path}.{name}") };
        return FieldError { field, message: "is required".to_owned() };
    }
    if words.starts_with("unknown field") && words.ends_with(", there are no fields") {
        return FieldError { field: path, message: "is not a field here; there are none".to_owned() };
    }
    if OF_TIMES.contains(&words) {
        return FieldError { field: path, message: format!("must be {A_TIME}") };
    }
    let Some((_, expected)) = words.rsplit_once(", expected ") else {
        return FieldError { field: path, message: words.to_owned() };
    };
    let message = if words.starts_with("unknown field") {
        format!("is not a field here; expected {}", expected.replace('`', ""))
    } else {
        let kind = match expected {
            "i64" | "u64" | "i32" | "u32" | "u16" => "a whole number",
            "a sequence" => "a list",
            "an RFC 3339 formatted date and time string" => A_TIME,
            other => other,
        };
        format!("must be {kind}")
    };
    FieldError { field: path, message }
}

/// Where a text is read itself, `serde` ends with the place, which is no use beside the field. Only what it writes itself: what was sent may hold
/// such words too.
fn without_place(words: &str) -> &str {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match words.rsplit_once(" at line ") {
        Some((rest, place))
            if place.split_once(" column ").is_some_and(|(line, column)| is_number(line) && is_number(column)) =>
        {
            rest
        }
        _ => words,
    }
}

#[cfg(test)]
mod tests;
