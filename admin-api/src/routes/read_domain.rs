//! `GET /domains/{id}`: one domain of the caller's organisation.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};

use crate::{
    caller::{Allowed, Caller},
    error::ApiError,
    group::{Domain, ReadTeams, id_in_path},
    office::Office,
};

/// A domain of the organisation in which the caller acts.
#[utoipa::path(
    get, path = "/domains/{id}", tag = "teams", security(("access_token" = []), ("api_key" = [])),
    params(("id" = String, Path, description = "The domain's id")),
    responses(
        (status = 200, description = "The domain", body = Domain),
        (status = 404, description = "`not_found`: the organisation has no such domain"),
    )
)]
pub(crate) async fn read_domain(
    State(office): State<Arc<Office>>,
    Allowed { caller: Caller(caller), .. }: Allowed<ReadTeams>,
    Path(id): Path<String>,
) -> Result<Json<Domain>, ApiError> {
    let id = id_in_path("domain", &id)?;
    let tenant = caller.tenant.ok_or(ApiError::NotFound("domain"))?;
    let domain = office.store.domain(tenant, id).await?.ok_or(ApiError::NotFound("domain"))?;
    Ok(Json(domain.into()))
}
