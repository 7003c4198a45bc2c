//! `GET /teams/{id}/members`: who belongs to a team of the caller's organisation.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::Uri,
};

use crate::{
    caller::Allowed,
    error::ApiError,
    group::{ManageTeams, TeamMember, id_in_path, missing},
    office::Office,
    paging::{Linked, Paging, linked},
};

/// Those who belong to a team, in the order in which their accounts were made. For administrators of the organisation.
#[utoipa::path(
    get, path = "/teams/{id}/members", tag = "teams", security(("access_token" = []), ("api_key" = [])),
    params(
        ("id" = String, Path, description = "The team's id"),
        ("cursor" = Option<String>, Query, description = "Where the page before this one ended"),
        ("limit" = Option<u32>, Query, description = "Items on the page, 1 to 200; 50 by default", minimum = 1, maximum = 200),
    ),
    responses(
        (status = 200, description = "A page; `Link` with `rel=\"next\"` says where the next one is", body = Vec<TeamMember>),
        (status = 403, description = "`forbidden`: the caller does not administer the organisation"),
        (status = 404, description = "`not_found`: the organisation has no such team"),
    )
)]
pub(crate) async fn list_team_members(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageTeams>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Linked<TeamMember>, ApiError> {
    caller.demand_tenant_admin()?;
    let (Paging { after, limit }, id) = (Paging::read(&uri)?, id_in_path("team", &id)?);
    let page = office.store.list_team_members(caller.tenant()?, id, after, limit).await;
    Ok(linked(&uri, page.map_err(missing("team"))?))
}
