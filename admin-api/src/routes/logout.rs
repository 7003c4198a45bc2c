//! `POST /auth/logout`: the caller's session ends; its tokens are refused from then on.

use std::sync::Arc;

use axum::{Json, extract::State};
use identity::Grant;
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
pub(crate) async fn logout(State(office): State<Arc<Office>>, Caller(caller): Caller) -> Result<Json<Done>, ApiError> {
    let Grant::Session(session) = caller.grant else { return Err(ApiError::NoSession) };
    office.store.end_session(session, office.now()).await?;
    Ok(Json(Done { message: "logged out" }))
}
