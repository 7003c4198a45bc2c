//! `DELETE /tenants/{id}/members/{account_id}`: somebody leaves an organisation, or is sent away. What acts in it as them ends at once.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use identity::{AccountId, TenantRole};

use super::change_member::NO_MEMBER;
use crate::{
    caller::{Allowed, ManageTenants},
    error::{ApiError, OrMissing},
    office::Office,
    tenant::Reach,
    trail,
};

/// Takes somebody out of an organisation. For its administrators, and for whoever leaves; owners are sent away by owners alone.
#[utoipa::path(
    delete, path = "/tenants/{id}/members/{account_id}", tag = "tenants",
    security(("access_token" = []), ("api_key" = [])),
    params(
        ("id" = String, Path, description = "The organisation's id"),
        ("account_id" = String, Path, description = "The member's account"),
    ),
    responses(
        (status = 204, description = "They belong to it no more; their sessions and keys in it have ended"),
        (status = 403, description = "`forbidden`: the caller may not, as with machines, which are the platform's; `tenant_disabled`"),
        (status = 404, description = "`not_found`: no such organisation of the caller's, or no such member"),
        (status = 409, description = "`last_owner`: nobody would answer for it"),
    )
)]
pub(crate) async fn remove_member(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageTenants>,
    Path((id, account)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let account: AccountId = account.parse().map_err(|_| NO_MEMBER)?;
    let leaves = account == caller.0.account;
    let reach = if leaves { Reach::See } else { Reach::Administer };
    let (tenant, _) = office.tenant_named(&caller, &id, reach).await?;
    let is = office.store.role_in(tenant.id, account).await?.ok_or(NO_MEMBER)?;
    office.demand_rule_over(&caller, account).await?;
    if is == TenantRole::Owner && !leaves {
        office.tenant_named(&caller, &id, Reach::Own).await?;
    }
    let by = (!leaves && !caller.administers_platform()).then_some(caller.0.account);
    trail::about(account.uuid());
    trail::detail("tenant", tenant.id.to_string());
    office.store.remove_member(tenant.id, account, by, office.now()).await.or_missing(NO_MEMBER)?;
    Ok(StatusCode::NO_CONTENT)
}
