//! `DELETE /auth/me`: an account is deleted by its owner, with everything that is theirs. What they did stays in the audit trail under an
//! id that names nobody any more.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};

use crate::{
    body::BodyOrNothing,
    caller::{Allowed, ManageAccount},
    error::ApiError,
    office::Office,
    proof::Proof,
    visitor::Visitor,
};

/// Deletes the caller's account. Nothing of it can be brought back.
#[utoipa::path(
    delete, path = "/auth/me", tag = "auth", request_body = Proof, security(("access_token" = [])),
    responses(
        (status = 204, description = "It is gone, and so are its sessions and keys"),
        (status = 401, description = "`insufficient_user_authentication`: the session is not fresh, and nothing was shown"),
        (status = 403, description = "`wrong_proof`: the password or code is wrong; `session_required`: an API key cannot do this"),
        (status = 409, description = "`conflict`: nobody else administers the platform, or the account was changed at the same moment; `last_owner`: nobody would answer for an organisation of others"),
        (status = 429, description = "`login_locked`: too many wrong passwords or codes; see `Retry-After`"),
        (status = 503, description = "`busy`: too many passwords or codes are being checked; see `Retry-After`"),
    )
)]
pub(crate) async fn delete_me(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageAccount>,
    visitor: Visitor,
    BodyOrNothing(proof): BodyOrNothing<Proof>,
) -> Result<StatusCode, ApiError> {
    let account = proof.by(&caller, &visitor, &office).await?.account;
    office.store.delete_account(account.id, None, office.now()).await?;
    Ok(StatusCode::NO_CONTENT)
}
