//! `PATCH /integrations/{id}`: another key, another name, or used no longer.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use identity::{ProviderKey, SecretText};
use serde::Deserialize;
use store::IntegrationChange;
use utoipa::ToSchema;

use super::change_user::NewStatus;
use crate::{
    body::Body,
    caller::{Allowed, ManageIntegrations},
    error::{ApiError, OrMissing},
    form::Form,
    integration::{Integration, NO_INTEGRATION},
    office::Office,
    trail,
};

/// What is to be another; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeIntegration {
    /// 8 to 4096 visible characters of ASCII.
    #[schema(value_type = Option<String>, format = Password, min_length = 8, max_length = 4096)]
    api_key: Option<SecretText>,
    /// For people; 100 characters at most.
    #[schema(max_length = 100)]
    name: Option<String>,
    /// `disabled`: it is kept, and the door does not use it.
    status: Option<NewStatus>,
}

/// Changes an integration. The door uses the new key from the answer on, other gateways as soon as they hear of it.
#[utoipa::path(
    patch, path = "/integrations/{id}", tag = "integrations", request_body = ChangeIntegration,
    security(("access_token" = []), ("api_key" = [])),
    params(("id" = String, Path, description = "The integration's id")),
    responses(
        (status = 200, description = "The integration as it is now", body = Integration),
        (status = 403, description = "`forbidden`: the caller may not manage integrations"),
        (status = 404, description = "`not_found`: the caller has no such integration"),
    )
)]
pub(crate) async fn change_integration(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageIntegrations>,
    Path(id): Path<String>,
    Body(request): Body<ChangeIntegration>,
) -> Result<Json<Integration>, ApiError> {
    let found = office.integration_of(&caller, &id).await?;
    let change = request.parse()?;
    trail::detail("service", found.service.as_str());
    trail::detail("key", change.key.is_some());
    if let Some(is_active) = change.is_active {
        trail::detail("status", if is_active { "active" } else { "disabled" });
    }
    let changed = office.store.change_integration(office.seal(), found.owner, found.id, &change, office.now()).await;
    Ok(Json(changed.or_missing(NO_INTEGRATION)?.into()))
}

// === impl ChangeIntegration ===

impl ChangeIntegration {
    fn parse(self) -> Result<IntegrationChange, ApiError> {
        let mut form = Form::default();
        if self.api_key.is_none() && self.name.is_none() && self.status.is_none() {
            form.fault("", "give an api_key, a name or a status");
        }
        let key = self.api_key.and_then(|key| form.parsed("api_key", ProviderKey::parse(key.expose())));
        let name = self.name.and_then(|name| form.name("name", &name)).map(Some);
        let is_active = self.status.map(|status| matches!(status, NewStatus::Active));
        form.finish(Some(IntegrationChange { name, key, is_active }))
    }
}
