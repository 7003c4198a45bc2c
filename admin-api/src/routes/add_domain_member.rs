//! `POST /domains/{id}/members`: a member of the caller's organisation is assigned to one of its domains.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use identity::AccountId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    body::Body,
    caller::Allowed,
    error::ApiError,
    form::Form,
    group::{ManageTeams, id_in_path, missing},
    office::Office,
    trail,
};

/// Who shall be assigned to it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AddDomainMember {
    /// An account that belongs to the organisation.
    account_id: String,
}

/// A place in a domain.
#[derive(Serialize, ToSchema)]
pub(crate) struct DomainPlace {
    domain_id: Uuid,
    account_id: Uuid,
}

/// Assigns a member of the organisation to a domain. For administrators of the organisation.
#[utoipa::path(
    post, path = "/domains/{id}/members", tag = "teams", request_body = AddDomainMember, security(("access_token" = []), ("api_key" = [])),
    params(("id" = String, Path, description = "The domain's id")),
    responses(
        (status = 201, description = "The account is assigned to the domain", body = DomainPlace),
        (status = 403, description = "`forbidden`: the caller does not administer the organisation"),
        (status = 404, description = "`not_found`: the organisation has no such domain, or no such member"),
        (status = 409, description = "`conflict`: the account is assigned to it already, or to 100 domains"),
    )
)]
pub(crate) async fn add_domain_member(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageTeams>,
    Path(id): Path<String>,
    Body(request): Body<AddDomainMember>,
) -> Result<(StatusCode, Json<DomainPlace>), ApiError> {
    caller.demand_tenant_admin()?;
    let id = id_in_path("domain or member", &id)?;
    let mut form = Form::default();
    let account = form.id("account_id", &request.account_id).map(AccountId::new);
    let account = form.finish(account)?;
    trail::detail("account", account.to_string());
    let added = office.store.add_domain_member(caller.tenant()?, id, account, office.now()).await;
    added.map_err(missing("domain or member"))?;
    Ok((StatusCode::CREATED, Json(DomainPlace { domain_id: id, account_id: account.uuid() })))
}
