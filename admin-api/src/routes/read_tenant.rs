//! `GET /tenants/{id}`: one organisation, for its members.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};

use crate::{
    caller::{Allowed, ManageTenants},
    error::ApiError,
    office::Office,
    tenant::{Reach, TenantShape},
};

/// One of the caller's organisations.
#[utoipa::path(
    get, path = "/tenants/{id}", tag = "tenants", security(("access_token" = []), ("api_key" = [])),
    params(("id" = String, Path, description = "The organisation's id")),
    responses(
        (status = 200, description = "The organisation", body = TenantShape),
        (status = 404, description = "`not_found`: the caller belongs to none of that id"),
    )
)]
pub(crate) async fn read_tenant(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageTenants>,
    Path(id): Path<String>,
) -> Result<Json<TenantShape>, ApiError> {
    let (tenant, role) = office.tenant_named(&caller, &id, Reach::See).await?;
    Ok(Json(TenantShape::of(tenant, role)))
}
