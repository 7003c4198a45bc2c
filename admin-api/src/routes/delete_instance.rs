//! `DELETE /agent-instances/{id}`: an instance and its configuration are no more.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
};

use crate::{
    agent::{ManageInstances, within_reach},
    caller::Allowed,
    error::ApiError,
    group::{id_in_path, missing},
    office::Office,
};

/// Deletes an instance: the caller's own; for administrators of the organisation, and of the platform, any.
#[utoipa::path(
    delete, path = "/agent-instances/{id}", tag = "agents", security(("access_token" = []), ("api_key" = [])),
    params(("id" = String, Path, description = "The instance's id")),
    responses(
        (status = 204, description = "Deleted"),
        (status = 403, description = "`forbidden`: the caller may not have instances"),
        (status = 404, description = "`not_found`: the caller has no such instance"),
    )
)]
pub(crate) async fn delete_instance(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageInstances>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let id = id_in_path("instance", &id)?;
    let tenant = office.tenant_of_instance(&caller, id).await?;
    let deleted = office.store.delete_instance(tenant, id, within_reach(&caller), office.now()).await;
    deleted.map_err(missing("instance"))?;
    Ok(StatusCode::NO_CONTENT)
}
