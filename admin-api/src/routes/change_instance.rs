//! `PATCH /agent-instances/{id}`: an instance of the caller's gets another name or configuration.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use serde::Deserialize;
use serde_json::value::RawValue;
use store::{InstanceChange, InstancePlace};
use utoipa::ToSchema;

use crate::{
    agent::{Instance, ManageInstances},
    body::Exact,
    caller::Allowed,
    error::ApiError,
    form::Form,
    group::{id_in_path, missing},
    office::Office,
};

/// What shall change; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeInstance {
    #[serde(default, deserialize_with = "crate::body::given")]
    #[schema(nullable = false, max_length = 100)]
    name: Option<String>,
    /// A whole new configuration; `{}` wipes the old one.
    #[serde(default, deserialize_with = "crate::body::given")]
    #[schema(nullable = false, value_type = Option<Object>)]
    config: Option<Box<RawValue>>,
}

/// Changes an instance of the caller's. Nobody else does, administrators neither.
#[utoipa::path(
    patch, path = "/agent-instances/{id}", tag = "agents", request_body = ChangeInstance, security(("access_token" = []), ("api_key" = [])),
    params(("id" = String, Path, description = "The instance's id")),
    responses(
        (status = 200, description = "The instance as it is now", body = Instance),
        (status = 403, description = "`forbidden`: the caller may not have instances"),
        (status = 404, description = "`not_found`: the caller has no such instance"),
        (status = 503, description = "`unreadable`: the configuration does not open; `directory_unavailable`: accounts cannot be reached"),
    )
)]
pub(crate) async fn change_instance(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageInstances>,
    Path(id): Path<String>,
    Exact(request): Exact<ChangeInstance>,
) -> Result<Json<Instance>, ApiError> {
    const NONE: ApiError = ApiError::NotFound("instance");
    let id = id_in_path("instance", &id)?;
    let mut form = Form::default();
    if request.name.is_none() && request.config.is_none() {
        form.fault("", "give a name or a config");
    }
    let name = request.name.and_then(|name| form.name("name", &name));
    let config = request.config.and_then(|config| form.config(config));
    let (name, config) = form.finish(Some((name, config)))?;
    let (tenant, account) = (caller.tenant()?, caller.0.account);
    let before = office.store.instance(tenant, id).await?.filter(|before| before.account_id == account.uuid());
    let before = before.ok_or(NONE)?;
    // Of which agent it is never changes.
    let place = InstancePlace { id, tenant: tenant.uuid(), agent: before.agent_id, account: account.uuid() };
    if config.is_none() {
        // The answer shows it: who is told that it does not open finds everything as it was.
        office.own_instance(tenant.uuid(), before)?;
    }
    let sealed = config.map(|config| office.seal_config(place, &config));
    let change = InstanceChange { name, sealed };
    let changed = office.store.change_instance(tenant, id, account, change, office.now()).await;
    office.own_instance(tenant.uuid(), changed.map_err(missing("instance"))?).map(Json)
}
