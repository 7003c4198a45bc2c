//! `GET /tenants/{id}/invitations`: who has been asked to belong to an organisation and has not answered.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::invite_member::InvitationShape;
use crate::{
    caller::{Allowed, ManageTenants},
    error::ApiError,
    office::Office,
    tenant::Reach,
};

/// All of them.
#[derive(Serialize, ToSchema)]
pub(crate) struct Invitations {
    pub(super) items: Vec<InvitationShape>,
}

/// An organisation's invitations, the newest first. For its administrators.
#[utoipa::path(
    get, path = "/tenants/{id}/invitations", tag = "tenants", security(("access_token" = []), ("api_key" = [])),
    params(("id" = String, Path, description = "The organisation's id")),
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
) -> Result<Json<Invitations>, ApiError> {
    let (tenant, _) = office.tenant_named(&caller, &id, Reach::Administer).await?;
    let invitations = office.store.invitations_of(tenant.id, office.now()).await?;
    Ok(Json(Invitations { items: invitations.into_iter().map(InvitationShape::from).collect() }))
}
