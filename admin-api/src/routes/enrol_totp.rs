//! `POST /auth/mfa/totp`: a secret for an authenticator. It counts once the authenticator has shown a code (`…/confirm`).

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use identity::{FactorId, SecretText, TotpSecret};
use serde::{Deserialize, Serialize};
use store::{FactorKind, NewFactor};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    body::BodyOrNothing,
    caller::{Allowed, Caller, ManageAccount},
    error::ApiError,
    form::Form,
    office::Office,
    passkey::ShownPasskey,
    proof::Proof,
    visitor::Visitor,
};

/// An authenticator to be added. Unless the session has begun within five minutes, `password`, `code`, `recovery_code` or `passkey` shows that it
/// is the owner who adds it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EnrolTotp {
    /// What its owner calls it; 100 characters at most.
    #[schema(max_length = 100)]
    name: Option<String>,
    #[schema(value_type = Option<String>, format = Password, max_length = 1024)]
    password: Option<SecretText>,
    #[schema(value_type = Option<String>, format = Password)]
    code: Option<SecretText>,
    #[schema(value_type = Option<String>, format = Password)]
    recovery_code: Option<SecretText>,
    passkey: Option<ShownPasskey>,
}

/// What the authenticator is told. Shown this once.
#[derive(Serialize, ToSchema)]
pub(crate) struct TotpEnrolment {
    id: Uuid,
    /// Base32, to be typed.
    pub(crate) secret: String,
    /// The same for a QR code.
    pub(crate) otpauth_uri: String,
}

/// Begins to add an authenticator.
#[utoipa::path(
    post, path = "/auth/mfa/totp", tag = "auth", request_body = EnrolTotp, security(("access_token" = [])),
    responses(
        (status = 201, description = "The secret, to be confirmed within an hour", body = TotpEnrolment),
        (status = 401, description = "`insufficient_user_authentication`: the session is not fresh, and nothing was shown"),
        (status = 403, description = "`wrong_proof`: the password or code is wrong; `session_required`: an API key cannot do this"),
        (status = 409, description = "`conflict`: an account may have ten second factors"),
        (status = 429, description = "`login_locked`: too many wrong passwords or codes; see `Retry-After`"),
        (status = 503, description = "`busy`: too many passwords or codes are being checked; see `Retry-After`"),
    )
)]
pub(crate) async fn enrol_totp(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageAccount>,
    visitor: Visitor,
    BodyOrNothing(request): BodyOrNothing<EnrolTotp>,
) -> Result<(StatusCode, Json<TotpEnrolment>), ApiError> {
    let proof = Proof {
        password: request.password,
        code: request.code,
        recovery_code: request.recovery_code,
        passkey: request.passkey,
    };
    Ok((StatusCode::CREATED, Json(begin(&office, &caller, &visitor, request.name.as_deref(), &proof).await?)))
}

/// Begins, for programs and for the page alike.
pub(crate) async fn begin(
    office: &Office,
    caller: &Caller,
    visitor: &Visitor,
    name: Option<&str>,
    proof: &Proof,
) -> Result<TotpEnrolment, ApiError> {
    let mut form = Form::default();
    let name = name.and_then(|name| form.name("name", name));
    form.finish(Some(()))?;
    let proved = proof.by(caller, visitor, office).await?;
    let (id, secret) = (FactorId::new(Uuid::now_v7()), TotpSecret::generate(&mut rand::rng()));
    let new = NewFactor {
        id,
        account: proved.account.id,
        kind: FactorKind::Totp,
        name: name.as_deref(),
        sealed: office.seal_totp(id, &secret),
        now: office.now(),
    };
    office.store.begin_factor(&new).await?;
    let otpauth_uri = secret.uri(&office.settings.mfa_issuer, &proved.account.email).to_string();
    Ok(TotpEnrolment { id: id.uuid(), secret: secret.base32().to_string(), otpauth_uri })
}
