//! `POST /auth/resend-verification`: the mail that confirms an address is sent again, if there is anything to confirm.
//!
//! The answer is the same, after the same work, whatever the address.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use utoipa::ToSchema;

use super::logout::Done;
use crate::{
    body::Body,
    error::ApiError,
    form::Form,
    mail::{Letter, Said},
    office::Office,
    visitor::Visitor,
};

/// Whose address.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ForAddress {
    #[schema(format = Email, example = "user@example.com")]
    pub(crate) email: String,
}

/// Sends the mail that confirms an address again. Says nothing of whether there is an account.
#[utoipa::path(
    post, path = "/auth/resend-verification", tag = "auth", request_body = ForAddress,
    responses((status = 202, description = "If there is something to confirm, a mail is on its way", body = Done))
)]
pub(crate) async fn resend_verification(
    State(office): State<Arc<Office>>,
    visitor: Visitor,
    Body(request): Body<ForAddress>,
) -> Result<(StatusCode, Json<Done>), ApiError> {
    let address = request.address()?;
    office.wish(Letter::VerifyEmail, &address, &Said::default().from(visitor.source())).await?;
    office.metrics.verification("asked");
    Ok((StatusCode::ACCEPTED, Json(Done { message: "if the address waits to be confirmed, a mail is on its way" })))
}

// === impl ForAddress ===

impl ForAddress {
    /// Normalised.
    pub(crate) fn address(&self) -> Result<String, ApiError> {
        let mut form = Form::default();
        let email = form.email(&self.email);
        form.finish(email.map(|email| email.normalised().to_owned()))
    }
}
