//! `PATCH /agents/{id}`: an agent gets another name or description.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use serde::Deserialize;
use store::AgentChange;
use utoipa::ToSchema;

use crate::{
    agent::{Agent, CreateAgents, Keeper, within_reach},
    body::Body,
    error::ApiError,
    form::Form,
    group::{id_in_path, missing},
    office::Office,
};

/// What shall change; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeAgent {
    #[serde(default, deserialize_with = "crate::body::given")]
    #[schema(nullable = false, max_length = 100)]
    name: Option<String>,
    #[serde(default, deserialize_with = "crate::body::given")]
    #[schema(nullable = false, max_length = 2000)]
    description: Option<String>,
}

/// Changes an agent: the caller's own; for administrators of the organisation any.
#[utoipa::path(
    patch, path = "/agents/{id}", tag = "agents", request_body = ChangeAgent, security(("access_token" = []), ("api_key" = [])),
    params(("id" = String, Path, description = "The agent's id")),
    responses(
        (status = 200, description = "The agent as it is now", body = Agent),
        (status = 403, description = "`forbidden`: the caller may not make agents, and does not administer the organisation"),
        (status = 404, description = "`not_found`: the caller has no such agent"),
    )
)]
pub(crate) async fn change_agent(
    State(office): State<Arc<Office>>,
    Keeper { caller, .. }: Keeper<CreateAgents>,
    Path(id): Path<String>,
    Body(request): Body<ChangeAgent>,
) -> Result<Json<Agent>, ApiError> {
    let id = id_in_path("agent", &id)?;
    let mut form = Form::default();
    if request.name.is_none() && request.description.is_none() {
        form.fault("", "give a name or a description");
    }
    let name = request.name.and_then(|name| form.name("name", &name));
    let description = request.description.and_then(|text| form.description(&text));
    let change = form.finish(Some(AgentChange { name, description, audience: None }))?;
    let changed = office.store.change_agent(caller.tenant()?, id, within_reach(&caller), change, office.now()).await;
    Ok(Json(changed.map_err(missing("agent"))?.into()))
}
