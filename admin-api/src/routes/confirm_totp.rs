//! `POST /auth/mfa/totp/confirm`: the authenticator has shown a code, and counts from now on. The owner is told by mail.

use std::sync::Arc;

use axum::{Json, extract::State, http::HeaderMap};
use chrono::TimeDelta;
use identity::SecretText;
use serde::Deserialize;
use store::FactorKind;
use utoipa::ToSchema;

use crate::{
    attempt::Attempt,
    body::Body,
    caller::{Allowed, Caller, ManageAccount},
    error::ApiError,
    office::Office,
    proof::{Proof, session_of},
    second_factor::{self, Counting},
    visitor::Visitor,
};

const NOTHING_BEGUN: ApiError = ApiError::NotFound("authenticator to confirm");

/// What the authenticator shows.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfirmTotp {
    #[schema(value_type = String, format = Password, example = "123456")]
    code: SecretText,
    /// Shows that it is the owner, unless the session has begun within five minutes.
    #[serde(default)]
    proof: Proof,
}

/// Adds the authenticator. From now on a login asks for its code.
#[utoipa::path(
    post, path = "/auth/mfa/totp/confirm", tag = "auth", request_body = ConfirmTotp, security(("access_token" = [])),
    responses(
        (status = 200, description = "It counts; the tokens of before have ended", body = Counting),
        (status = 401, description = "`insufficient_user_authentication`: the session is not fresh, and nothing was shown"),
        (status = 403, description = "`wrong_proof`: this is not what the authenticator shows now; `session_required`: an API key cannot do this"),
        (status = 404, description = "`not_found`: no authenticator has been begun within the hour"),
        (status = 429, description = "`login_locked`: too many wrong passwords or codes; see `Retry-After`"),
        (status = 503, description = "`busy`: too many passwords or codes are being checked; see `Retry-After`"),
    )
)]
pub(crate) async fn confirm_totp(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageAccount>,
    visitor: Visitor,
    Body(request): Body<ConfirmTotp>,
) -> Result<(HeaderMap, Json<Counting>), ApiError> {
    let (cookies, counting) = confirm(&office, &caller, &visitor, &request.code, &request.proof).await?;
    Ok((cookies, Json(counting)))
}

/// Confirms, for programs and for the page alike.
pub(crate) async fn confirm(
    office: &Office,
    caller: &Caller,
    visitor: &Visitor,
    code: &SecretText,
    proof: &Proof,
) -> Result<(HeaderMap, Counting), ApiError> {
    let (id, now) = (caller.0.account, office.now());
    session_of(caller)?;
    let pending = office.store.pending_factor(id, FactorKind::Totp, now - TimeDelta::hours(1)).await?;
    let pending = pending.ok_or(NOTHING_BEGUN)?;
    // As at the beginning: whoever has found the session open adds nothing by which to come back.
    let account = proof.by(caller, visitor, office).await?.account;
    let email = account.address()?;
    // The secret may have been shown to another session than this one, which then guesses.
    let attempt = Attempt::begin(office, visitor, &email).await?;
    let Some(step) = office.open_totp(&pending)?.step_of(code.expose(), office.settings.totp_skew, now) else {
        attempt.failed(office).await?;
        return Err(ApiError::WrongProof);
    };
    drop(attempt);
    let confirmed =
        second_factor::Confirmed { account: &account, factor: pending.id(), step, passkey: None, method: "otp" };
    match office.confirm_factor(caller, confirmed).await {
        Err(ApiError::NotFound(_)) => Err(NOTHING_BEGUN),
        done => done,
    }
}
