//! `POST /auth/request-password-reset`: a mail with which its reader can choose a new password, if there is such an account.
//!
//! The answer is the same, after the same work, whatever the address: nothing is looked up before it is given.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};

use super::{logout::Done, resend_verification::ForAddress};
use crate::{
    body::Body,
    error::ApiError,
    mail::{Letter, Said},
    office::Office,
};

/// Asks for a new password. Says nothing of whether there is an account.
#[utoipa::path(
    post, path = "/auth/request-password-reset", tag = "auth", request_body = ForAddress,
    responses((status = 202, description = "If there is an account, a mail is on its way", body = Done))
)]
pub(crate) async fn request_password_reset(
    State(office): State<Arc<Office>>,
    Body(request): Body<ForAddress>,
) -> Result<(StatusCode, Json<Done>), ApiError> {
    ask(&office, &request).await?;
    Ok((StatusCode::ACCEPTED, Json(Done { message: "if there is an account with this address, a mail is on its way" })))
}

/// Asks, for programs and for the page alike.
pub(crate) async fn ask(office: &Office, request: &ForAddress) -> Result<(), ApiError> {
    let address = request.address()?;
    office.wish(Letter::ResetPassword, &address, &Said::default()).await?;
    office.metrics.reset("asked");
    Ok(())
}
