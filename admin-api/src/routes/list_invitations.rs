//! `GET /auth/invitations`: which organisations have asked the caller to belong to them. Only a confirmed address is asked.

use std::sync::Arc;

use axum::{Json, extract::State};

use super::{invite_member::InvitationShape, list_tenant_invitations::Invitations};
use crate::{
    caller::{Allowed, ManageTenants},
    error::ApiError,
    office::Office,
};

/// Invitations for the caller's confirmed address, the newest first.
#[utoipa::path(
    get, path = "/auth/invitations", tag = "tenants", security(("access_token" = []), ("api_key" = [])),
    responses((status = 200, description = "Invitations that can be accepted", body = Invitations))
)]
pub(crate) async fn list_invitations(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageTenants>,
) -> Result<Json<Invitations>, ApiError> {
    let invitations = office.store.invitations_for(caller.0.account, office.now()).await?;
    Ok(Json(Invitations { items: invitations.into_iter().map(InvitationShape::from).collect() }))
}
