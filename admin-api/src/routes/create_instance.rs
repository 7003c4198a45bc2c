//! `POST /agent-instances`: the caller has an instance of an agent, with a configuration that is kept sealed.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;
use store::{InstancePlace, NewInstance};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    agent::{Instance, ManageInstances, quota},
    body::Exact,
    caller::Allowed,
    error::ApiError,
    form::Form,
    group::missing,
    office::Office,
    trail,
};

/// What the instance shall be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateInstance {
    /// An agent that the caller sees.
    agent_id: String,
    /// 100 characters at most.
    #[schema(max_length = 100)]
    name: String,
    /// What it is configured with: an object of 16 KiB at most, which nobody but the caller is shown. Left out: nothing.
    #[serde(default, deserialize_with = "crate::body::given")]
    #[schema(value_type = Object)]
    config: Option<Box<RawValue>>,
}

/// Makes an instance of an agent for the caller.
#[utoipa::path(
    post, path = "/agent-instances", tag = "agents", request_body = CreateInstance, security(("access_token" = []), ("api_key" = [])),
    responses(
        (status = 201, description = "The instance", body = Instance),
        (status = 403, description = "`forbidden`: the caller may not have instances"),
        (status = 404, description = "`not_found`: the caller sees no such agent"),
        (status = 409, description = "`quota_exceeded`: the organisation's tier has no room for more `instances`; `no_tenant`: the caller acts in no organisation"),
    )
)]
pub(crate) async fn create_instance(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageInstances>,
    Exact(request): Exact<CreateInstance>,
) -> Result<(StatusCode, Json<Instance>), ApiError> {
    let mut form = Form::default();
    let agent = form.id("agent_id", &request.agent_id);
    let name = form.name("name", &request.name);
    let config = form.config(request.config.unwrap_or_else(nothing));
    let ((agent, name), config) = form.finish(agent.zip(name).zip(config))?;
    let (tenant, account, id) = (caller.tenant()?, caller.0.account, Uuid::now_v7());
    let sealed =
        office.seal_config(InstancePlace { id, tenant: tenant.uuid(), agent, account: account.uuid() }, &config);
    trail::about(id);
    let most = quota(&office, tenant, "instances").await?;
    let new = NewInstance { id, tenant, agent, account, name, sealed, most, now: office.now() };
    let made = office.store.create_instance(new).await.map_err(missing("agent"))?;
    Ok((StatusCode::CREATED, Json(office.own_instance(tenant.uuid(), made)?)))
}

fn nothing() -> Box<RawValue> {
    RawValue::from_string("{}".to_owned()).expect("this is JSON")
}
