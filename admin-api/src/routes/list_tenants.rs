//! `GET /tenants`: the organisations to which the caller belongs. A key sees the one for which it was made.

use std::sync::Arc;

use axum::{Json, extract::State, http::Uri};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    caller::{Allowed, ManageTenants},
    error::ApiError,
    office::Office,
    paging::Paging,
    tenant::TenantShape,
};

/// A page of organisations.
#[derive(Serialize, ToSchema)]
pub(crate) struct Tenants {
    items: Vec<TenantShape>,
    /// Give it as `cursor` for the next page; `null` on the last.
    next_cursor: Option<String>,
}

/// The caller's organisations, the oldest first.
#[utoipa::path(
    get, path = "/tenants", tag = "tenants", security(("access_token" = []), ("api_key" = [])),
    params(
        ("cursor" = Option<String>, Query, description = "Where the page before this one ended: its `next_cursor`"),
        ("limit" = Option<u32>, Query, description = "Organisations on the page, 1 to 200; 200 by default", minimum = 1, maximum = 200),
    ),
    responses((status = 200, description = "The organisations to which the caller belongs", body = Tenants))
)]
pub(crate) async fn list_tenants(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageTenants>,
    uri: Uri,
) -> Result<Json<Tenants>, ApiError> {
    let Paging { after, limit } = Paging::read_of_whole(&uri)?;
    let only = if caller.0.grant.is_for_one_tenant() {
        // A key that was made for none sees none.
        let Some(own) = caller.0.tenant else { return Ok(Json(Tenants { items: Vec::new(), next_cursor: None })) };
        Some(own)
    } else {
        None
    };
    let page = office.store.list_tenants_of(caller.0.account, only, after, limit).await?;
    Ok(Json(Tenants {
        items: page.items.into_iter().map(|(tenant, role)| TenantShape::of(tenant, Some(role))).collect(),
        next_cursor: page.next.map(|cursor| cursor.to_string()),
    }))
}
