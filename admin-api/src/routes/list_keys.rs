//! `GET /auth/api-keys`: the caller's keys in use.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    caller::{Allowed, ManageAccount},
    error::ApiError,
    key::Key,
    office::Office,
};

/// All of them: an account has 100 at most.
#[derive(Serialize, ToSchema)]
pub(crate) struct Keys {
    items: Vec<Key>,
}

/// The caller's API keys, without their secrets.
#[utoipa::path(
    get, path = "/auth/api-keys", tag = "keys", security(("access_token" = []), ("api_key" = [])),
    responses((status = 200, description = "Keys that are not deleted", body = Keys))
)]
pub(crate) async fn list_keys(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageAccount>,
) -> Result<Json<Keys>, ApiError> {
    let records = office.keys_of(&caller).await?;
    Ok(Json(Keys { items: records.into_iter().map(Key::from).collect() }))
}
