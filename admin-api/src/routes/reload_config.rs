//! `POST /admin/config/reload`: the configuration is read anew and put in force, or refused whole.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    caller::{Allowed, ReloadConfig},
    error::ApiError,
    office::Office,
    trail,
};

/// A configuration in force.
#[derive(Serialize, ToSchema)]
pub(crate) struct Reloaded {
    /// Counts configurations since the start of the process.
    generation: u64,
    /// Sections that changed and take effect at the next start only.
    needs_restart: Vec<String>,
}

/// Reloads the configuration of this node. Needs no body.
#[utoipa::path(
    post, path = "/admin/config/reload", tag = "administration", security(("access_token" = []), ("api_key" = [])),
    responses(
        (status = 200, description = "In force", body = Reloaded),
        (status = 422, description = "`config_refused`: `errors` holds every error with its place; the old configuration stays"),
    )
)]
pub(crate) async fn reload_config(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ReloadConfig>,
) -> Result<Json<Reloaded>, ApiError> {
    let report = office.hooks.reload().await.map_err(ApiError::ConfigRefused)?;
    if let Some(digest) = report.digest {
        trail::detail("config", digest);
    }
    tracing::info!(by = %caller.0.account, generation = report.generation, "configuration reloaded");
    Ok(Json(Reloaded { generation: report.generation, needs_restart: report.needs_restart }))
}
