//! `DELETE /integrations/{id}`: a key at a provider's is kept and used no longer.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
};

use crate::{
    caller::{Allowed, ManageIntegrations},
    error::{ApiError, OrMissing},
    integration::NO_INTEGRATION,
    office::Office,
    trail,
};

/// Deletes an integration of the caller's, or of the tenant that it administers. At the provider's the key is as good as before.
#[utoipa::path(
    delete, path = "/integrations/{id}", tag = "integrations", security(("access_token" = []), ("api_key" = [])),
    params(("id" = String, Path, description = "The integration's id")),
    responses(
        (status = 204, description = "Deleted"),
        (status = 403, description = "`forbidden`: the caller may not manage integrations"),
        (status = 404, description = "`not_found`: the caller has no such integration"),
    )
)]
pub(crate) async fn delete_integration(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageIntegrations>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let found = office.integration_of(&caller, &id).await?;
    trail::detail("service", found.service.as_str());
    office.store.delete_integration(found.owner, found.id, office.now()).await.or_missing(NO_INTEGRATION)?;
    Ok(StatusCode::NO_CONTENT)
}
