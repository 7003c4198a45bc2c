//! `DELETE /teams/{id}`: a team of the caller's organisation is no more. What is in use is not deleted by mistake: `?cascade=true`
//! says that it is meant.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::{StatusCode, Uri},
};

use crate::{
    caller::Allowed,
    error::ApiError,
    group::{ManageTeams, id_in_path, missing},
    office::Office,
    query::Parameters,
    trail,
};

/// Deletes a team. For administrators of the organisation.
#[utoipa::path(
    delete, path = "/teams/{id}", tag = "teams", security(("access_token" = []), ("api_key" = [])),
    params(
        ("id" = String, Path, description = "The team's id"),
        ("cascade" = Option<bool>, Query, description = "`true` takes its members out; `false` by default"),
    ),
    responses(
        (status = 204, description = "Deleted"),
        (status = 403, description = "`forbidden`: the caller does not administer the organisation"),
        (status = 404, description = "`not_found`: the organisation has no such team"),
        (status = 409, description = "`conflict`: somebody belongs to it"),
    )
)]
pub(crate) async fn delete_team(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageTeams>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<StatusCode, ApiError> {
    caller.demand_tenant_admin()?;
    let (cascade, id) = (Parameters::read(&uri, &["cascade"])?.flag("cascade")?, id_in_path("team", &id)?);
    if cascade {
        trail::detail("cascade", true);
    }
    office.store.delete_team(caller.tenant()?, id, cascade, office.now()).await.map_err(missing("team"))?;
    Ok(StatusCode::NO_CONTENT)
}
