//! `DELETE /admin/keys/{id}`: anybody's API key is deleted by an administrator.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use identity::KeyId;
use store::Over;

use crate::{
    caller::{Allowed, ManageUsers},
    error::{ApiError, OrMissing},
    office::Office,
};

const NO_KEY: ApiError = ApiError::NotFound("key");

/// Deletes anybody's key. For administrators.
#[utoipa::path(
    delete, path = "/admin/keys/{id}", tag = "administration", security(("access_token" = []), ("api_key" = [])),
    params(("id" = String, Path, description = "The key's id")),
    responses(
        (status = 204, description = "It opens nothing any more"),
        (status = 403, description = "`forbidden`: the caller may not manage users, or a role may do what the caller may not"),
        (status = 404, description = "`not_found`: there is none of that id"),
        (status = 409, description = "`conflict`: its owner's account was changed at the same moment"),
    )
)]
pub(crate) async fn end_key(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageUsers>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let id: KeyId = id.parse().map_err(|_| NO_KEY)?;
    let owner = office.store.key_grant(id).await?.ok_or(NO_KEY)?.account;
    caller.demand_all_of(&office.hooks.policy(), &owner.role)?;
    let by = caller.doer(&office);
    let over = Over { of_role: &owner.role, by: by.as_ref() };
    office.store.end_any_key(id, (owner.id, over), office.now()).await.or_missing(NO_KEY)?;
    Ok(StatusCode::NO_CONTENT)
}
