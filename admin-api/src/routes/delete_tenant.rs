//! `DELETE /tenants/{id}`: an organisation with everything that it owns. Its members stay who they are elsewhere.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
};

use crate::{
    body::BodyOrNothing,
    caller::{Allowed, ManageTenants},
    error::ApiError,
    office::Office,
    proof::Proof,
    tenant::Reach,
    visitor::Visitor,
};

/// Deletes an organisation, with its teams, domains and whatever else is in it. For its owners, logged in: no key can do it.
#[utoipa::path(
    delete, path = "/tenants/{id}", tag = "tenants", request_body = Proof, security(("access_token" = [])),
    params(("id" = String, Path, description = "The organisation's id")),
    responses(
        (status = 401, description = "`insufficient_user_authentication`: the session is not fresh, and nothing was shown"),
        (status = 204, description = "It is gone, and sessions and keys that acted in it with it"),
        (status = 403, description = "`forbidden`: the caller does not own it; `wrong_proof`: the password or code is wrong; `session_required`; `tenant_disabled`"),
        (status = 404, description = "`not_found`: the caller belongs to none of that id"),
        (status = 409, description = "`conflict`: the caller has ceased to own it at the same moment"),
        (status = 429, description = "`login_locked`: too many wrong passwords or codes; see `Retry-After`"),
        (status = 503, description = "`busy`: too many passwords or codes are being checked; see `Retry-After`"),
    )
)]
pub(crate) async fn delete_tenant(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageTenants>,
    Path(id): Path<String>,
    visitor: Visitor,
    BodyOrNothing(proof): BodyOrNothing<Proof>,
) -> Result<StatusCode, ApiError> {
    let (tenant, _) = office.tenant_named(&caller, &id, Reach::Own).await?;
    if caller.0.grant.is_of_a_program() {
        return Err(ApiError::SessionNeeded);
    }
    proof.by(&caller, &visitor, &office).await?;
    tracing::info!(by = %caller.0.account, tenant = %tenant.id, "an organisation is deleted");
    // Weighed again: a proof takes its time.
    let by = (!caller.administers_platform()).then_some(caller.0.account);
    office.store.delete_tenant(tenant.id, by, office.now()).await?;
    Ok(StatusCode::NO_CONTENT)
}
