//! `GET /integrations/{id}`: one key at a provider's, without the key.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};

use crate::{
    caller::{Allowed, ManageIntegrations},
    error::ApiError,
    integration::Integration,
    office::Office,
};

/// One integration of the caller's, or of the tenant that it administers; without its key.
#[utoipa::path(
    get, path = "/integrations/{id}", tag = "integrations", security(("access_token" = []), ("api_key" = [])),
    params(("id" = String, Path, description = "The integration's id")),
    responses(
        (status = 200, description = "The integration", body = Integration),
        (status = 403, description = "`forbidden`: the caller may not manage integrations"),
        (status = 404, description = "`not_found`: the caller has no such integration"),
    )
)]
pub(crate) async fn read_integration(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageIntegrations>,
    Path(id): Path<String>,
) -> Result<Json<Integration>, ApiError> {
    Ok(Json(office.integration_of(&caller, &id).await?.into()))
}
