//! `POST /integrations`: a key at a provider's is kept, sealed; nobody is shown it again.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use identity::{IntegrationId, ProviderKey, SecretText, is_service};
use serde::Deserialize;
use store::{IntegrationOwner, MadeIntegration, NewIntegration};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    body::Body,
    caller::{Allowed, ManageIntegrations},
    error::ApiError,
    form::Form,
    integration::{Integration, Owner},
    office::Office,
    quota::tier_of,
    trail,
};

/// What is to be kept.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateIntegration {
    /// Whom the key is for: `claude`, `openai`, `gemini`, or any word of `a-z`, `0-9`, `_` and `-`, as routes name it in `inject_credential`.
    #[schema(max_length = 64, example = "openai")]
    service: String,
    /// 8 to 4096 visible characters of ASCII.
    #[schema(value_type = String, format = Password, min_length = 8, max_length = 4096)]
    api_key: SecretText,
    /// For people; 100 characters at most.
    #[schema(max_length = 100)]
    name: Option<String>,
    /// `account` by default. `tenant`: for everybody in it who has none of their own; for its administrators to give.
    #[serde(default)]
    owner: Owner,
}

struct Wanted {
    service: String,
    key: ProviderKey,
    name: Option<String>,
}

/// Keeps a key at a provider's. Routes that inject it show it to the provider in the caller's name.
#[utoipa::path(
    post, path = "/integrations", tag = "integrations", request_body = CreateIntegration, security(("access_token" = []), ("api_key" = [])),
    responses(
        (status = 201, description = "The integration, without its key", body = Integration),
        (status = 403, description = "`forbidden`: the caller may not manage integrations, or not those of its tenant"),
        (status = 409, description = "`conflict`: there is one of this service already; `too_many_integrations`; `no_tenant`"),
    )
)]
pub(crate) async fn create_integration(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageIntegrations>,
    Body(request): Body<CreateIntegration>,
) -> Result<(StatusCode, Json<Integration>), ApiError> {
    let owner = request.owner.of(&caller)?;
    let wanted = request.parse()?;
    let most = match owner {
        IntegrationOwner::Account(_) => Office::most_integrations(office.hooks.policy().tiers.get(&caller.0.tier)),
        // What is a tenant's is bounded by what it has bought, whoever gives it.
        IntegrationOwner::Tenant(tenant) => Office::most_integrations(tier_of(&office, tenant).await?.1.as_ref()),
    };
    let id = IntegrationId::new(Uuid::now_v7());
    trail::about(id.uuid());
    trail::detail("service", wanted.service.as_str());
    let new = NewIntegration {
        id,
        owner,
        service: &wanted.service,
        name: wanted.name.as_deref(),
        key: &wanted.key,
        most,
        now: office.now(),
    };
    match office.store.create_integration(office.seal(), new).await? {
        MadeIntegration::Made(record) => Ok((StatusCode::CREATED, Json(record.into()))),
        MadeIntegration::Taken => {
            Err(ApiError::Conflict("There is an integration of this service already; change or delete it."))
        }
        MadeIntegration::TooMany => Err(ApiError::TooManyIntegrations(most)),
    }
}

// === impl CreateIntegration ===

impl CreateIntegration {
    fn parse(self) -> Result<Wanted, ApiError> {
        let mut form = Form::default();
        if !is_service(&self.service) {
            form.fault("service", "must be 1 to 64 of a-z, 0-9, _ and -");
        }
        let key = form.parsed("api_key", ProviderKey::parse(self.api_key.expose()));
        let name = self.name.and_then(|name| form.name("name", &name));
        form.finish(key.map(|key| Wanted { service: self.service, key, name }))
    }
}
