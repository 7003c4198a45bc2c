//! `DELETE /auth/sessions`: every session of the caller's ends but the one that asks, whose owner shows that it is they.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    body::BodyOrNothing,
    caller::{Allowed, Caller, ManageAccount},
    error::ApiError,
    office::Office,
    proof::Proof,
    visitor::Visitor,
};

/// What has ended.
#[derive(Serialize, ToSchema)]
pub(crate) struct Ended {
    /// How many sessions.
    ended: usize,
}

/// Ends the caller's other sessions. Unless the session has begun within five minutes, something shows that it is the owner who asks.
#[utoipa::path(
    delete, path = "/auth/sessions", tag = "auth", request_body = Proof, security(("access_token" = [])),
    responses(
        (status = 200, description = "They have ended", body = Ended),
        (status = 401, description = "`insufficient_user_authentication`: the session is not fresh, and nothing was shown"),
        (status = 403, description = "`wrong_proof`: the password or code is wrong; `session_required`: an API key cannot do this"),
        (status = 429, description = "`login_locked`: too many wrong passwords or codes; see `Retry-After`"),
        (status = 503, description = "`busy`: too many passwords or codes are being checked; see `Retry-After`"),
    )
)]
pub(crate) async fn end_other_sessions(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageAccount>,
    visitor: Visitor,
    BodyOrNothing(proof): BodyOrNothing<Proof>,
) -> Result<Json<Ended>, ApiError> {
    Ok(Json(Ended { ended: end_others(&office, &visitor, &caller, &proof).await? }))
}

/// Ends the caller's other sessions; says how many.
pub(crate) async fn end_others(
    office: &Office,
    visitor: &Visitor,
    caller: &Caller,
    proof: &Proof,
) -> Result<usize, ApiError> {
    let proved = proof.by(caller, visitor, office).await?;
    Ok(office.store.end_sessions_but(proved.account.id, Some(proved.session), office.now()).await?)
}
