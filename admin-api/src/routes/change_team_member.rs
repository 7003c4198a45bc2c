//! `PATCH /teams/{id}/members/{account_id}`: somebody becomes something else in a team.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use serde::Deserialize;
use utoipa::ToSchema;

use super::add_team_member::TeamPlace;
use crate::{
    body::Body,
    caller::Allowed,
    error::ApiError,
    form::Form,
    group::{ManageTeams, account_in_path, id_in_path, missing},
    office::Office,
    trail,
};

/// What somebody shall be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeTeamMember {
    /// A word of the platform's own.
    role: String,
}

/// Changes what somebody is in a team. For administrators of the organisation.
#[utoipa::path(
    patch, path = "/teams/{id}/members/{account_id}", tag = "teams", request_body = ChangeTeamMember, security(("access_token" = []), ("api_key" = [])),
    params(
        ("id" = String, Path, description = "The team's id"),
        ("account_id" = String, Path, description = "The member's account"),
    ),
    responses(
        (status = 200, description = "What it is now", body = TeamPlace),
        (status = 403, description = "`forbidden`: the caller does not administer the organisation"),
        (status = 404, description = "`not_found`: the organisation has no such team, or the account does not belong to it"),
    )
)]
pub(crate) async fn change_team_member(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageTeams>,
    Path((id, account)): Path<(String, String)>,
    Body(request): Body<ChangeTeamMember>,
) -> Result<Json<TeamPlace>, ApiError> {
    caller.demand_tenant_admin()?;
    let (id, account) = (id_in_path("member", &id)?, account_in_path(&account)?);
    let mut form = Form::default();
    let role = form.team_role(&request.role);
    let role = form.finish(role)?;
    trail::detail("account", account.to_string());
    trail::detail("role", role.as_str());
    let changed = office.store.change_team_member(caller.tenant()?, id, account, &role, office.now()).await;
    changed.map_err(missing("member"))?;
    Ok(Json(TeamPlace { team_id: id, account_id: account.uuid(), role }))
}
