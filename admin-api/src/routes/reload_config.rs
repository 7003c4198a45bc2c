//! `POST /admin/config/reload`: the configuration is read anew and put in force, or refused whole.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    body::BodyOrNothing,
    caller::{Allowed, ReloadConfig},
    error::ApiError,
    office::Office,
    trail,
};

/// There is nothing to say: which files are read is not for callers to choose.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reload {}

/// A configuration in force.
#[derive(Serialize, ToSchema)]
pub(crate) struct Reloaded {
    /// Counts configurations since the start of the process.
    generation: u64,
    /// Sections that changed and take effect at the next start only.
    needs_restart: Vec<String>,
}

/// Reloads the configuration of this node. The body may be left out.
#[utoipa::path(
    post, path = "/admin/config/reload", tag = "administration", request_body = Reload, security(("access_token" = []), ("api_key" = [])),
    responses(
        (status = 200, description = "In force", body = Reloaded),
        (status = 422, description = "`config_refused`: `errors` holds every error with its place; the old configuration stays"),
    )
)]
pub(crate) async fn reload_config(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ReloadConfig>,
    BodyOrNothing(Reload {}): BodyOrNothing<Reload>,
) -> Result<Json<Reloaded>, ApiError> {
    let report = office.hooks.reload().await.map_err(ApiError::ConfigRefused)?;
    if let Some(digest) = report.digest {
        trail::detail("config", digest);
    }
    tracing::info!(by = %caller.0.account, generation = report.generation, "configuration reloaded");
    Ok(Json(Reloaded { generation: report.generation, needs_restart: report.needs_restart }))
}
