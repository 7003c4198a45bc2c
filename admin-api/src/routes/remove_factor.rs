//! `DELETE /auth/mfa/{id}`: a second factor is none any more; with the last one the recovery codes go. The account's other
//! sessions end, and the owner is told by mail.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use identity::FactorId;

use crate::{
    body::BodyOrNothing,
    caller::{Allowed, Caller, ManageAccount},
    error::{ApiError, OrMissing},
    mail::Letter,
    office::Office,
    proof::{Proof, Proved},
    visitor::Visitor,
};

pub(crate) const NO_FACTOR: ApiError = ApiError::NotFound("second factor");

/// Removes a second factor. Unless the session has begun within five minutes, something shows that it is the owner who asks.
#[utoipa::path(
    delete, path = "/auth/mfa/{id}", tag = "auth", request_body = Proof, security(("access_token" = [])),
    params(("id" = String, Path, description = "The factor's id")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 401, description = "`insufficient_user_authentication`: the session is not fresh, and nothing was shown"),
        (status = 403, description = "`wrong_proof`: the password or code is wrong; `session_required`: an API key cannot do this"),
        (status = 404, description = "`not_found`: the caller has no such factor"),
        (status = 429, description = "`login_locked`: too many wrong passwords or codes; see `Retry-After`"),
        (status = 503, description = "`busy`: too many passwords or codes are being checked; see `Retry-After`"),
    )
)]
pub(crate) async fn remove_factor(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageAccount>,
    Path(id): Path<String>,
    visitor: Visitor,
    BodyOrNothing(proof): BodyOrNothing<Proof>,
) -> Result<StatusCode, ApiError> {
    remove(&office, &caller, &visitor, &id, &proof).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes, for programs and for the page alike.
pub(crate) async fn remove(
    office: &Office,
    caller: &Caller,
    visitor: &Visitor,
    id: &str,
    proof: &Proof,
) -> Result<(), ApiError> {
    let id: FactorId = id.parse().map_err(|_| NO_FACTOR)?;
    let Proved { account, session, .. } = proof.by(caller, visitor, office).await?;
    let email = account.address()?;
    let notice = office.notice(Letter::FactorRemoved, &account, email.normalised());
    // Somebody else's factor is no factor.
    office.store.remove_factor(account.id, id, session, &notice, office.now()).await.or_missing(NO_FACTOR)?;
    office.has_posted();
    Ok(())
}
