//! `GET /teams/{id}`: one team of the caller's organisation.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};

use crate::{
    caller::{Allowed, Caller},
    error::ApiError,
    group::{ReadTeams, Team, id_in_path},
    office::Office,
};

/// A team of the organisation in which the caller acts.
#[utoipa::path(
    get, path = "/teams/{id}", tag = "teams", security(("access_token" = []), ("api_key" = [])),
    params(("id" = String, Path, description = "The team's id")),
    responses(
        (status = 200, description = "The team", body = Team),
        (status = 404, description = "`not_found`: the organisation has no such team"),
    )
)]
pub(crate) async fn read_team(
    State(office): State<Arc<Office>>,
    Allowed { caller: Caller(caller), .. }: Allowed<ReadTeams>,
    Path(id): Path<String>,
) -> Result<Json<Team>, ApiError> {
    let id = id_in_path("team", &id)?;
    let tenant = caller.tenant.ok_or(ApiError::NotFound("team"))?;
    let team = office.store.team(tenant, caller.account, id).await?.ok_or(ApiError::NotFound("team"))?;
    Ok(Json(team.into()))
}
