//! `POST /auth/magic-link`: a link with which its reader can log in without a password, in the browser that asks here.
//!
//! The answer is the same, after the same work, whatever the address; a browser that is not known yet is given a cookie, whatever the
//! address, and the link serves in no other.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
};

use super::{logout::Done, resend_verification::ForAddress};
use crate::{
    body::Body,
    error::ApiError,
    mail::{Letter, Said},
    office::Office,
    visitor::Visitor,
};

/// Asks for a link to log in with, which serves in this browser alone: keep the cookie of the answer.
#[utoipa::path(
    post, path = "/auth/magic-link", tag = "auth", request_body = ForAddress,
    responses((status = 202, description = "If there is an account, a mail is on its way", body = Done))
)]
pub(crate) async fn magic_link(
    State(office): State<Arc<Office>>,
    visitor: Visitor,
    Body(request): Body<ForAddress>,
) -> Result<(StatusCode, HeaderMap, Json<Done>), ApiError> {
    let cookies = ask(&office, &visitor, &request).await?;
    let message = "if there is an account with this address, a mail is on its way";
    Ok((StatusCode::ACCEPTED, cookies, Json(Done { message })))
}

/// Asks, for programs and for the page alike; gives what the browser is known by from now on.
pub(crate) async fn ask(office: &Office, visitor: &Visitor, request: &ForAddress) -> Result<HeaderMap, ApiError> {
    let address = request.address()?;
    let device = visitor.known_device();
    office.wish(Letter::MagicLink, &address, &Said::bound_to(device.digest).from(visitor.source())).await?;
    Ok(device.headers())
}
