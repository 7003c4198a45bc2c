//! `GET /agents/{id}`: an agent that the caller sees.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};

use crate::{
    agent::{Agent, ReadAgents, oversees},
    caller::Allowed,
    error::ApiError,
    group::id_in_path,
    office::Office,
};

/// An agent of the organisation in which the caller acts, one that is published or the caller's own, for its administrators any; or one that
/// another organisation has published to the platform. Administrators of the platform see those of every organisation.
#[utoipa::path(
    get, path = "/agents/{id}", tag = "agents", security(("access_token" = []), ("api_key" = [])),
    params(("id" = String, Path, description = "The agent's id")),
    responses(
        (status = 200, description = "The agent", body = Agent),
        (status = 403, description = "`forbidden`: the caller may not see agents"),
        (status = 404, description = "`not_found`: the caller sees no such agent"),
    )
)]
pub(crate) async fn read_agent(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ReadAgents>,
    Path(id): Path<String>,
) -> Result<Json<Agent>, ApiError> {
    let id = id_in_path("agent", &id)?;
    let tenant = office.tenant_of_agent(&caller, id).await?;
    let own = Some(caller.0.account.uuid());
    let agent = office.store.agent(tenant, id).await?;
    // Another organisation's comes only if it is published.
    let seen = agent.filter(|agent| agent.is_published || agent.developer_id == own || oversees(&caller));
    seen.map(|agent| Json(agent.into())).ok_or(ApiError::NotFound("agent"))
}
