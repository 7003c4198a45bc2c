//! `POST /auth/logout`: the caller's session ends; its tokens are refused from then on.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, header},
};
use identity::{Grant, Principal};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{caller::Caller, error::ApiError, office::Office};

/// What happened, in words.
#[derive(Serialize, ToSchema)]
pub(crate) struct Done {
    pub(crate) message: &'static str,
}

/// Ends the caller's session. Needs no body.
#[utoipa::path(
    post, path = "/auth/logout", tag = "auth", security(("access_token" = [])),
    responses(
        (status = 200, description = "The session has ended", body = Done),
        (status = 409, description = "`no_session`: an API key has none"),
    )
)]
pub(crate) async fn logout(
    State(office): State<Arc<Office>>,
    Caller(caller): Caller,
) -> Result<(HeaderMap, Json<Done>), ApiError> {
    let cookies = end(&office, &caller).await?;
    Ok((cookies, Json(Done { message: "logged out" })))
}

/// Ends the caller's session; gives what takes its cookie away from the browser, if it has one.
pub(crate) async fn end(office: &Office, caller: &Principal) -> Result<HeaderMap, ApiError> {
    let session = caller.grant.session().ok_or(ApiError::NoSession)?;
    office.store.end_session(session, office.now()).await?;
    let Grant::Cookie(_) = caller.grant else { return Ok(HeaderMap::new()) };
    let mut cookies = office.no_cookie();
    // Whoever sits there next has nothing to agree to. (`extend` would replace what there is.)
    for cookie in office.no_link_cookie().get_all(header::SET_COOKIE) {
        cookies.append(header::SET_COOKIE, cookie.clone());
    }
    Ok(cookies)
}
