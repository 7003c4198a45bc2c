//! `POST /agents`: a developer makes an agent, a draft that nobody else sees yet.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use store::NewAgent;
use utoipa::ToSchema;

use crate::{
    agent::{Agent, CreateAgents, quota},
    body::Body,
    caller::Allowed,
    error::ApiError,
    form::Form,
    office::Office,
    trail,
};

/// What the agent shall be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateAgent {
    /// 100 characters at most.
    #[schema(max_length = 100)]
    name: String,
    /// What it is for; 2000 characters at most. Left out: nothing.
    #[schema(max_length = 2000)]
    description: Option<String>,
}

/// Makes an agent in the organisation in which the caller acts.
#[utoipa::path(
    post, path = "/agents", tag = "agents", request_body = CreateAgent, security(("access_token" = []), ("api_key" = [])),
    responses(
        (status = 201, description = "The agent", body = Agent),
        (status = 403, description = "`forbidden`: the caller may not make agents"),
        (status = 409, description = "`quota_exceeded`: the organisation's tier has no room for more `agents`; `no_tenant`: the caller acts in no organisation"),
    )
)]
pub(crate) async fn create_agent(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<CreateAgents>,
    Body(request): Body<CreateAgent>,
) -> Result<(StatusCode, Json<Agent>), ApiError> {
    let mut form = Form::default();
    let name = form.name("name", &request.name);
    let description = form.description(request.description.as_deref().unwrap_or_default());
    let (name, description) = form.finish(name.zip(description))?;
    let (tenant, developer) = (caller.tenant()?, caller.0.account);
    let most = quota(&office, tenant, "agents").await?;
    let new = NewAgent { tenant, developer, name, description, most, now: office.now() };
    let agent = office.store.create_agent(new).await?;
    trail::about(agent.id);
    Ok((StatusCode::CREATED, Json(agent.into())))
}
