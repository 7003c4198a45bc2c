//! `GET /admin/status`: what this gateway is, and what does not work as it should.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    caller::{Allowed, ReloadConfig},
    error::ApiError,
    office::Office,
};

/// How it is.
#[derive(Serialize, ToSchema)]
pub(crate) struct SystemStatus {
    /// `ok`, or `degraded`.
    status: &'static str,
    /// What does not work as it should, a word each.
    degraded: Vec<&'static str>,
    version: &'static str,
}

/// How the gateway that answers is. For administrators.
#[utoipa::path(
    get, path = "/admin/status", tag = "administration", security(("access_token" = []), ("api_key" = [])),
    responses(
        (status = 200, description = "How it is", body = SystemStatus),
        (status = 403, description = "`forbidden`: the caller may not manage the configuration"),
    )
)]
pub(crate) async fn see_status(
    State(office): State<Arc<Office>>,
    _: Allowed<ReloadConfig>,
) -> Result<Json<SystemStatus>, ApiError> {
    let degraded = office.hooks.status();
    let status = if degraded.is_empty() { "ok" } else { "degraded" };
    Ok(Json(SystemStatus { status, degraded, version: env!("CARGO_PKG_VERSION") }))
}
