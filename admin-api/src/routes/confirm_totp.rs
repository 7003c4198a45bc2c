//! `POST /auth/mfa/totp/confirm`: the authenticator has shown a code, and counts from now on. The owner is told by mail.

use std::sync::Arc;

use axum::{Json, extract::State, http::HeaderMap};
use chrono::TimeDelta;
use identity::{Email, SecretText};
use serde::{Deserialize, Serialize};
use store::{Confirmation, FactorKind, StoreError};
use utoipa::ToSchema;

use crate::{
    attempt::Attempt,
    body::Body,
    caller::{Allowed, ManageAccount},
    error::ApiError,
    mail::Letter,
    office::Office,
    proof::{session_of, with_method},
    second_factor::fresh_recovery_codes,
    visitor::Visitor,
};

const NOTHING_BEGUN: ApiError = ApiError::NotFound("authenticator to confirm");

/// What the authenticator shows.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfirmTotp {
    #[schema(value_type = String, format = Password, example = "123456")]
    code: SecretText,
}

/// An authenticator that counts.
#[derive(Serialize, ToSchema)]
pub(crate) struct Confirmed {
    /// To be written down: shown this once. Empty if the account has some already.
    recovery_codes: Vec<String>,
}

/// Adds the authenticator. From now on a login asks for its code.
#[utoipa::path(
    post, path = "/auth/mfa/totp/confirm", tag = "auth", request_body = ConfirmTotp, security(("access_token" = [])),
    responses(
        (status = 200, description = "It counts", body = Confirmed),
        (status = 403, description = "`wrong_proof`: this is not what the authenticator shows now; `session_required`: an API key cannot do this"),
        (status = 404, description = "`not_found`: no authenticator has been begun within the hour"),
        (status = 429, description = "`login_locked`: too many wrong passwords or codes; see `Retry-After`"),
    )
)]
pub(crate) async fn confirm_totp(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageAccount>,
    Ok(visitor): Result<Visitor, std::convert::Infallible>,
    Body(request): Body<ConfirmTotp>,
) -> Result<(HeaderMap, Json<Confirmed>), ApiError> {
    let (id, session, now) = (caller.0.account, session_of(&caller)?, office.now());
    let pending = office.store.pending_factor(id, FactorKind::Totp, now - TimeDelta::hours(1)).await?;
    let pending = pending.ok_or(NOTHING_BEGUN)?;
    let account = office.store.account(id).await?.ok_or(ApiError::CallerGone)?;
    let email = Email::parse(&account.email).map_err(|error| ApiError::Internal(error.to_string()))?;
    // The secret may have been shown to another session than this one, which then guesses.
    let attempt = Attempt::begin(&office, &visitor, &email).await?;
    let Some(step) = office.open_totp(&pending)?.step_of(request.code.expose().trim(), now) else {
        attempt.failed(&office).await?;
        return Err(ApiError::WrongProof);
    };
    drop(attempt);
    let (_, amr) = office.store.authentication(session).await?.unwrap_or_default();
    let (shown, digests) = fresh_recovery_codes(id);
    let confirmation = Confirmation {
        factor: pending.id(),
        account: id,
        step,
        recovery: &digests,
        session: (session, &with_method(&amr, "otp")),
        notice: &office.notice(Letter::FactorAdded, &account, email.normalised()),
        now,
    };
    let kept = match office.store.confirm_factor(confirmation).await {
        Err(StoreError::NotFound) => return Err(NOTHING_BEGUN),
        kept => kept?,
    };
    office.has_posted();
    // Whoever has a copy of the cookie is not to be raised with its owner.
    let cookies = office.another_cookie(caller.0.grant).await?;
    Ok((cookies, Json(Confirmed { recovery_codes: if kept { shown } else { Vec::new() } })))
}
