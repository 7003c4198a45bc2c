//! `DELETE /domains/{id}/members/{account_id}`: somebody is assigned to a domain no longer.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
};

use crate::{
    caller::Allowed,
    error::ApiError,
    group::{ManageTeams, account_in_path, id_in_path, missing},
    office::Office,
    trail,
};

/// Ends an assignment to a domain. For administrators of the organisation.
#[utoipa::path(
    delete, path = "/domains/{id}/members/{account_id}", tag = "teams", security(("access_token" = []), ("api_key" = [])),
    params(
        ("id" = String, Path, description = "The domain's id"),
        ("account_id" = String, Path, description = "The member's account"),
    ),
    responses(
        (status = 204, description = "Done"),
        (status = 403, description = "`forbidden`: the caller does not administer the organisation"),
        (status = 404, description = "`not_found`: the organisation has no such domain, or the account does not belong to it"),
    )
)]
pub(crate) async fn remove_domain_member(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageTeams>,
    Path((id, account)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    caller.demand_tenant_admin()?;
    let (id, account) = (id_in_path("domain", &id)?, account_in_path(&account)?);
    trail::detail("account", account.to_string());
    let removed = office.store.remove_domain_member(caller.tenant()?, id, account, office.now()).await;
    removed.map_err(missing("member"))?;
    Ok(StatusCode::NO_CONTENT)
}
