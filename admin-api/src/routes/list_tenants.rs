//! `GET /tenants`: the organisations to which the caller belongs. A key sees the one for which it was made.

use std::sync::Arc;

use axum::{Json, extract::State};
use identity::Grant;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    caller::{Allowed, ManageTenants},
    error::ApiError,
    office::Office,
    tenant::TenantShape,
};

/// All of them.
#[derive(Serialize, ToSchema)]
pub(crate) struct Tenants {
    items: Vec<TenantShape>,
}

/// The caller's organisations, the oldest first.
#[utoipa::path(
    get, path = "/tenants", tag = "tenants", security(("access_token" = []), ("api_key" = [])),
    responses((status = 200, description = "The organisations to which the caller belongs", body = Tenants))
)]
pub(crate) async fn list_tenants(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageTenants>,
) -> Result<Json<Tenants>, ApiError> {
    let mut tenants = office.store.tenants_of(caller.0.account).await?;
    if matches!(caller.0.grant, Grant::Key(_)) {
        tenants.retain(|(tenant, _)| Some(tenant.id) == caller.0.tenant);
    }
    let items = tenants.into_iter().map(|(tenant, role)| TenantShape::of(tenant, Some(role))).collect();
    Ok(Json(Tenants { items }))
}
