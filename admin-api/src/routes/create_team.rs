//! `POST /teams`: a new team of the caller's organisation.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use store::NewTeam;
use utoipa::ToSchema;

use crate::{
    body::Body,
    caller::Allowed,
    error::ApiError,
    form::Form,
    group::{ManageTeams, Team},
    office::Office,
    trail,
};

/// What the team shall be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateTeam {
    /// The organisation's own: no other of its teams has it, however it is written. 100 characters at most.
    #[schema(max_length = 100)]
    name: String,
    /// What another system calls it.
    #[schema(max_length = 100)]
    external_ref: Option<String>,
    /// `true` by default.
    is_active: Option<bool>,
}

/// Makes a team. For administrators of the organisation.
#[utoipa::path(
    post, path = "/teams", tag = "teams", request_body = CreateTeam, security(("access_token" = []), ("api_key" = [])),
    responses(
        (status = 201, description = "The team", body = Team),
        (status = 403, description = "`forbidden`: the caller does not administer the organisation"),
        (status = 409, description = "`conflict`: there is a team of this name; `no_tenant`: the caller acts in no organisation"),
    )
)]
pub(crate) async fn create_team(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageTeams>,
    Body(request): Body<CreateTeam>,
) -> Result<(StatusCode, Json<Team>), ApiError> {
    caller.demand_tenant_admin()?;
    let team = office.store.create_team(caller.tenant()?, request.parse()?, office.now()).await?;
    trail::about(team.id);
    Ok((StatusCode::CREATED, Json(team.into())))
}

// === impl CreateTeam ===

impl CreateTeam {
    fn parse(self) -> Result<NewTeam, ApiError> {
        let mut form = Form::default();
        let name = form.name("name", &self.name);
        let external_ref = self.external_ref.and_then(|text| form.external_ref(&text));
        form.finish(name.map(|name| NewTeam { name, external_ref, is_active: self.is_active.unwrap_or(true) }))
    }
}
