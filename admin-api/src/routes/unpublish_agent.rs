//! `POST /agents/{id}/unpublish`: others see an agent no longer.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use store::Audience;

use super::publish_agent::set_audience;
use crate::{
    agent::{Agent, Keeper, PublishAgents},
    error::ApiError,
    office::Office,
};

/// Takes an agent back: nobody makes new instances of it; those that are there stay. The caller's own; for administrators of the organisation any.
#[utoipa::path(
    post, path = "/agents/{id}/unpublish", tag = "agents", security(("access_token" = []), ("api_key" = [])),
    params(("id" = String, Path, description = "The agent's id")),
    responses(
        (status = 200, description = "The agent as it is now", body = Agent),
        (status = 403, description = "`forbidden`: the caller may not publish agents, and does not administer the organisation"),
        (status = 404, description = "`not_found`: the caller has no such agent"),
    )
)]
pub(crate) async fn unpublish_agent(
    State(office): State<Arc<Office>>,
    Keeper { caller, .. }: Keeper<PublishAgents>,
    Path(id): Path<String>,
) -> Result<Json<Agent>, ApiError> {
    set_audience(&office, &caller, &id, Audience::Nobody).await
}
