//! `POST /auth/identities/{id}/allow`: an issuer that was refused by unlinking it may link to the account again, where it may by its own word.

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

/// Takes the refusal of an issuer back; nothing is linked by that. Unless the session has begun within five minutes, something shows that it is
/// the owner who asks.
#[utoipa::path(
    post, path = "/auth/identities/{id}/allow", tag = "auth", request_body = Proof, security(("access_token" = [])),
    params(("id" = String, Path, description = "The id of the link that was taken away")),
    responses(
        (status = 204, description = "It is refused no more"),
        (status = 401, description = "`insufficient_user_authentication`: the session is not fresh, and nothing was shown"),
        (status = 403, description = "`wrong_proof`: the password or code is wrong; `session_required`: an API key cannot do this"),
        (status = 404, description = "`not_found`: the caller has refused no such issuer"),
        (status = 429, description = "`login_locked`: too many wrong passwords or codes; see `Retry-After`"),
        (status = 503, description = "`busy`: too many passwords or codes are being checked; see `Retry-After`"),
    )
)]
pub(crate) async fn allow_issuer(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageAccount>,
    Path(id): Path<String>,
    visitor: Visitor,
    BodyOrNothing(proof): BodyOrNothing<Proof>,
) -> Result<StatusCode, ApiError> {
    oauth::allow(&office, &visitor, &caller, &id, &proof).await.map(|()| StatusCode::NO_CONTENT)
}
