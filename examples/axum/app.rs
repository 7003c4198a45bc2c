//! An axum service behind the door: who is calling is what `X-Gateway-Assertion` says, and nothing else.
//!
//! ```text
//! DOOR=http://127.0.0.1:8080 cargo run -- 127.0.0.1:9004
//! ```

use std::{env, error::Error, sync::Arc};

use axum::{
    Extension, Json, Router,
    extract::{Request, State},
    http::StatusCode,
    middleware::{Next, from_fn_with_state},
    response::Response,
    routing::get,
};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header, jwk::JwkSet};
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, sync::RwLock};

/// Who is calling, as far as this service wants to know.
#[derive(Clone, Deserialize, Serialize)]
struct Caller {
    /// The account's id.
    sub: String,
    role: String,
    tier: String,
}

/// What an assertion is checked with.
pub(crate) struct Door {
    keys_at: String,
    rules: Validation,
    keys: RwLock<JwkSet>,
}

// === impl Door ===

impl Door {
    /// `issuer` is `[tokens] issuer` of the door's gateway.toml, `audience` this service's name there.
    pub(crate) fn new(door: &str, issuer: &str, audience: &str) -> Self {
        let mut rules = Validation::new(Algorithm::EdDSA);
        rules.set_issuer(&[issuer]);
        rules.set_audience(&[audience]);
        rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        let keys = RwLock::new(JwkSet { keys: Vec::new() });
        Self { keys_at: format!("{door}/.well-known/jwks.json"), rules, keys }
    }

    async fn verify(&self, assertion: &str) -> Result<Caller, Box<dyn Error + Send + Sync>> {
        let header = decode_header(assertion)?;
        if header.typ.as_deref() != Some("assertion+jwt") {
            return Err("another kind of token".into());
        }
        let kid = header.kid.ok_or("no key is named")?;
        // The door rotates its keys: one that is not known yet is asked for.
        if self.keys.read().await.find(&kid).is_none() {
            let fresh = reqwest::get(&self.keys_at).await?.bytes().await?;
            *self.keys.write().await = serde_json::from_slice(&fresh)?;
        }
        let keys = self.keys.read().await;
        let key = DecodingKey::from_jwk(keys.find(&kid).ok_or("a key that the door has not")?)?;
        Ok(decode::<Caller>(assertion, &key, &self.rules)?.claims)
    }
}

async fn guard(State(door): State<Arc<Door>>, mut request: Request, next: Next) -> Result<Response, StatusCode> {
    let assertion = request.headers().get("x-gateway-assertion").and_then(|value| value.to_str().ok());
    let caller = door.verify(assertion.unwrap_or_default()).await.map_err(|_| StatusCode::UNAUTHORIZED)?;
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

async fn who(Extension(caller): Extension<Caller>) -> Json<Caller> {
    Json(caller)
}

/// Every path demands an assertion.
pub(crate) fn app(door: Door) -> Router {
    Router::new().route("/{*path}", get(who)).layer(from_fn_with_state(Arc::new(door), guard))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let of = |name: &str, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
    let door = Door::new(&of("DOOR", "http://127.0.0.1:8080"), &of("ISSUER", "portcullis"), &of("AUDIENCE", "axum"));
    let listener = TcpListener::bind(env::args().nth(1).ok_or("where to listen?")?).await?;
    Ok(axum::serve(listener, app(door)).await?)
}
