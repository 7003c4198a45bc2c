//! `POST /auth/mfa/verify`: the token of a login that asked for a second factor, and a code, buy the session.
//!
//! An attempt is counted before the code is looked at, for the token and, if it was wrong, for the account. Nobody guesses what a passkey
//! signs: that is counted for the token alone, and heeds no lock.

use std::sync::Arc;

use axum::{Json, extract::State, http::HeaderMap};
use identity::{Email, OneTimePurpose, OneTimeToken, SecretText};
use serde::Deserialize;
use serde_json::Value;
use store::{FactorKind, FactorLogin, SessionSeed, Status};
use utoipa::ToSchema;

use super::verify_email::shown;
use crate::{
    attempt::Attempt,
    body::Body,
    error::ApiError,
    issue::{Begun, Fresh, SessionKind},
    office::Office,
    second_factor::{MOST_ATTEMPTS, ShownFactor},
    trail,
    visitor::{Device, Visitor},
};

/// The token, and one of the others.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct VerifyFactor {
    #[schema(value_type = String, format = Password)]
    pub(crate) mfa_token: SecretText,
    /// What the authenticator shows.
    #[schema(value_type = Option<String>, format = Password, example = "123456")]
    pub(crate) code: Option<SecretText>,
    /// One of the recovery codes; it serves once.
    #[schema(value_type = Option<String>, format = Password)]
    pub(crate) recovery_code: Option<SecretText>,
    /// What a passkey has answered to `POST /auth/mfa/passkeys/options`.
    #[schema(value_type = Option<Object>)]
    pub(crate) credential: Option<Value>,
    /// As at `POST /auth/login`.
    #[serde(default)]
    pub(crate) session: SessionKind,
}

/// Logs in with a second factor.
#[utoipa::path(
    post, path = "/auth/mfa/verify", tag = "auth", request_body = VerifyFactor,
    responses(
        (status = 200, description = "A session", body = Begun),
        (status = 401, description = "`invalid_code`: wrong, or used before; `invalid_passkey`: not accepted; `invalid_mfa_token`: unknown, used, expired, or tried too often: log in again"),
        (status = 403, description = "`account_disabled`"),
        (status = 429, description = "`login_locked`: too many wrong codes; see `Retry-After`"),
        (status = 503, description = "`busy`: too many codes of the account are being checked; see `Retry-After`"),
    )
)]
pub(crate) async fn verify_factor(
    State(office): State<Arc<Office>>,
    visitor: Visitor,
    Body(request): Body<VerifyFactor>,
) -> Result<(HeaderMap, Json<Begun>), ApiError> {
    let (cookies, begun) = log_in(&office, &visitor, &request).await?;
    Ok((cookies, Json(begun)))
}

/// Logs in with a second factor, for programs and for the page alike.
pub(crate) async fn log_in(
    office: &Office,
    visitor: &Visitor,
    request: &VerifyFactor,
) -> Result<(HeaderMap, Begun), ApiError> {
    let device = visitor.known_device();
    let begun = open(office, visitor, &device, request).await;
    office.metrics.login(match &begun {
        Ok(_) => "ok",
        Err(ApiError::Locked(_)) => "locked",
        Err(_) => "mfa_refused",
    });
    let (cookies, begun) = begun?;
    office.leave_behind(visitor).await;
    Ok((device.beside(cookies), begun))
}

async fn open(
    office: &Office,
    visitor: &Visitor,
    device: &Device,
    request: &VerifyFactor,
) -> Result<(HeaderMap, Begun), ApiError> {
    let factor = request.shown()?;
    let token = OneTimeToken::parse(request.mfa_token.expose()).map_err(|_| ApiError::MfaTokenRefused)?;
    let (shown, now) = (shown(&token, OneTimePurpose::SecondFactor), office.now());
    let found = office.store.look_at(&shown, now).await?.ok_or(ApiError::MfaTokenRefused)?;
    let email = Email::parse(&found.address).map_err(|error| ApiError::Internal(error.to_string()))?;
    let attempt = match factor {
        ShownFactor::Passkey(_) => None,
        ShownFactor::Code(_) | ShownFactor::Recovery(_) => Some(Attempt::at_code(office, visitor, &email).await?),
    };
    let used = office.store.take_attempt(&shown, MOST_ATTEMPTS, now).await?.ok_or(ApiError::MfaTokenRefused)?;
    let account = match &attempt {
        Some(attempt) => attempt.facts.as_ref().map(|facts| facts.account.clone()),
        None => office.store.account_by_email(&email).await?,
    };
    let account = account.filter(|account| used.account() == Some(account.id)).ok_or(ApiError::MfaTokenRefused)?;
    trail::about(account.id.uuid());
    let first = office.first_of(token.id(), used.sealed.as_deref())?;
    let beside = used.sealed.as_deref().map(|sealed| (token.id(), sealed));
    let Some(proof) = office.proof_of(account.id, factor, beside).await? else {
        failed(office, attempt).await?;
        return Err(factor.refused());
    };
    if account.status == Status::Disabled {
        return Err(ApiError::AccountDisabled);
    }
    let fresh = Fresh::new(request.session);
    let amr = format!("{} {} mfa", first.amr(), factor.method());
    let origin = visitor.origin(device, first.method(), Some(&amr));
    let seed = SessionSeed { id: fresh.id, proof: fresh.proof(office, now), origin };
    let groups = match office.store.log_in_with_factor(&shown, &account, &proof, seed, now).await? {
        FactorLogin::Opened(groups) => groups,
        FactorLogin::Used => {
            failed(office, attempt).await?;
            return Err(factor.used());
        }
        FactorLogin::TokenGone => return Err(ApiError::MfaTokenRefused),
    };
    if let Some(attempt) = attempt {
        attempt.succeeded(office).await;
    }
    Ok(office.begun(account, groups, fresh, now))
}

async fn failed(office: &Office, attempt: Option<Attempt>) -> Result<(), ApiError> {
    match attempt {
        Some(attempt) => attempt.failed(office).await,
        None => Ok(()),
    }
}

/// Could whoever has this token show a passkey?
pub(crate) async fn takes_passkeys(office: &Office, token: &SecretText) -> bool {
    let Ok(token) = OneTimeToken::parse(token.expose()) else { return false };
    let found = office.store.look_at(&shown(&token, OneTimePurpose::SecondFactor), office.now()).await;
    let Some(account) = found.ok().flatten().and_then(|found| found.account()) else { return false };
    let factors = office.store.factors(account).await.unwrap_or_default();
    factors.iter().any(|factor| factor.kind == FactorKind::Passkey)
}

// === impl VerifyFactor ===

impl VerifyFactor {
    fn shown(&self) -> Result<ShownFactor<'_>, ApiError> {
        match (&self.code, &self.recovery_code, &self.credential) {
            (Some(code), None, None) => Ok(ShownFactor::Code(code.expose())),
            (None, Some(code), None) => Ok(ShownFactor::Recovery(code.expose())),
            (None, None, Some(credential)) => Ok(ShownFactor::Passkey(credential)),
            _ => Err(ApiError::one_field("code", "give either this, `recovery_code` or `credential`")),
        }
    }
}
