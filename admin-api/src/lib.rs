//! The office beside the door: it registers people, logs them in, issues their keys and lets administrators manage them.
//!
//! ```text
//! door ──► answer.rs ──► routes/*.rs, one per endpoint ──► store, identity
//!            │  limits, panics        │
//!            │  problem+json          ├─ caller.rs   who is calling: the door's assertion and nothing else
//!            └─ error.rs              ├─ body.rs     JSON read strictly (json.rs), faults of fields gathered (form.rs)
//!                                     ├─ hashing.rs  passwords, off the async threads, a few at a time
//!                                     └─ issue.rs    token pairs
//! ```
//!
//! This is a library: [`router`] makes an axum router out of an [`Office`], and the process that runs it says where it
//! listens and answers its [`Hooks`]. Who may reach an endpoint, and how often, is decided at the door by `policies`; what
//! must never depend on a route alone is checked here again. What is remembered is `store`'s, what is proved `identity`'s.

mod answer;
mod body;
mod caller;
mod error;
mod form;
mod hashing;
mod issue;
mod json;
mod key;
mod metrics;
mod office;
mod openapi;
mod routes;
mod user;

use std::sync::Arc;

use axum::Router;
pub use office::{Clock, Hooks, Office, OfficeError, ReloadReport, Settings};
use utoipa::OpenApi as _;
use utoipa_axum::{router::OpenApiRouter, routes};

/// Every endpoint of the office.
pub fn router(office: Office) -> Router {
    let (endpoints, document) = described();
    answer::around(endpoints.with_state(Arc::new(office)).merge(routes::docs::router(&document)))
}

/// The API's `OpenAPI` document, which `GET /openapi.json` answers with.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    described().1
}

/// A new endpoint is one line here; its file says method, path and words.
fn described() -> (Router<Arc<Office>>, utoipa::openapi::OpenApi) {
    let (endpoints, mut document) = OpenApiRouter::with_openapi(openapi::Outline::openapi())
        .routes(routes!(routes::register::register))
        .routes(routes!(routes::login::login))
        .routes(routes!(routes::refresh::refresh))
        .routes(routes!(routes::logout::logout))
        .routes(routes!(routes::me::me))
        .routes(routes!(routes::update_me::update_me))
        .routes(routes!(routes::change_password::change_password))
        .routes(routes!(routes::validate::validate))
        .routes(routes!(routes::list_keys::list_keys))
        .routes(routes!(routes::create_key::create_key))
        .routes(routes!(routes::delete_key::delete_key))
        .routes(routes!(routes::rotate_key::rotate_key))
        .routes(routes!(routes::list_users::list_users))
        .routes(routes!(routes::change_user::change_user))
        .routes(routes!(routes::reload_config::reload_config))
        .routes(routes!(routes::jwks::jwks))
        .routes(routes!(routes::health::health))
        .split_for_parts();
    openapi::complete(&mut document);
    (endpoints, document)
}
