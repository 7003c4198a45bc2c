//! `DELETE /auth/api-keys/{id}`: a key of the caller's is refused from now on.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use identity::KeyId;
use store::StoreError;

use crate::{
    caller::{Allowed, Caller, ManageAccount},
    error::ApiError,
    office::Office,
};

/// What a path names, when it does not name a key of the caller's.
pub(crate) const NO_KEY: ApiError = ApiError::NotFound("API key");

/// Deletes one of the caller's API keys.
#[utoipa::path(
    delete, path = "/auth/api-keys/{id}", tag = "keys", security(("access_token" = []), ("api_key" = [])),
    params(("id" = String, Path, description = "The key's id")),
    responses(
        (status = 204, description = "Deleted"),
        (status = 403, description = "`forbidden`: the key's scopes reach beyond the caller's own"),
        (status = 404, description = "`not_found`: the caller has no such key"),
        (status = 409, description = "`conflict`: the account was changed at the same moment"),
    )
)]
pub(crate) async fn delete_key(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageAccount>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    delete(&office, &caller, &id).await.map(|()| StatusCode::NO_CONTENT)
}

/// Deletes a key of the caller's that a path names.
pub(crate) async fn delete(office: &Office, caller: &Caller, id: &str) -> Result<(), ApiError> {
    let id: KeyId = id.parse().map_err(|_| NO_KEY)?;
    let records = office.keys_of(caller).await?;
    let key = records.into_iter().find(|record| record.id == id).ok_or(NO_KEY)?;
    // Scopes never change, so what is deleted is what was looked at.
    caller.demand_scopes(key.scopes.as_deref())?;
    office.store.revoke_key(caller.0.account, id, Some(caller.0.grant), office.now()).await.map_err(no_key)
}

/// Somebody else's key is no key.
pub(crate) fn no_key(error: StoreError) -> ApiError {
    match error {
        StoreError::NotFound => NO_KEY,
        error => error.into(),
    }
}
