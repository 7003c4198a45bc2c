//! `DELETE /agents/{id}`: an agent that nobody has an instance of is no more.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
};

use crate::{
    agent::{CreateAgents, Keeper, within_reach},
    error::ApiError,
    group::{id_in_path, missing},
    office::Office,
};

/// Deletes an agent: the caller's own; for administrators of the organisation, and of the platform, any.
#[utoipa::path(
    delete, path = "/agents/{id}", tag = "agents", security(("access_token" = []), ("api_key" = [])),
    params(("id" = String, Path, description = "The agent's id")),
    responses(
        (status = 204, description = "Deleted"),
        (status = 403, description = "`forbidden`: the caller may not make agents, and does not administer the organisation"),
        (status = 404, description = "`not_found`: the caller has no such agent"),
        (status = 409, description = "`conflict`: somebody has an instance of it"),
    )
)]
pub(crate) async fn delete_agent(
    State(office): State<Arc<Office>>,
    Keeper { caller, .. }: Keeper<CreateAgents>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let id = id_in_path("agent", &id)?;
    let tenant = office.tenant_of_agent(&caller, id).await?;
    let deleted = office.store.delete_agent(tenant, id, within_reach(&caller), office.now()).await;
    deleted.map_err(missing("agent"))?;
    Ok(StatusCode::NO_CONTENT)
}
