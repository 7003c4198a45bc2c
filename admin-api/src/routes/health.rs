//! `GET /health`: does the office answer, and what does not work as it should?

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use crate::office::Office;

/// How the service is.
#[derive(Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`, or `degraded`: it serves, and `reasons` says what it cannot do.
    status: &'static str,
    /// A word each.
    reasons: Vec<&'static str>,
}

/// Tells whether all is well. Always 200: whoever reads this was served.
#[utoipa::path(
    get, path = "/health", tag = "service",
    responses((status = 200, description = "The service answers", body = Health))
)]
pub(crate) async fn health(State(office): State<Arc<Office>>) -> Json<Health> {
    let reasons = office.hooks.status();
    Json(Health { status: if reasons.is_empty() { "ok" } else { "degraded" }, reasons })
}
