//! `POST /auth/mfa/passkeys/confirm`: the authenticator has made the passkey, and it counts from now on. The owner is told by mail.

use std::sync::Arc;

use axum::{Json, extract::State, http::HeaderMap};
use serde::Deserialize;
use serde_json::Value;
use store::{FactorKind, NewPasskey};
use utoipa::ToSchema;

use crate::{
    body::Body,
    caller::{Allowed, Caller, ManageAccount},
    error::ApiError,
    form::Form,
    office::Office,
    proof::{Proof, session_of},
    second_factor::{self, Counting, PATIENCE},
    visitor::Visitor,
};

const NOTHING_BEGUN: ApiError = ApiError::NotFound("passkey to confirm");

/// What the authenticator has made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfirmPasskey {
    /// What `navigator.credentials.create` gave, as its `toJSON` writes it.
    #[schema(value_type = Object)]
    pub(crate) credential: Value,
    /// What its owner calls it; 100 characters at most.
    #[schema(max_length = 100)]
    pub(crate) name: Option<String>,
    /// Shows that it is the owner, unless the session has begun within five minutes.
    #[serde(default)]
    pub(crate) proof: Proof,
}

/// Adds the passkey. From now on it logs in by itself, and a login by a password asks for it.
#[utoipa::path(
    post, path = "/auth/mfa/passkeys/confirm", tag = "auth", request_body = ConfirmPasskey, security(("access_token" = [])),
    responses(
        (status = 200, description = "It counts; the tokens of before have ended", body = Counting),
        (status = 401, description = "`insufficient_user_authentication`: the session is not fresh, and nothing was shown"),
        (status = 403, description = "`wrong_proof`: the password or code is wrong; `session_required`: an API key cannot do this"),
        (status = 404, description = "`not_found`: no passkey has been begun within five minutes"),
        (status = 409, description = "`conflict`: an account has this passkey already"),
        (status = 429, description = "`login_locked`: too many wrong passwords or codes; see `Retry-After`"),
        (status = 503, description = "`busy`: too many passwords or codes are being checked; see `Retry-After`"),
    )
)]
pub(crate) async fn confirm_passkey(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageAccount>,
    visitor: Visitor,
    Body(request): Body<ConfirmPasskey>,
) -> Result<(HeaderMap, Json<Counting>), ApiError> {
    let (cookies, counting) = confirm(&office, &caller, &visitor, request).await?;
    Ok((cookies, Json(counting)))
}

/// Confirms, for programs and for the page alike.
pub(crate) async fn confirm(
    office: &Office,
    caller: &Caller,
    visitor: &Visitor,
    request: ConfirmPasskey,
) -> Result<(HeaderMap, Counting), ApiError> {
    let mut form = Form::default();
    let name = request.name.as_deref().and_then(|name| form.name("name", name));
    form.finish(Some(()))?;
    session_of(caller)?;
    let (id, since) = (caller.0.account, office.now() - PATIENCE);
    let pending = office.store.pending_factor(id, FactorKind::Passkey, since).await?.ok_or(NOTHING_BEGUN)?;
    let account = request.proof.by(caller, visitor, office).await?.account;
    let (credential, sealed) = office.new_passkey(id, &pending, request.credential)?;
    let passkey = NewPasskey { credential: &credential, sealed: &sealed, name: name.as_deref() };
    let confirmed = second_factor::Confirmed {
        account: &account,
        factor: pending.id(),
        step: 0,
        passkey: Some(passkey),
        method: "hwk",
    };
    match office.confirm_factor(caller, confirmed).await {
        Err(ApiError::NotFound(_)) => Err(NOTHING_BEGUN),
        Err(ApiError::Conflict(_)) => Err(ApiError::Conflict("an account has this passkey already")),
        done => done,
    }
}
