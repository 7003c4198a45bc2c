//! `GET /domains/{id}/members`: who is assigned to a domain of the caller's organisation.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::Uri,
};

use crate::{
    caller::Allowed,
    error::ApiError,
    group::{DomainMember, ManageTeams, id_in_path, missing},
    office::Office,
    paging::{Linked, Paging, linked},
};

/// Those who are assigned to a domain, in the order in which their accounts were made. For administrators of the organisation.
#[utoipa::path(
    get, path = "/domains/{id}/members", tag = "teams", security(("access_token" = []), ("api_key" = [])),
    params(
        ("id" = String, Path, description = "The domain's id"),
        ("cursor" = Option<String>, Query, description = "Where the page before this one ended"),
        ("limit" = Option<u32>, Query, description = "Items on the page, 1 to 200; 50 by default", minimum = 1, maximum = 200),
    ),
    responses(
        (status = 200, description = "A page; `Link` with `rel=\"next\"` says where the next one is", body = Vec<DomainMember>),
        (status = 403, description = "`forbidden`: the caller does not administer the organisation"),
        (status = 404, description = "`not_found`: the organisation has no such domain"),
    )
)]
pub(crate) async fn list_domain_members(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageTeams>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Linked<DomainMember>, ApiError> {
    caller.demand_tenant_admin()?;
    let (Paging { after, limit }, id) = (Paging::read(&uri)?, id_in_path("domain", &id)?);
    let page = office.store.list_domain_members(caller.tenant()?, id, after, limit).await;
    Ok(linked(&uri, page.map_err(missing("domain"))?))
}
