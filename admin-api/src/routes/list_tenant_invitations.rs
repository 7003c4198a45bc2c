//! `GET /tenants/{id}/invitations`: who has been asked to belong to an organisation and has not answered.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::Uri,
};
use serde::Serialize;
use store::{Invitation, Page};
use utoipa::ToSchema;

use super::invite_member::InvitationShape;
use crate::{
    caller::{Allowed, ManageTenants},
    error::ApiError,
    office::Office,
    paging::Paging,
    tenant::Reach,
};

/// A page of invitations.
#[derive(Serialize, ToSchema)]
pub(crate) struct Invitations {
    items: Vec<InvitationShape>,
    /// Give it as `cursor` for the next page; `null` on the last.
    next_cursor: Option<String>,
}

/// An organisation's invitations, the newest first. For its administrators.
#[utoipa::path(
    get, path = "/tenants/{id}/invitations", tag = "tenants", security(("access_token" = []), ("api_key" = [])),
    params(
        ("id" = String, Path, description = "The organisation's id"),
        ("cursor" = Option<String>, Query, description = "Where the page before this one ended: its `next_cursor`"),
        ("limit" = Option<u32>, Query, description = "Invitations on the page, 1 to 200; 200 by default", minimum = 1, maximum = 200),
    ),
    responses(
        (status = 200, description = "Invitations that can be accepted", body = Invitations),
        (status = 403, description = "`forbidden`: the caller does not administer it; `tenant_disabled`"),
        (status = 404, description = "`not_found`: the caller belongs to none of that id"),
    )
)]
pub(crate) async fn list_tenant_invitations(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageTenants>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Json<Invitations>, ApiError> {
    let paging = Paging::read_of_whole(&uri)?;
    let (tenant, _) = office.tenant_named(&caller, &id, Reach::Administer).await?;
    let page = office.store.invitations_of(tenant.id, office.now(), paging.after, paging.limit).await?;
    Ok(Json(page.into()))
}

// === impl Invitations ===

impl From<Page<Invitation>> for Invitations {
    fn from(page: Page<Invitation>) -> Self {
        Self {
            items: page.items.into_iter().map(InvitationShape::from).collect(),
            next_cursor: page.next.map(|cursor| cursor.to_string()),
        }
    }
}
