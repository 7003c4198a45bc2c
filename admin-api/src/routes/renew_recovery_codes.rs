//! `POST /auth/mfa/recovery-codes`: ten new ones; those before are worth nothing from then on. The owner is told by mail.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    body::BodyOrNothing,
    caller::{Allowed, Caller, ManageAccount},
    error::{ApiError, OrMissing},
    mail::Letter,
    office::Office,
    proof::Proof,
    second_factor::fresh_recovery_codes,
    visitor::Visitor,
};

/// What somebody writes down.
#[derive(Serialize, ToSchema)]
pub(crate) struct RecoveryCodes {
    /// Each serves once, in the place of a code. Shown this once.
    recovery_codes: Vec<String>,
}

/// Makes new recovery codes. Unless the session has begun within five minutes, something shows that it is the owner who asks.
#[utoipa::path(
    post, path = "/auth/mfa/recovery-codes", tag = "auth", request_body = Proof, security(("access_token" = [])),
    responses(
        (status = 200, description = "The codes", body = RecoveryCodes),
        (status = 401, description = "`insufficient_user_authentication`: the session is not fresh, and nothing was shown"),
        (status = 403, description = "`wrong_proof`: the password or code is wrong; `session_required`: an API key cannot do this"),
        (status = 404, description = "`not_found`: there is no second factor that they could stand in for"),
        (status = 429, description = "`login_locked`: too many wrong passwords or codes; see `Retry-After`"),
        (status = 503, description = "`busy`: too many passwords or codes are being checked; see `Retry-After`"),
    )
)]
pub(crate) async fn renew_recovery_codes(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageAccount>,
    visitor: Visitor,
    BodyOrNothing(proof): BodyOrNothing<Proof>,
) -> Result<Json<RecoveryCodes>, ApiError> {
    Ok(Json(RecoveryCodes { recovery_codes: renew(&office, &caller, &visitor, &proof).await? }))
}

/// Makes new ones, for programs and for the page alike.
pub(crate) async fn renew(
    office: &Office,
    caller: &Caller,
    visitor: &Visitor,
    proof: &Proof,
) -> Result<Vec<String>, ApiError> {
    let account = proof.by(caller, visitor, office).await?.account;
    let email = account.address()?;
    let (recovery_codes, digests) = fresh_recovery_codes(account.id);
    let notice = office.notice(Letter::RecoveryCodesRenewed, &account, email.normalised());
    let renewed = office.store.renew_recovery_codes(account.id, &digests, &notice, office.now()).await;
    renewed.or_missing(ApiError::NotFound("second factor"))?;
    office.has_posted();
    Ok(recovery_codes)
}
