//! `POST /agents/{id}/publish`: others of the organisation see an agent from now on.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use store::AgentChange;

use crate::{
    agent::{Agent, PublishAgents, within_reach},
    caller::{Allowed, Caller},
    error::ApiError,
    group::{id_in_path, missing},
    office::Office,
};

/// Lets everybody in the organisation see an agent and make instances of it. The caller's own; for administrators of the organisation any.
#[utoipa::path(
    post, path = "/agents/{id}/publish", tag = "agents", security(("access_token" = []), ("api_key" = [])),
    params(("id" = String, Path, description = "The agent's id")),
    responses(
        (status = 200, description = "The agent as it is now", body = Agent),
        (status = 403, description = "`forbidden`: the caller may not publish agents"),
        (status = 404, description = "`not_found`: the caller has no such agent"),
    )
)]
pub(crate) async fn publish_agent(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<PublishAgents>,
    Path(id): Path<String>,
) -> Result<Json<Agent>, ApiError> {
    set_published(&office, &caller, &id, true).await
}

/// Shows an agent that a path names, or takes it back.
pub(super) async fn set_published(
    office: &Office,
    caller: &Caller,
    id: &str,
    is_published: bool,
) -> Result<Json<Agent>, ApiError> {
    let id = id_in_path("agent", id)?;
    let change = AgentChange { is_published: Some(is_published), ..AgentChange::default() };
    let tenant = office.tenant_of_agent(caller, id).await?;
    let changed = office.store.change_agent(tenant, id, within_reach(caller), change, office.now()).await;
    Ok(Json(changed.map_err(missing("agent"))?.into()))
}
