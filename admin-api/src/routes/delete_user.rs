//! `DELETE /admin/users/{id}`: an account is deleted by an administrator, with everything that is its owner's.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use store::Over;

use crate::{
    caller::{Allowed, ManageUsers},
    error::{ApiError, OrMissing},
    office::Office,
    user::NO_ACCOUNT,
};

/// Deletes somebody's account. Nothing of it can be brought back. For administrators.
#[utoipa::path(
    delete, path = "/admin/users/{id}", tag = "administration", security(("access_token" = []), ("api_key" = [])),
    params(("id" = String, Path, description = "The account's id")),
    responses(
        (status = 204, description = "It is gone, and so are its sessions and keys"),
        (status = 403, description = "`forbidden`: the caller may not manage users, or a role may do what the caller may not; `own_account`: it is the caller's own"),
        (status = 404, description = "`not_found`: there is no such account"),
        (status = 409, description = "`conflict`: nobody else would administer the platform, or the account was changed at the same moment; `last_owner`: nobody would answer for an organisation of others"),
    )
)]
pub(crate) async fn delete_user(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageUsers>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let account = caller.managed_other(&office, &id).await?;
    let by = caller.doer(&office);
    let over = Over { of_role: &account.role, by: by.as_ref() };
    let deleted = office.store.delete_account(account.id, Some(over), office.now()).await;
    deleted.or_missing(NO_ACCOUNT)?;
    Ok(StatusCode::NO_CONTENT)
}
