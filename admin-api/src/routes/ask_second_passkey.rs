//! `POST /auth/mfa/passkeys/options`: what a passkey is to sign for a login that has shown its first factor.

use std::sync::Arc;

use axum::{Json, extract::State};
use identity::{OneTimePurpose, OneTimeToken, SecretText};
use serde::Deserialize;
use utoipa::ToSchema;

use super::verify_email::shown;
use crate::{body::Body, error::ApiError, office::Office, passkey::PasskeyRequest, second_factor::MOST_ATTEMPTS};

/// The token of a login that asked for a second factor.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AskSecondPasskey {
    #[schema(value_type = String, format = Password)]
    mfa_token: SecretText,
}

/// Asks for one of the account's passkeys. The answer goes to `POST /auth/mfa/verify` with the same token; the last question counts.
#[utoipa::path(
    post, path = "/auth/mfa/passkeys/options", tag = "auth", request_body = AskSecondPasskey,
    responses(
        (status = 200, description = "What to ask the authenticator", body = PasskeyRequest),
        (status = 401, description = "`invalid_mfa_token`: unknown, used, expired, or tried too often: log in again"),
        (status = 404, description = "`not_found`: the account has no passkey"),
    )
)]
pub(crate) async fn ask_second_passkey(
    State(office): State<Arc<Office>>,
    Body(request): Body<AskSecondPasskey>,
) -> Result<Json<PasskeyRequest>, ApiError> {
    let token = OneTimeToken::parse(request.mfa_token.expose()).map_err(|_| ApiError::MfaTokenRefused)?;
    let shown = shown(&token, OneTimePurpose::SecondFactor);
    let found = office.store.look_at(&shown, office.now()).await?.ok_or(ApiError::MfaTokenRefused)?;
    let account = found.account().ok_or(ApiError::MfaTokenRefused)?;
    let first = office.first_of(token.id(), found.sealed.as_deref())?;
    Ok(Json(office.ask_beside(account, &token, first, MOST_ATTEMPTS).await?))
}
