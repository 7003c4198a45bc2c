//! `GET /auth/invitations`: which organisations have asked the caller to belong to them. Only a confirmed address is asked.

use std::sync::Arc;

use axum::{Json, extract::State, http::Uri};

use super::list_tenant_invitations::Invitations;
use crate::{
    caller::{Allowed, ManageTenants},
    error::ApiError,
    office::Office,
    paging::Paging,
};

/// Invitations for the caller's confirmed address, the newest first.
#[utoipa::path(
    get, path = "/auth/invitations", tag = "tenants", security(("access_token" = []), ("api_key" = [])),
    params(
        ("cursor" = Option<String>, Query, description = "Where the page before this one ended: its `next_cursor`"),
        ("limit" = Option<u32>, Query, description = "Invitations on the page, 1 to 200; 200 by default", minimum = 1, maximum = 200),
    ),
    responses((status = 200, description = "Invitations that can be accepted", body = Invitations))
)]
pub(crate) async fn list_invitations(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageTenants>,
    uri: Uri,
) -> Result<Json<Invitations>, ApiError> {
    let Paging { after, limit } = Paging::read_of_whole(&uri)?;
    let page = office.store.invitations_for(caller.0.account, office.now(), after, limit).await?;
    Ok(Json(page.into()))
}
