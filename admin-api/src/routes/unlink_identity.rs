//! `DELETE /auth/identities/{id}`: somebody at a login provider, or an issuer's tokens of somebody, are let in no more. The owner is told by mail,
//! and every other session ends.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
};

use crate::{
    body::BodyOrNothing,
    caller::{Allowed, ManageAccount},
    error::ApiError,
    oauth,
    office::Office,
    proof::Proof,
    visitor::Visitor,
};

/// Unlinks an identity. An issuer whose tokens are believed is refused from then on, and does not link again by its own word. Unless the session has begun within five minutes, something shows that it is the owner who asks.
#[utoipa::path(
    delete, path = "/auth/identities/{id}", tag = "auth", request_body = Proof, security(("access_token" = [])),
    params(("id" = String, Path, description = "The identity's id")),
    responses(
        (status = 204, description = "It is no way in any more, and every other session has ended"),
        (status = 401, description = "`insufficient_user_authentication`: the session is not fresh, and nothing was shown"),
        (status = 403, description = "`wrong_proof`: the password or code is wrong; `session_required`: an API key cannot do this"),
        (status = 404, description = "`not_found`: the caller has no such identity"),
        (status = 409, description = "`last_way_in`: the account has no password and no other identity; of a login provider's, no other one at which people log in"),
        (status = 429, description = "`login_locked`: too many wrong passwords or codes; see `Retry-After`"),
        (status = 503, description = "`busy`: too many passwords or codes are being checked; see `Retry-After`"),
    )
)]
pub(crate) async fn unlink_identity(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageAccount>,
    Path(id): Path<String>,
    visitor: Visitor,
    BodyOrNothing(proof): BodyOrNothing<Proof>,
) -> Result<StatusCode, ApiError> {
    oauth::unlink(&office, &visitor, &caller, &id, &proof).await.map(|()| StatusCode::NO_CONTENT)
}
