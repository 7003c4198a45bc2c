//! `PATCH /domains/{id}`: a domain of the caller's organisation gets another key, name or place, or goes out of use.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use serde::Deserialize;
use store::DomainChange;
use utoipa::ToSchema;

use crate::{
    body::Body,
    caller::Allowed,
    error::ApiError,
    form::Form,
    group::{Domain, ManageTeams, id_in_path, missing},
    office::Office,
};

/// What shall change; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeDomain {
    #[schema(max_length = 64)]
    key: Option<String>,
    #[schema(max_length = 100)]
    name: Option<String>,
    /// The domain in which it lies from now on, never itself or one within it; `null`: in none.
    #[serde(default, deserialize_with = "super::update_me::present")]
    #[schema(value_type = Option<String>)]
    #[expect(clippy::option_option, reason = "left out is not the same as null")]
    parent_domain_id: Option<Option<String>>,
    is_active: Option<bool>,
}

/// Changes a domain. For administrators of the organisation.
#[utoipa::path(
    patch, path = "/domains/{id}", tag = "teams", request_body = ChangeDomain, security(("access_token" = []), ("api_key" = [])),
    params(("id" = String, Path, description = "The domain's id")),
    responses(
        (status = 200, description = "The domain as it is now", body = Domain),
        (status = 403, description = "`forbidden`: the caller does not administer the organisation"),
        (status = 404, description = "`not_found`: the organisation has no such domain"),
        (status = 409, description = "`conflict`: another domain has this key; there is no such parent; or it would lie within itself"),
    )
)]
pub(crate) async fn change_domain(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageTeams>,
    Path(id): Path<String>,
    Body(request): Body<ChangeDomain>,
) -> Result<Json<Domain>, ApiError> {
    caller.demand_tenant_admin()?;
    let (id, tenant) = (id_in_path("domain", &id)?, caller.tenant()?);
    office.store.change_domain(tenant, id, request.parse()?, office.now()).await.map_err(missing("domain"))?;
    let domain = office.store.domain(tenant, id).await?.ok_or(ApiError::NotFound("domain"))?;
    Ok(Json(domain.into()))
}

// === impl ChangeDomain ===

impl ChangeDomain {
    fn parse(self) -> Result<DomainChange, ApiError> {
        let mut form = Form::default();
        let key = self.key.and_then(|key| form.domain_key(&key));
        let name = self.name.and_then(|name| form.name("name", &name));
        let parent = self.parent_domain_id.map(|id| id.and_then(|id| form.id("parent_domain_id", &id)));
        form.finish(Some(DomainChange { key, name, parent, is_active: self.is_active }))
    }
}
