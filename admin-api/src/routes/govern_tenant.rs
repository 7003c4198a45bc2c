//! `PATCH /admin/tenants/{id}`: an administrator sets an organisation's tier or status. It counts at once for all who act in it.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use identity::TenantId;
use policies::Policy;
use serde::Deserialize;
use store::{Status, TenantChange};
use utoipa::ToSchema;

use super::{change_user::NewStatus, update_me::present};
use crate::{
    body::Body,
    caller::{Allowed, GovernTenants},
    error::{ApiError, OrMissing},
    form::Form,
    office::Office,
    tenant::{NO_TENANT, TenantShape},
    trail,
};

/// What shall change; at least one of them.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GovernTenant {
    /// A tier of the configuration, for members who have none of their own; `null`: each has the one that its account was made with.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    #[expect(clippy::option_option, reason = "left out is not the same as null")]
    tier: Option<Option<String>>,
    /// `disabled`: nobody can act in it, until it is `active`.
    status: Option<NewStatus>,
}

/// Sets an organisation's tier or status. For administrators.
#[utoipa::path(
    patch, path = "/admin/tenants/{id}", tag = "administration", request_body = GovernTenant,
    security(("access_token" = []), ("api_key" = [])),
    params(("id" = String, Path, description = "The organisation's id")),
    responses(
        (status = 200, description = "The organisation as it is now", body = TenantShape),
        (status = 403, description = "`forbidden`: the caller may not govern organisations"),
        (status = 404, description = "`not_found`: there is no such organisation"),
        (status = 409, description = "`conflict`: the caller belongs to it, or their account was changed at the same moment"),
    )
)]
pub(crate) async fn govern_tenant(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<GovernTenants>,
    Path(id): Path<String>,
    Body(request): Body<GovernTenant>,
) -> Result<Json<TenantShape>, ApiError> {
    let id: TenantId = id.parse().map_err(|_| NO_TENANT)?;
    let change = request.parse(&office.hooks.policy())?;
    // Whoever governs could keep every administrator out, or give themselves what their account is not given.
    if !caller.administers_platform() {
        return Err(ApiError::Forbidden("*".to_owned()));
    }
    if change.status == Some(Status::Disabled) && office.store.role_in(id, caller.0.account).await?.is_some() {
        return Err(ApiError::Conflict("nobody disables an organisation to which they belong"));
    }
    tracing::info!(by = %caller.0.account, tenant = %id, ?change, "an organisation is changed");
    if let Some(tier) = &change.tier {
        trail::detail("tier", tier.as_deref());
    }
    if let Some(status) = change.status {
        trail::detail("status", status.word());
    }
    let change = TenantChange { by: caller.doer(&office), ..change };
    let tenant = office.store.change_tenant(id, change, office.now()).await.or_missing(NO_TENANT)?;
    Ok(Json(TenantShape::of(tenant, None)))
}

// === impl GovernTenant ===

impl GovernTenant {
    fn parse(self, policy: &Policy) -> Result<TenantChange, ApiError> {
        let mut form = Form::default();
        if let Some(tier) = self.tier.iter().flatten().find(|tier| !policy.tiers.contains(tier)) {
            form.fault("tier", format!("there is no tier `{tier}`"));
        }
        if self.tier.is_none() && self.status.is_none() {
            form.fault("", "give a tier or a status");
        }
        let status = self.status.map(Into::into);
        form.finish(Some(TenantChange { name: None, tier: self.tier, status, by: None }))
    }
}
