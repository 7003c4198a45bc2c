//! `DELETE /admin/users/{id}/mfa`: somebody has lost whatever they had. Their second factors and recovery codes are gone and their sessions
//! end; they are told by mail. Nobody does it for themselves here: they would have to show nothing.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use identity::{AccountId, Email};

use crate::{
    caller::{Allowed, ManageUsers},
    error::ApiError,
    mail::Letter,
    office::Office,
};

const NO_ACCOUNT: ApiError = ApiError::NotFound("account");

/// Removes somebody's second factors. For administrators. Needs no body.
#[utoipa::path(
    delete, path = "/admin/users/{id}/mfa", tag = "administration", security(("access_token" = []), ("api_key" = [])),
    params(("id" = String, Path, description = "The account's id")),
    responses(
        (status = 204, description = "It has none"),
        (status = 403, description = "`forbidden`: the caller may not manage users, or a role may do what the caller may not; `own_account`: it is the caller's own"),
        (status = 404, description = "`not_found`: there is no such account"),
    )
)]
pub(crate) async fn reset_factors(
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
    let email = Email::parse(&account.email).map_err(|error| ApiError::Internal(error.to_string()))?;
    let notice = office.notice(Letter::FactorRemoved, &account, email.normalised());
    let had = office.store.remove_factors(id, &notice, office.now()).await?;
    office.has_posted();
    tracing::info!(by = %caller.0.account, account = %id, had, "second factors are removed");
    Ok(StatusCode::NO_CONTENT)
}
