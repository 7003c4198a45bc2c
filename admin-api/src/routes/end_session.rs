//! `DELETE /auth/sessions/{id}`: one of the caller's sessions ends; its tokens are refused from then on.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use identity::{Principal, SessionId};
use store::StoreError;

use crate::{
    caller::{Allowed, ManageAccount},
    error::ApiError,
    office::Office,
};

const NO_SESSION: ApiError = ApiError::NotFound("session");

/// Ends one of the caller's sessions.
#[utoipa::path(
    delete, path = "/auth/sessions/{id}", tag = "auth", security(("access_token" = []), ("api_key" = [])),
    params(("id" = String, Path, description = "The session's id")),
    responses(
        (status = 204, description = "It has ended"),
        (status = 404, description = "`not_found`: the caller has no such session"),
    )
)]
pub(crate) async fn end_session(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageAccount>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    end(&office, &caller.0, &id).await.map(|()| StatusCode::NO_CONTENT)
}

/// Ends a session of the caller's that a path names.
pub(crate) async fn end(office: &Office, caller: &Principal, id: &str) -> Result<(), ApiError> {
    let id: SessionId = id.parse().map_err(|_| NO_SESSION)?;
    match office.store.end_session_of(caller.account, id, office.now()).await {
        Ok(()) => Ok(()),
        // Somebody else's session is no session.
        Err(StoreError::NotFound) => Err(NO_SESSION),
        Err(error) => Err(error.into()),
    }
}
