//! `DELETE /auth/sessions`: every session of the caller's ends but the one that asks; an API key has none, so it ends all.

use std::sync::Arc;

use axum::{Json, extract::State};
use identity::Grant;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    caller::{Allowed, ManageAccount},
    error::ApiError,
    office::Office,
};

/// What has ended.
#[derive(Serialize, ToSchema)]
pub(crate) struct Ended {
    /// How many sessions.
    ended: usize,
}

/// Ends the caller's other sessions.
#[utoipa::path(
    delete, path = "/auth/sessions", tag = "auth", security(("access_token" = []), ("api_key" = [])),
    responses((status = 200, description = "They have ended", body = Ended))
)]
pub(crate) async fn end_other_sessions(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageAccount>,
) -> Result<Json<Ended>, ApiError> {
    let keep = match caller.0.grant {
        Grant::Session(session) => Some(session),
        Grant::Key(_) | Grant::Certificate(_) | Grant::External(..) => None,
    };
    let ended = office.store.end_sessions_but(caller.0.account, keep, office.now()).await?;
    Ok(Json(Ended { ended }))
}
