//! `POST /agents/{id}/publish`: others see an agent from now on.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use serde::Deserialize;
use store::AgentChange;
use utoipa::ToSchema;

use crate::{
    agent::{Agent, Audience, PublishAgents, PublishToPlatform, within_reach},
    body::BodyOrNothing,
    caller::{Allowed, Caller},
    error::ApiError,
    group::{id_in_path, missing},
    office::Office,
    trail,
};

/// For whom.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PublishAgent {
    /// `tenant`, or left out: whoever belongs to the agent's organisation. `platform`: people of every organisation, whose instances are their
    /// own organisation's; that takes the permission `platform:publish`.
    #[serde(default)]
    audience: Audience,
}

/// Lets others see an agent and make instances of it. The caller's own; for administrators of the organisation any. What is said last counts:
/// an agent that everybody saw is its organisation's alone again when it is published anew for that.
#[utoipa::path(
    post, path = "/agents/{id}/publish", tag = "agents", request_body = PublishAgent, security(("access_token" = []), ("api_key" = [])),
    params(("id" = String, Path, description = "The agent's id")),
    responses(
        (status = 200, description = "The agent as it is now", body = Agent),
        (status = 403, description = "`forbidden`: the caller may not publish agents, or not to everybody"),
        (status = 404, description = "`not_found`: the caller has no such agent"),
    )
)]
pub(crate) async fn publish_agent(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<PublishAgents>,
    Path(id): Path<String>,
    BodyOrNothing(request): BodyOrNothing<PublishAgent>,
) -> Result<Json<Agent>, ApiError> {
    trail::detail("audience", serde_json::json!(request.audience));
    let audience = match request.audience {
        Audience::Tenant => store::Audience::Tenant,
        Audience::Platform => {
            caller.demand::<PublishToPlatform>(&office.hooks.policy())?;
            store::Audience::Platform
        }
    };
    set_audience(&office, &caller, &id, audience).await
}

/// Shows an agent that a path names to others, or takes it back.
pub(super) async fn set_audience(
    office: &Office,
    caller: &Caller,
    id: &str,
    audience: store::Audience,
) -> Result<Json<Agent>, ApiError> {
    let id = id_in_path("agent", id)?;
    let change = AgentChange { audience: Some(audience), ..AgentChange::default() };
    let tenant = office.tenant_of_agent(caller, id).await?;
    let changed = office.store.change_agent(tenant, id, within_reach(caller), change, office.now()).await;
    Ok(Json(changed.map_err(missing("agent"))?.into()))
}
