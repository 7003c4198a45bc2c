//! `POST /tenants`: another organisation, for which the caller answers. A name that is taken makes another one all the same: nobody gets
//! into an organisation by knowing what it is called.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use identity::TenantRole;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    body::Body,
    caller::{Allowed, ManageTenants},
    error::ApiError,
    form::Form,
    office::Office,
    tenant::TenantShape,
    trail,
};

/// Organisations for which one account may answer.
const MOST: u32 = 20;

/// What it shall be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateTenant {
    /// 100 characters at most.
    #[schema(max_length = 100)]
    name: String,
}

/// Founds an organisation.
#[utoipa::path(
    post, path = "/tenants", tag = "tenants", request_body = CreateTenant, security(("access_token" = [])),
    responses(
        (status = 201, description = "The organisation; `POST /auth/switch-tenant` acts in it, and whoever acts in none does so at once", body = TenantShape),
        (status = 403, description = "`session_required`: a key acts in its own organisation and founds none"),
        (status = 409, description = "`too_many_tenants`: an account may answer for 20"),
    )
)]
pub(crate) async fn create_tenant(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageTenants>,
    Body(request): Body<CreateTenant>,
) -> Result<(StatusCode, Json<TenantShape>), ApiError> {
    if caller.0.grant.is_for_one_tenant() {
        return Err(ApiError::SessionNeeded);
    }
    let mut form = Form::default();
    let name = form.name("name", &request.name);
    let name = form.finish(name)?;
    let tenant = office.store.create_tenant(&name, caller.0.account, MOST, office.now()).await?;
    trail::about(tenant.id.uuid());
    Ok((StatusCode::CREATED, Json(TenantShape::of(tenant, Some(TenantRole::Owner)))))
}
