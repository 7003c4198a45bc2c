//! `GET /agent-instances/{id}`: an instance of the caller's, with what it is configured with. Administrators of the organisation see
//! others' without, and so does whoever acts as the owner.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};

use crate::{
    agent::{Instance, ManageInstances, oversees},
    caller::Allowed,
    error::ApiError,
    group::id_in_path,
    office::Office,
};

/// An instance of the caller's in the organisation in which it acts; for administrators, also of the platform, anybody's, without `config`.
#[utoipa::path(
    get, path = "/agent-instances/{id}", tag = "agents", security(("access_token" = []), ("api_key" = [])),
    params(("id" = String, Path, description = "The instance's id")),
    responses(
        (status = 200, description = "The instance; `config` for its owner alone, and not for whoever acts as the owner", body = Instance),
        (status = 403, description = "`forbidden`: the caller may not have instances"),
        (status = 404, description = "`not_found`: the caller has no such instance"),
        (status = 503, description = "`unreadable`: the configuration does not open; `directory_unavailable`: accounts cannot be reached"),
    )
)]
pub(crate) async fn read_instance(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageInstances>,
    Path(id): Path<String>,
) -> Result<Json<Instance>, ApiError> {
    const NONE: ApiError = ApiError::NotFound("instance");
    let id = id_in_path("instance", &id)?;
    let tenant = office.tenant_of_instance(&caller, id).await?;
    let instance = office.store.instance(tenant, id).await?.ok_or(NONE)?;
    if instance.account_id == caller.0.account.uuid() {
        // What it is configured with may open other doors to whoever acts as its owner.
        if caller.0.actor.is_some() {
            return Ok(Json(instance.into()));
        }
        return office.own_instance(tenant.uuid(), instance).map(Json);
    }
    if oversees(&caller) { Ok(Json(instance.into())) } else { Err(NONE) }
}
