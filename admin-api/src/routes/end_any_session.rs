//! `DELETE /admin/sessions/{id}`: anybody's session is ended by an administrator.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use identity::SessionId;
use store::Over;

use crate::{
    caller::{Allowed, ManageUsers},
    error::{ApiError, OrMissing},
    office::Office,
};

const NO_SESSION: ApiError = ApiError::NotFound("session");

/// Ends anybody's session. For administrators.
#[utoipa::path(
    delete, path = "/admin/sessions/{id}", tag = "administration", security(("access_token" = []), ("api_key" = [])),
    params(("id" = String, Path, description = "The session's id")),
    responses(
        (status = 204, description = "It has ended"),
        (status = 403, description = "`forbidden`: the caller may not manage users, or a role may do what the caller may not"),
        (status = 404, description = "`not_found`: there is none of that id"),
        (status = 409, description = "`conflict`: its owner's account was changed at the same moment"),
    )
)]
pub(crate) async fn end_any_session(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageUsers>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let id: SessionId = id.parse().map_err(|_| NO_SESSION)?;
    let owner = office.store.session_grant(id).await?.ok_or(NO_SESSION)?.account;
    caller.demand_all_of(&office.hooks.policy(), &owner.role)?;
    let by = caller.doer(&office);
    let over = Over { of_role: &owner.role, by: by.as_ref() };
    office.store.end_any_session(id, (owner.id, over), office.now()).await.or_missing(NO_SESSION)?;
    Ok(StatusCode::NO_CONTENT)
}
