//! `POST /auth/passkey/options`: what a passkey is to sign for a login by it alone. Whoever asks says nothing, and is told nothing.

use std::sync::Arc;

use axum::{Json, extract::State};

use crate::{error::ApiError, office::Office, passkey::PasskeyRequest};

/// Asks for any passkey of this platform. Needs no body.
#[utoipa::path(
    post, path = "/auth/passkey/options", tag = "auth",
    responses(
        (status = 200, description = "What to ask the authenticator", body = PasskeyRequest),
        (status = 409, description = "`conflict`: the public address is none that browsers have passkeys for"),
    )
)]
pub(crate) async fn ask_passkey(State(office): State<Arc<Office>>) -> Result<Json<PasskeyRequest>, ApiError> {
    Ok(Json(office.ask_anybody().await?))
}
