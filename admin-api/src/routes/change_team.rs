//! `PATCH /teams/{id}`: a team of the caller's organisation gets another name, or goes out of use.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use serde::Deserialize;
use store::TeamChange;
use utoipa::ToSchema;

use crate::{
    body::Body,
    caller::Allowed,
    error::ApiError,
    form::Form,
    group::{ManageTeams, Team, id_in_path, missing},
    office::Office,
};

/// What shall change; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeTeam {
    #[schema(max_length = 100)]
    name: Option<String>,
    /// `null` removes it.
    #[serde(default, deserialize_with = "super::update_me::present")]
    #[schema(value_type = Option<String>, max_length = 100)]
    #[expect(clippy::option_option, reason = "left out is not the same as null")]
    external_ref: Option<Option<String>>,
    is_active: Option<bool>,
}

/// Changes a team. For administrators of the organisation.
#[utoipa::path(
    patch, path = "/teams/{id}", tag = "teams", request_body = ChangeTeam, security(("access_token" = []), ("api_key" = [])),
    params(("id" = String, Path, description = "The team's id")),
    responses(
        (status = 200, description = "The team as it is now", body = Team),
        (status = 403, description = "`forbidden`: the caller does not administer the organisation"),
        (status = 404, description = "`not_found`: the organisation has no such team"),
        (status = 409, description = "`conflict`: another team has this name"),
    )
)]
pub(crate) async fn change_team(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageTeams>,
    Path(id): Path<String>,
    Body(request): Body<ChangeTeam>,
) -> Result<Json<Team>, ApiError> {
    caller.demand_tenant_admin()?;
    let (id, tenant) = (id_in_path("team", &id)?, caller.tenant()?);
    office.store.change_team(tenant, id, request.parse()?, office.now()).await.map_err(missing("team"))?;
    let team = office.store.team(tenant, caller.0.account, id).await?.ok_or(ApiError::NotFound("team"))?;
    Ok(Json(team.into()))
}

// === impl ChangeTeam ===

impl ChangeTeam {
    fn parse(self) -> Result<TeamChange, ApiError> {
        let mut form = Form::default();
        let name = self.name.and_then(|name| form.name("name", &name));
        let external_ref = self.external_ref.map(|text| text.and_then(|text| form.external_ref(&text)));
        form.finish(Some(TeamChange { name, external_ref, is_active: self.is_active }))
    }
}
