//! `GET /.well-known/jwks.json`: the public keys by which services check our access tokens and our assertions themselves
//! (RFC 7517). Which is which a token says by its `typ`; a verifier has to check it.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderName, header},
};
use serde_json::{Value, json};

use crate::office::Office;

/// Verifiers may keep the set for five minutes: keys are published long before they sign.
const CACHE: [(HeaderName, &str); 1] = [(header::CACHE_CONTROL, "public, max-age=300")];

/// The public keys. A shared secret (HS256) is never among them.
#[utoipa::path(
    get, path = "/.well-known/jwks.json", tag = "service",
    responses((status = 200, description = "A JWK set (RFC 7517)", body = Object))
)]
pub(crate) async fn jwks(State(office): State<Arc<Office>>) -> ([(HeaderName, &'static str); 1], Json<Value>) {
    let keyring = office.keys.load();
    let keys: Vec<Value> = [&keyring.access, &keyring.assertion]
        .into_iter()
        .filter_map(|set| match set.keys.jwks().get_mut("keys").map(Value::take) {
            Some(Value::Array(keys)) => Some(keys),
            _ => None,
        })
        .flatten()
        .collect();
    (CACHE, Json(json!({ "keys": keys })))
}
