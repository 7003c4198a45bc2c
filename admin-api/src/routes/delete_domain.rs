//! `DELETE /domains/{id}`: a domain of the caller's organisation is no more. What is in use is not deleted by mistake: `?cascade=true`
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

/// Deletes a domain. For administrators of the organisation.
#[utoipa::path(
    delete, path = "/domains/{id}", tag = "teams", security(("access_token" = []), ("api_key" = [])),
    params(
        ("id" = String, Path, description = "The domain's id"),
        ("cascade" = Option<bool>, Query, description = "`true` deletes those within it too, and ends every assignment to them; `false` by default"),
    ),
    responses(
        (status = 204, description = "Deleted"),
        (status = 403, description = "`forbidden`: the caller does not administer the organisation"),
        (status = 404, description = "`not_found`: the organisation has no such domain"),
        (status = 409, description = "`conflict`: domains lie within it, or somebody is assigned to it"),
    )
)]
pub(crate) async fn delete_domain(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageTeams>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<StatusCode, ApiError> {
    caller.demand_tenant_admin()?;
    let (cascade, id) = (Parameters::read(&uri, &["cascade"])?.flag("cascade")?, id_in_path("domain", &id)?);
    if cascade {
        trail::detail("cascade", true);
    }
    office.store.delete_domain(caller.tenant()?, id, cascade, office.now()).await.map_err(missing("domain"))?;
    Ok(StatusCode::NO_CONTENT)
}
