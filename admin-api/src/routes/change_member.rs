//! `PATCH /tenants/{id}/members/{account_id}`: what somebody is in an organisation. It counts at once.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use identity::{AccountId, TenantRole};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    body::Body,
    caller::{Allowed, ManageTenants},
    error::{ApiError, OrMissing},
    form::Form,
    office::Office,
    tenant::Reach,
    trail,
};

pub(super) const NO_MEMBER: ApiError = ApiError::NotFound("member");

/// What shall change.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeMember {
    /// `owner`, `admin` or `member`.
    role: String,
}

/// Makes a member something else. For administrators of the organisation; only owners make owners, and change them.
#[utoipa::path(
    patch, path = "/tenants/{id}/members/{account_id}", tag = "tenants", request_body = ChangeMember,
    security(("access_token" = []), ("api_key" = [])),
    params(
        ("id" = String, Path, description = "The organisation's id"),
        ("account_id" = String, Path, description = "The member's account"),
    ),
    responses(
        (status = 204, description = "It is so"),
        (status = 403, description = "`forbidden`: the caller may not, as with machines, which are the platform's; `tenant_disabled`"),
        (status = 404, description = "`not_found`: no such organisation of the caller's, or no such member"),
        (status = 409, description = "`last_owner`: nobody would answer for it"),
    )
)]
pub(crate) async fn change_member(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageTenants>,
    Path((id, account)): Path<(String, String)>,
    Body(request): Body<ChangeMember>,
) -> Result<StatusCode, ApiError> {
    let mut form = Form::default();
    let role = form.tenant_role(&request.role);
    let role = form.finish(role)?;
    let account: AccountId = account.parse().map_err(|_| NO_MEMBER)?;
    let (tenant, _) = office.tenant_named(&caller, &id, Reach::Administer).await?;
    let is = office.store.role_in(tenant.id, account).await?.ok_or(NO_MEMBER)?;
    office.demand_rule_over(&caller, account).await?;
    if is.max(role) == TenantRole::Owner {
        office.tenant_named(&caller, &id, Reach::Own).await?;
    }
    let by = (!caller.administers_platform()).then_some(caller.0.account);
    trail::about(account.uuid());
    trail::detail("tenant", tenant.id.to_string());
    trail::detail("role", role.word());
    office.store.change_member(tenant.id, account, role, by, office.now()).await.or_missing(NO_MEMBER)?;
    Ok(StatusCode::NO_CONTENT)
}
