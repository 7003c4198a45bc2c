//! `POST /auth/invitations/{id}/accept`: somebody who was asked to belong to an organisation says yes. Only whoever has the address that was
//! asked, confirmed, and is logged in; no key can.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use store::{Invitation, StoreError};
use uuid::Uuid;

use super::{invite_member::InvitationShape, withdraw_invitation::NO_INVITATION};
use crate::{
    caller::{Allowed, Caller, ManageTenants},
    error::ApiError,
    office::Office,
    trail,
};

/// Says yes. Needs no body.
#[utoipa::path(
    post, path = "/auth/invitations/{id}/accept", tag = "tenants", security(("access_token" = [])),
    params(("id" = String, Path, description = "The invitation's id")),
    responses(
        (status = 200, description = "The caller belongs to it; `POST /auth/switch-tenant` acts in it", body = InvitationShape),
        (status = 403, description = "`session_required`: a key cannot; `email_unverified`: the caller's address is not confirmed here"),
        (status = 404, description = "`not_found`: none of that id is for the caller's address, or it is over"),
    )
)]
pub(crate) async fn accept_invitation(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageTenants>,
    Path(id): Path<String>,
) -> Result<Json<InvitationShape>, ApiError> {
    answer(&office, &caller, &id, true).await.map(|invitation| Json(invitation.into()))
}

/// Says yes or no, for programs and for the page alike.
pub(crate) async fn answer(office: &Office, caller: &Caller, id: &str, accepts: bool) -> Result<Invitation, ApiError> {
    if caller.0.grant.is_for_one_tenant() {
        return Err(ApiError::SessionNeeded);
    }
    let id: Uuid = id.parse().map_err(|_| NO_INVITATION)?;
    let invitation = match office.store.answer_invitation(caller.0.account, id, accepts, office.now()).await {
        Err(StoreError::NotFound) => return Err(why_none(office, caller).await?),
        answered => answered?,
    };
    trail::about(caller.0.account.uuid());
    trail::detail("tenant", invitation.tenant.to_string());
    trail::detail("role", invitation.role.word());
    trail::detail("invitation", invitation.id.to_string());
    Ok(invitation)
}

/// Who has not confirmed an address is told so, whatever there is for it: for all that is known it is somebody else's.
async fn why_none(office: &Office, caller: &Caller) -> Result<ApiError, ApiError> {
    let account = office.store.account(caller.0.account).await?.ok_or(ApiError::CallerGone)?;
    Ok(if account.is_verified { NO_INVITATION } else { ApiError::AddressUnconfirmed })
}
