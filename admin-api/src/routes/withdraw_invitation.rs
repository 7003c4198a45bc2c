//! `DELETE /tenants/{id}/invitations/{invitation_id}`: an invitation is taken back.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use uuid::Uuid;

use crate::{
    caller::{Allowed, ManageTenants},
    error::{ApiError, OrMissing},
    office::Office,
    tenant::Reach,
    trail,
};

pub(super) const NO_INVITATION: ApiError = ApiError::NotFound("invitation");

/// Takes an invitation back. For administrators of the organisation; what is to make somebody an owner only owners take back.
#[utoipa::path(
    delete, path = "/tenants/{id}/invitations/{invitation_id}", tag = "tenants",
    security(("access_token" = []), ("api_key" = [])),
    params(
        ("id" = String, Path, description = "The organisation's id"),
        ("invitation_id" = String, Path, description = "The invitation's id"),
    ),
    responses(
        (status = 204, description = "It cannot be accepted any more"),
        (status = 403, description = "`forbidden`: the caller does not administer it, or only owners may take this one back; `tenant_disabled`"),
        (status = 404, description = "`not_found`: no such organisation of the caller's, or no such invitation"),
    )
)]
pub(crate) async fn withdraw_invitation(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageTenants>,
    Path((id, invitation)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let (tenant, _) = office.tenant_named(&caller, &id, Reach::Administer).await?;
    let invitation: Uuid = invitation.parse().map_err(|_| NO_INVITATION)?;
    trail::about(invitation);
    office.store.withdraw_invitation(tenant.id, invitation, caller.0.account).await.or_missing(NO_INVITATION)?;
    Ok(StatusCode::NO_CONTENT)
}
