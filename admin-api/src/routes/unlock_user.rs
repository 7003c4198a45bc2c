//! `POST /admin/users/{id}/unlock`: failed logins at somebody's account are forgotten, wherever they came from.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use store::Over;

use crate::{
    attempt::subjects_of,
    caller::{Allowed, ManageUsers},
    error::{ApiError, OrMissing},
    office::Office,
    user::NO_ACCOUNT,
};

/// Unlocks somebody's account. For administrators. Needs no body.
#[utoipa::path(
    post, path = "/admin/users/{id}/unlock", tag = "administration", security(("access_token" = []), ("api_key" = [])),
    params(("id" = String, Path, description = "The account's id")),
    responses(
        (status = 204, description = "Nothing is counted against it"),
        (status = 403, description = "`forbidden`: the caller may not manage users, or a role may do what the caller may not"),
        (status = 404, description = "`not_found`: there is no such account"),
        (status = 409, description = "`conflict`: the account was changed at the same moment"),
    )
)]
pub(crate) async fn unlock_user(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageUsers>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let account = caller.managed(&office, &id).await?;
    let email = account.address()?;
    let by = caller.doer(&office);
    let over = Over { of_role: &account.role, by: by.as_ref() };
    let unlocked = office.store.unlock_account(account.id, over, &subjects_of(email.normalised())).await;
    let was_counted = unlocked.or_missing(NO_ACCOUNT)?;
    tracing::info!(by = %caller.0.account, account = %account.id, was_counted, "an account is unlocked");
    Ok(StatusCode::NO_CONTENT)
}
