//! `POST /admin/users/{id}/unlock`: failed logins at somebody's account are forgotten, wherever they came from.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
};

use crate::{
    attempt::subjects_of,
    caller::{Allowed, ManageUsers},
    error::ApiError,
    office::Office,
};

/// Unlocks somebody's account. For administrators. Needs no body.
#[utoipa::path(
    post, path = "/admin/users/{id}/unlock", tag = "administration", security(("access_token" = []), ("api_key" = [])),
    params(("id" = String, Path, description = "The account's id")),
    responses(
        (status = 204, description = "Nothing is counted against it"),
        (status = 403, description = "`forbidden`: the caller may not manage users, or a role may do what the caller may not"),
        (status = 404, description = "`not_found`: there is no such account"),
    )
)]
pub(crate) async fn unlock_user(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageUsers>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let account = caller.managed(&office, &id).await?;
    let email = account.address()?;
    let mut was_counted = false;
    for subject in subjects_of(email.normalised()) {
        was_counted |= office.store.unlock(&subject).await?;
    }
    tracing::info!(by = %caller.0.account, account = %account.id, was_counted, "an account is unlocked");
    Ok(StatusCode::NO_CONTENT)
}
