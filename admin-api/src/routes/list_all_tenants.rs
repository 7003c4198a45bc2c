//! `GET /admin/tenants`: every organisation, page by page, for administrators.

use std::sync::Arc;

use axum::{Json, extract::State, http::Uri};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    caller::{Allowed, GovernTenants},
    error::ApiError,
    office::Office,
    paging::Paging,
    tenant::TenantShape,
};

/// A page of organisations.
#[derive(Serialize, ToSchema)]
pub(crate) struct AllTenants {
    items: Vec<TenantShape>,
    /// Give it as `cursor` for the next page; `null` on the last.
    next_cursor: Option<String>,
}

/// Lists organisations. For administrators.
#[utoipa::path(
    get, path = "/admin/tenants", tag = "administration", security(("access_token" = []), ("api_key" = [])),
    params(
        ("cursor" = Option<String>, Query, description = "Where the page before this one ended: its `next_cursor`"),
        ("limit" = Option<u32>, Query, description = "Organisations on the page, 1 to 200; 50 by default", minimum = 1, maximum = 200),
    ),
    responses(
        (status = 200, description = "A page", body = AllTenants),
        (status = 403, description = "`forbidden`: the caller may not govern organisations"),
    )
)]
pub(crate) async fn list_all_tenants(
    State(office): State<Arc<Office>>,
    _: Allowed<GovernTenants>,
    uri: Uri,
) -> Result<Json<AllTenants>, ApiError> {
    let paging = Paging::read(&uri)?;
    let page = office.store.list_tenants(paging.after, paging.limit).await?;
    Ok(Json(AllTenants {
        items: page.items.into_iter().map(|tenant| TenantShape::of(tenant, None)).collect(),
        next_cursor: page.next.map(|cursor| cursor.to_string()),
    }))
}
