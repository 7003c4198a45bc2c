//! `PATCH /tenants/{id}`: what an organisation is called. What it may do is the platform's to say (`PATCH /admin/tenants/{id}`).

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use serde::Deserialize;
use store::TenantChange;
use utoipa::ToSchema;

use crate::{
    body::Body,
    caller::{Allowed, ManageTenants},
    error::ApiError,
    form::Form,
    office::Office,
    tenant::{Reach, TenantShape},
};

/// What shall change.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeTenant {
    /// 100 characters at most.
    #[schema(max_length = 100)]
    name: String,
}

/// Renames an organisation. For its administrators.
#[utoipa::path(
    patch, path = "/tenants/{id}", tag = "tenants", request_body = ChangeTenant,
    security(("access_token" = []), ("api_key" = [])),
    params(("id" = String, Path, description = "The organisation's id")),
    responses(
        (status = 200, description = "The organisation as it is now", body = TenantShape),
        (status = 403, description = "`forbidden`: the caller does not administer it; `tenant_disabled`"),
        (status = 404, description = "`not_found`: the caller belongs to none of that id"),
    )
)]
pub(crate) async fn change_tenant(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageTenants>,
    Path(id): Path<String>,
    Body(request): Body<ChangeTenant>,
) -> Result<Json<TenantShape>, ApiError> {
    let (tenant, role) = office.tenant_named(&caller, &id, Reach::Administer).await?;
    let mut form = Form::default();
    let name = form.name("name", &request.name);
    let change = TenantChange { name: Some(form.finish(name)?), ..TenantChange::default() };
    let tenant = office.store.change_tenant(tenant.id, change, office.now()).await?;
    Ok(Json(TenantShape::of(tenant, role)))
}
