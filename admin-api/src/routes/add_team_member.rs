//! `POST /teams/{id}/members`: a member of the caller's organisation belongs to one of its teams too.

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

/// What somebody is in a team unless it is said.
const MEMBER: &str = "member";

/// Who shall belong to it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AddTeamMember {
    /// An account that belongs to the organisation.
    account_id: String,
    /// As what: a word of the platform's own, such as `member` (the default), `lead` or `owner`. Upstreams may go by it; here it gives no
    /// right.
    role: Option<String>,
}

/// A place in a team.
#[derive(Serialize, ToSchema)]
pub(crate) struct TeamPlace {
    pub(crate) team_id: Uuid,
    pub(crate) account_id: Uuid,
    pub(crate) role: String,
}

/// Puts a member of the organisation into a team. For administrators of the organisation.
#[utoipa::path(
    post, path = "/teams/{id}/members", tag = "teams", request_body = AddTeamMember, security(("access_token" = []), ("api_key" = [])),
    params(("id" = String, Path, description = "The team's id")),
    responses(
        (status = 201, description = "The account belongs to the team", body = TeamPlace),
        (status = 403, description = "`forbidden`: the caller does not administer the organisation"),
        (status = 404, description = "`not_found`: the organisation has no such team, or no such member"),
        (status = 409, description = "`conflict`: the account belongs to the team already, or to 100 teams"),
    )
)]
pub(crate) async fn add_team_member(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageTeams>,
    Path(id): Path<String>,
    Body(request): Body<AddTeamMember>,
) -> Result<(StatusCode, Json<TeamPlace>), ApiError> {
    caller.demand_tenant_admin()?;
    let (id, (account, role)) = (id_in_path("team or member", &id)?, request.parse()?);
    trail::detail("account", account.to_string());
    trail::detail("role", role.as_str());
    let added = office.store.add_team_member(caller.tenant()?, id, account, &role, office.now()).await;
    added.map_err(missing("team or member"))?;
    Ok((StatusCode::CREATED, Json(TeamPlace { team_id: id, account_id: account.uuid(), role })))
}

// === impl AddTeamMember ===

impl AddTeamMember {
    fn parse(self) -> Result<(AccountId, String), ApiError> {
        let mut form = Form::default();
        let account = form.id("account_id", &self.account_id).map(AccountId::new);
        let role = form.team_role(self.role.as_deref().unwrap_or(MEMBER));
        form.finish(account.zip(role))
    }
}
