//! `DELETE /admin/users/{id}`: an account is deleted by an administrator, with everything that is its owner's.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use identity::AccountId;
use store::StoreError;

use crate::{
    caller::{Allowed, ManageUsers},
    error::ApiError,
    office::Office,
};

const NO_ACCOUNT: ApiError = ApiError::NotFound("account");

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
    let id: AccountId = id.parse().map_err(|_| NO_ACCOUNT)?;
    if id == caller.0.account {
        return Err(ApiError::OwnAccount);
    }
    let account = office.store.account(id).await?.ok_or(NO_ACCOUNT)?;
    caller.demand_all_of(&office.hooks.policy(), &account.role)?;
    match office.store.delete_account(id, Some(&account.role), office.now()).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(StoreError::NotFound) => Err(NO_ACCOUNT),
        Err(error) => Err(error.into()),
    }
}
