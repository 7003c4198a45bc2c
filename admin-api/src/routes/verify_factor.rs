//! `POST /auth/mfa/verify`: the token of a login that asked for a second factor, and a code, buy the session.
//!
//! An attempt is counted before the code is looked at, for the token and, if it was wrong, where wrong passwords are counted.

use std::sync::Arc;

use axum::{Json, extract::State, http::HeaderMap};
use identity::{Email, OneTimePurpose, OneTimeToken, SecretText, SessionId};
use serde::Deserialize;
use store::{FactorLogin, Origin, SessionSeed, Status};
use utoipa::ToSchema;
use uuid::Uuid;

use super::verify_email::shown;
use crate::{
    attempt::Attempt,
    body::Body,
    error::ApiError,
    issue::{TokenPair, fresh_refresh_token},
    office::Office,
    second_factor::{MOST_ATTEMPTS, ShownFactor},
    visitor::{Device, Visitor},
};

/// The token, and one of the others.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct VerifyFactor {
    #[schema(value_type = String, format = Password)]
    mfa_token: SecretText,
    /// What the authenticator shows.
    #[schema(value_type = Option<String>, format = Password, example = "123456")]
    code: Option<SecretText>,
    /// One of the recovery codes; it serves once.
    #[schema(value_type = Option<String>, format = Password)]
    recovery_code: Option<SecretText>,
}

/// Logs in with a second factor.
#[utoipa::path(
    post, path = "/auth/mfa/verify", tag = "auth", request_body = VerifyFactor,
    responses(
        (status = 200, description = "A session", body = TokenPair),
        (status = 401, description = "`invalid_code`: wrong, or used before; `invalid_mfa_token`: unknown, used, expired, or tried too often: log in again"),
        (status = 403, description = "`account_disabled`"),
        (status = 429, description = "`login_locked`: too many wrong passwords or codes; see `Retry-After`"),
    )
)]
pub(crate) async fn verify_factor(
    State(office): State<Arc<Office>>,
    Ok(visitor): Result<Visitor, std::convert::Infallible>,
    Body(request): Body<VerifyFactor>,
) -> Result<(HeaderMap, Json<TokenPair>), ApiError> {
    let device = visitor.known_device();
    let pair = log_in(&office, &visitor, &device, &request).await;
    office.metrics.login(match &pair {
        Ok(_) => "ok",
        Err(ApiError::Locked(_)) => "locked",
        Err(_) => "mfa_refused",
    });
    Ok((device.headers(), Json(pair?)))
}

async fn log_in(
    office: &Office,
    visitor: &Visitor,
    device: &Device,
    request: &VerifyFactor,
) -> Result<TokenPair, ApiError> {
    let factor = request.shown()?;
    let token = OneTimeToken::parse(request.mfa_token.expose()).map_err(|_| ApiError::MfaTokenRefused)?;
    let (shown, now) = (shown(&token, OneTimePurpose::SecondFactor), office.now());
    let found = office.store.look_at(&shown, now).await?.ok_or(ApiError::MfaTokenRefused)?;
    let email = Email::parse(&found.address).map_err(|error| ApiError::Internal(error.to_string()))?;
    let attempt = Attempt::begin(office, visitor, &email).await?;
    let attempt = office.store.take_attempt(&shown, MOST_ATTEMPTS, now).await?.ok_or(ApiError::MfaTokenRefused)?;
    let account = attempt.facts.as_ref().map(|facts| facts.account.clone());
    let account = account.filter(|account| attempt.account() == Some(account.id)).ok_or(ApiError::MfaTokenRefused)?;
    let first = office.first_of(token.id(), attempt.sealed.as_deref())?;
    let Some(proof) = office.proof_of(account.id, factor).await? else {
        attempt.failed(office).await?;
        return Err(ApiError::InvalidCode);
    };
    if account.status == Status::Disabled {
        return Err(ApiError::AccountDisabled);
    }
    let (id, refresh) = (SessionId::new(Uuid::now_v7()), fresh_refresh_token());
    let origin = Origin { amr: Some(first.amr_with_code()), ..visitor.origin(device, first.method()) };
    let refresh_expires_at = now + office.settings.refresh_ttl;
    let seed = SessionSeed { id, refresh: (refresh.id(), refresh.digest()), refresh_expires_at, origin };
    match office.store.log_in_with_factor(&shown, &account, &proof, seed, now).await? {
        FactorLogin::Opened => attempt.succeeded(office).await,
        FactorLogin::Used => {
            attempt.failed(office).await?;
            return Err(ApiError::InvalidCode);
        }
        FactorLogin::TokenGone => return Err(ApiError::MfaTokenRefused),
    }
    Ok(office.pair(account, id, &refresh, now))
}

// === impl VerifyFactor ===

impl VerifyFactor {
    fn shown(&self) -> Result<ShownFactor<'_>, ApiError> {
        match (&self.code, &self.recovery_code) {
            (Some(code), None) => Ok(ShownFactor::Code(code.expose())),
            (None, Some(code)) => Ok(ShownFactor::Recovery(code.expose())),
            _ => Err(ApiError::one_field("code", "give either this or `recovery_code`")),
        }
    }
}
