//! `DELETE /auth/sessions/{id}`: one of the caller's sessions ends; its tokens are refused from then on. Another one than that which asks is
//! ended only by its owner, who shows that it is they: whoever has found a session open must not lock the owner out of all others.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use identity::SessionId;

use crate::{
    body::BodyOrNothing,
    caller::{Allowed, Caller, ManageAccount},
    error::{ApiError, OrMissing},
    office::Office,
    proof::Proof,
    visitor::Visitor,
};

const NO_SESSION: ApiError = ApiError::NotFound("session");

/// Ends one of the caller's sessions. Another one than that which asks, unless that has begun within five minutes, is ended by whoever shows
/// that it is the owner who asks.
#[utoipa::path(
    delete, path = "/auth/sessions/{id}", tag = "auth", request_body = Proof, security(("access_token" = [])),
    params(("id" = String, Path, description = "The session's id")),
    responses(
        (status = 204, description = "It has ended"),
        (status = 401, description = "`insufficient_user_authentication`: the session is not fresh, and nothing was shown"),
        (status = 403, description = "`wrong_proof`: the password or code is wrong; `session_required`: an API key cannot do this"),
        (status = 404, description = "`not_found`: the caller has no such session"),
        (status = 429, description = "`login_locked`: too many wrong passwords or codes; see `Retry-After`"),
        (status = 503, description = "`busy`: too many passwords or codes are being checked; see `Retry-After`"),
    )
)]
pub(crate) async fn end_session(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageAccount>,
    Path(id): Path<String>,
    visitor: Visitor,
    BodyOrNothing(proof): BodyOrNothing<Proof>,
) -> Result<StatusCode, ApiError> {
    end(&office, &visitor, &caller, &id, &proof).await.map(|()| StatusCode::NO_CONTENT)
}

/// Ends a session of the caller's that a path names.
pub(crate) async fn end(
    office: &Office,
    visitor: &Visitor,
    caller: &Caller,
    id: &str,
    proof: &Proof,
) -> Result<(), ApiError> {
    let id: SessionId = id.parse().map_err(|_| NO_SESSION)?;
    if caller.0.grant.session() != Some(id) {
        proof.by(caller, visitor, office).await?;
    }
    // Somebody else's session is no session.
    office.store.end_session_of(caller.0.account, id, office.now()).await.or_missing(NO_SESSION)
}
