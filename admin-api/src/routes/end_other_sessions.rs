//! `DELETE /auth/sessions`: every session of the caller's ends but the one that asks; an API key has none, so it ends all.

use std::sync::Arc;

use axum::{Json, extract::State};
use identity::Principal;
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
    Ok(Json(Ended { ended: end_others(&office, &caller.0).await? }))
}

/// Ends the caller's other sessions; says how many.
pub(crate) async fn end_others(office: &Office, caller: &Principal) -> Result<usize, ApiError> {
    Ok(office.store.end_sessions_but(caller.account, caller.grant.session(), office.now()).await?)
}
