//! `POST /domains`: a new domain of the caller's organisation.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use store::NewDomain;
use utoipa::ToSchema;

use crate::{
    body::Body,
    caller::Allowed,
    error::ApiError,
    form::Form,
    group::{Domain, ManageTeams},
    office::Office,
    trail,
};

/// What the domain shall be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateDomain {
    /// The organisation's own: no other of its domains has it, however it is written. 64 letters, digits, `_`, `-` and `.` at most.
    #[schema(max_length = 64)]
    key: String,
    /// 100 characters at most. Left out: the key.
    #[schema(max_length = 100)]
    name: Option<String>,
    /// The domain in which it lies.
    parent_domain_id: Option<String>,
    /// `true` by default.
    is_active: Option<bool>,
}

/// Makes a domain. For administrators of the organisation.
#[utoipa::path(
    post, path = "/domains", tag = "teams", request_body = CreateDomain, security(("access_token" = []), ("api_key" = [])),
    responses(
        (status = 201, description = "The domain", body = Domain),
        (status = 403, description = "`forbidden`: the caller does not administer the organisation"),
        (status = 409, description = "`conflict`: there is a domain of this key, or none of the parent's id; `no_tenant`: the caller acts in no organisation"),
    )
)]
pub(crate) async fn create_domain(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageTeams>,
    Body(request): Body<CreateDomain>,
) -> Result<(StatusCode, Json<Domain>), ApiError> {
    caller.demand_tenant_admin()?;
    let domain = office.store.create_domain(caller.tenant()?, request.parse()?, office.now()).await?;
    trail::about(domain.id);
    Ok((StatusCode::CREATED, Json(domain.into())))
}

// === impl CreateDomain ===

impl CreateDomain {
    fn parse(self) -> Result<NewDomain, ApiError> {
        let mut form = Form::default();
        let key = form.domain_key(&self.key);
        let name = form.name("name", self.name.as_deref().unwrap_or(&self.key));
        let parent = self.parent_domain_id.and_then(|id| form.id("parent_domain_id", &id));
        let is_active = self.is_active.unwrap_or(true);
        form.finish(key.zip(name).map(|(key, name)| NewDomain { key, name, parent, is_active }))
    }
}
