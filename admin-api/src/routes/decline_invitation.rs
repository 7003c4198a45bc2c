//! `DELETE /auth/invitations/{id}`: somebody who was asked to belong to an organisation says no.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
};

use super::accept_invitation::answer;
use crate::{
    caller::{Allowed, ManageTenants},
    error::ApiError,
    office::Office,
};

/// Says no.
#[utoipa::path(
    delete, path = "/auth/invitations/{id}", tag = "tenants", security(("access_token" = [])),
    params(("id" = String, Path, description = "The invitation's id")),
    responses(
        (status = 204, description = "The invitation is gone"),
        (status = 403, description = "`session_required`: a key cannot; `email_unverified`: the caller's address is not confirmed here"),
        (status = 404, description = "`not_found`: none of that id is for the caller's address, or it is over"),
    )
)]
pub(crate) async fn decline_invitation(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageTenants>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    answer(&office, &caller, &id, false).await.map(|_| StatusCode::NO_CONTENT)
}
