//! `POST /auth/mfa/passkeys`: what an authenticator needs to make a passkey. It counts once it has been made (`…/confirm`).

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use identity::FactorId;
use serde::Serialize;
use serde_json::Value;
use store::{FactorKind, NewFactor};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    body::BodyOrNothing,
    caller::{Allowed, ManageAccount},
    error::ApiError,
    office::Office,
    proof::Proof,
    visitor::Visitor,
};

/// What the authenticator is asked.
#[derive(Serialize, ToSchema)]
pub(crate) struct PasskeyEnrolment {
    id: Uuid,
    /// For `navigator.credentials.create`, as `PublicKeyCredential.parseCreationOptionsFromJSON` reads its `publicKey`.
    #[schema(value_type = Object)]
    options: Value,
}

/// Begins to add a passkey. Unless the session has begun within five minutes, something shows that it is the owner who adds it.
#[utoipa::path(
    post, path = "/auth/mfa/passkeys", tag = "auth", request_body = Proof, security(("access_token" = [])),
    responses(
        (status = 201, description = "What to ask the authenticator, to be confirmed within five minutes", body = PasskeyEnrolment),
        (status = 401, description = "`insufficient_user_authentication`: the session is not fresh, and nothing was shown"),
        (status = 403, description = "`wrong_proof`: the password or code is wrong; `session_required`: an API key cannot do this"),
        (status = 409, description = "`conflict`: an account may have ten second factors, or the public address is none that browsers have passkeys for"),
        (status = 429, description = "`login_locked`: too many wrong passwords or codes; see `Retry-After`"),
        (status = 503, description = "`busy`: too many passwords or codes are being checked; see `Retry-After`"),
    )
)]
pub(crate) async fn enrol_passkey(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageAccount>,
    visitor: Visitor,
    BodyOrNothing(proof): BodyOrNothing<Proof>,
) -> Result<(StatusCode, Json<PasskeyEnrolment>), ApiError> {
    let account = proof.by(&caller, &visitor, &office).await?.account;
    let id = FactorId::new(Uuid::now_v7());
    let others = office.store.factors(account.id).await?;
    let (options, sealed) = office.ask_for_new_passkey(id, &account, &others)?;
    let new = NewFactor { id, account: account.id, kind: FactorKind::Passkey, name: None, sealed, now: office.now() };
    office.store.begin_factor(&new).await?;
    Ok((StatusCode::CREATED, Json(PasskeyEnrolment { id: id.uuid(), options })))
}
