//! `POST /auth/switch-tenant`: the caller's session acts in another organisation of the caller's, at once and with the same tokens; the next
//! login begins there. Other sessions and keys stay where they are.

use std::sync::Arc;

use axum::{Json, extract::State};
use identity::{Grant, TenantId, Voucher};
use serde::Deserialize;
use store::{Account, Status, StoreError};
use utoipa::ToSchema;

use crate::{
    body::Body,
    caller::{Allowed, Caller, ManageTenants},
    error::ApiError,
    office::Office,
    tenant::NO_TENANT,
    trail,
    user::User,
};

/// Where to.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SwitchTenant {
    /// An organisation to which the caller belongs.
    tenant_id: String,
}

/// Acts in another organisation. Whoever comes by tokens of another issuer, and so has no session here, does so with all of them.
#[utoipa::path(
    post, path = "/auth/switch-tenant", tag = "tenants", request_body = SwitchTenant, security(("access_token" = [])),
    responses(
        (status = 200, description = "The caller, in that organisation", body = User),
        (status = 403, description = "`tenant_disabled`; `session_required`: a key acts in the organisation for which it was made, and a token of another issuer in the one that it names, if it names any"),
        (status = 404, description = "`not_found`: the caller belongs to none of that id"),
    )
)]
pub(crate) async fn switch_tenant(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageTenants>,
    Body(request): Body<SwitchTenant>,
) -> Result<Json<User>, ApiError> {
    let account = switch(&office, &caller, &request.tenant_id).await?;
    Ok(Json(office.user_in_session(account).await))
}

/// Acts in another organisation, for programs and for the page alike.
pub(crate) async fn switch(office: &Office, caller: &Caller, id: &str) -> Result<Account, ApiError> {
    let session = match &caller.0.grant {
        Grant::Session(session) | Grant::Cookie(session) => Some(*session),
        // Others vouch for whoever has no session here: they act where their account does.
        Grant::External(_, Voucher::Issuer | Voucher::Legacy | Voucher::Developer) => None,
        // It acts where it says, whatever its account does.
        Grant::External(_, Voucher::IssuerForTenant) | Grant::Key(_) | Grant::Machine(_) | Grant::Certificate(_) => {
            return Err(ApiError::SessionNeeded);
        }
    };
    let (account, id) = (caller.0.account, id.parse::<TenantId>().map_err(|_| NO_TENANT)?);
    office.store.role_in(id, account).await?.ok_or(NO_TENANT)?;
    let tenant = office.store.tenant(id).await?.ok_or(NO_TENANT)?;
    if tenant.status == Status::Disabled {
        return Err(ApiError::TenantDisabled);
    }
    trail::about(account.uuid());
    trail::detail("tenant", id.to_string());
    let switched = match session {
        Some(session) => office.store.switch_tenant(session, account, id, office.now()).await,
        None => office.store.move_home(account, id, office.now()).await,
    };
    switched.map_err(|error| match error {
        StoreError::NotFound => NO_TENANT,
        other => other.into(),
    })?;
    office.store.account_in(account, Some(id)).await?.ok_or(ApiError::CallerGone)
}
