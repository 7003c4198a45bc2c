//! `GET /admin/tenants/{id}`: one organisation, for administrators, whether or not they belong to it.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use identity::TenantId;

use crate::{
    caller::{Allowed, GovernTenants},
    error::ApiError,
    office::Office,
    tenant::{NO_TENANT, TenantShape},
};

/// One organisation. For administrators.
#[utoipa::path(
    get, path = "/admin/tenants/{id}", tag = "administration", security(("access_token" = []), ("api_key" = [])),
    params(("id" = String, Path, description = "The organisation's id")),
    responses(
        (status = 200, description = "The organisation", body = TenantShape),
        (status = 403, description = "`forbidden`: the caller may not govern organisations"),
        (status = 404, description = "`not_found`: there is no such organisation"),
    )
)]
pub(crate) async fn see_tenant(
    State(office): State<Arc<Office>>,
    _: Allowed<GovernTenants>,
    Path(id): Path<String>,
) -> Result<Json<TenantShape>, ApiError> {
    let id: TenantId = id.parse().map_err(|_| NO_TENANT)?;
    let tenant = office.store.tenant(id).await?.ok_or(NO_TENANT)?;
    Ok(Json(TenantShape::of(tenant, None)))
}
