//! `POST /auth/reauthenticate/passkey`: what one of the caller's passkeys is to sign, to show anew that it is they.

use std::sync::Arc;

use axum::{Json, extract::State};

use crate::{caller::Caller, error::ApiError, office::Office, passkey::PasskeyRequest, proof::session_of};

/// Asks for one of the caller's passkeys. The answer is `passkey` of whatever asks for a proof in this session. Needs no body.
#[utoipa::path(
    post, path = "/auth/reauthenticate/passkey", tag = "auth", security(("access_token" = [])),
    responses(
        (status = 200, description = "What to ask the authenticator", body = PasskeyRequest),
        (status = 403, description = "`session_required`: an API key cannot do this"),
        (status = 404, description = "`not_found`: the caller has no passkey"),
        (status = 409, description = "`conflict`: the public address is none that browsers have passkeys for"),
    )
)]
pub(crate) async fn ask_own_passkey(
    State(office): State<Arc<Office>>,
    caller: Caller,
) -> Result<Json<PasskeyRequest>, ApiError> {
    let session = session_of(&caller)?;
    let account = office.store.account(caller.0.account).await?.ok_or(ApiError::CallerGone)?;
    Ok(Json(office.ask_within(&account, session).await?))
}
