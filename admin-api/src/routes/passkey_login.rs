//! `POST /auth/passkey/login`: a passkey alone buys a session. It is two factors: something that somebody holds, and what the authenticator
//! has checked of them.
//!
//! A signature cannot be guessed, so none is counted where passwords are, and whoever is locked out by somebody's guesses gets in by it.
//! An unknown passkey, a wrong signature and a question that was not asked get the same words.

use std::sync::Arc;

use axum::{Json, extract::State, http::HeaderMap};
use identity::{OneTimePurpose, SecretText};
use serde::Deserialize;
use serde_json::Value;
use store::{SessionSeed, Status};
use utoipa::ToSchema;

use crate::{
    body::Body,
    error::ApiError,
    issue::{Begun, Fresh, SessionKind},
    office::Office,
    passkey::{AMR, METHOD, NoProof},
    trail,
    visitor::{Device, Visitor},
};

/// What a passkey has answered.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasskeyLogin {
    /// What came with the options.
    #[schema(value_type = String, format = Password)]
    pub(crate) challenge: SecretText,
    /// What `navigator.credentials.get` gave, as its `toJSON` writes it.
    #[schema(value_type = Object)]
    pub(crate) credential: Value,
    /// As at `POST /auth/login`.
    #[serde(default)]
    pub(crate) session: SessionKind,
}

/// Logs in with a passkey.
#[utoipa::path(
    post, path = "/auth/passkey/login", tag = "auth", request_body = PasskeyLogin,
    responses(
        (status = 200, description = "A session", body = Begun),
        (status = 401, description = "`invalid_passkey`: not accepted; begin again"),
        (status = 403, description = "`account_disabled` or `email_unverified`: it is right and does not serve"),
    )
)]
pub(crate) async fn passkey_login(
    State(office): State<Arc<Office>>,
    visitor: Visitor,
    Body(request): Body<PasskeyLogin>,
) -> Result<(HeaderMap, Json<Begun>), ApiError> {
    let (cookies, begun) = log_in(&office, &visitor, &request).await?;
    Ok((cookies, Json(begun)))
}

/// Logs in, for programs and for the page alike.
pub(crate) async fn log_in(
    office: &Office,
    visitor: &Visitor,
    request: &PasskeyLogin,
) -> Result<(HeaderMap, Begun), ApiError> {
    let device = visitor.known_device();
    let begun = open(office, visitor, &device, request).await;
    office.metrics.login(if begun.is_ok() { "passkey" } else { "passkey_refused" });
    let (cookies, begun) = begun?;
    office.leave_behind(visitor).await;
    Ok((device.beside(cookies), begun))
}

async fn open(
    office: &Office,
    visitor: &Visitor,
    device: &Device,
    request: &PasskeyLogin,
) -> Result<(HeaderMap, Begun), ApiError> {
    let asked = office.take_asked(OneTimePurpose::PasskeyLogin, None, &request.challenge).await?;
    let asked = asked.map(|(_, state)| state);
    let proof = office.passkey_proof(asked, &request.credential, None).await?;
    let (id, proof) = proof.map_err(NoProof::told)?;
    trail::by(id.uuid());
    let account = office.store.account(id).await?.ok_or_else(|| NoProof::Unknown.told())?;
    if account.status == Status::Disabled {
        return Err(ApiError::AccountDisabled);
    }
    if !account.is_verified && !office.settings.accounts.unverified_may_log_in {
        return Err(ApiError::EmailUnverified);
    }
    let (now, fresh) = (office.now(), Fresh::new(request.session));
    let origin = visitor.origin(device, METHOD, Some(AMR));
    let seed = SessionSeed { id: fresh.id, proof: fresh.proof(office, now), origin };
    let opened = office.store.log_in_with_passkey(&account, &proof, seed, now).await?;
    let groups = opened.ok_or_else(|| NoProof::Counter.told())?;
    Ok(office.begun(account, groups, fresh, now))
}
