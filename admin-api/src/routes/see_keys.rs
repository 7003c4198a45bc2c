//! `GET /admin/keys` and `DELETE /admin/keys/{id}`: everybody's API keys, for administrators.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::{StatusCode, Uri},
};
use chrono::{DateTime, Utc};
use identity::KeyId;
use serde::Serialize;
use store::SeenKey;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    caller::{Allowed, ManageUsers},
    error::{ApiError, OrMissing},
    office::Office,
    paging::Paging,
};

const NO_KEY: ApiError = ApiError::NotFound("key");

/// A key, without what opens anything.
#[derive(Serialize, ToSchema)]
pub(crate) struct AnyKey {
    id: Uuid,
    account_id: Uuid,
    tenant_id: Option<Uuid>,
    name: String,
    /// What it begins with.
    prefix: String,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    /// To within a minute.
    last_used_at: Option<DateTime<Utc>>,
}

/// A page of keys.
#[derive(Serialize, ToSchema)]
pub(crate) struct AnyKeys {
    items: Vec<AnyKey>,
    /// Give it as `cursor` for the next page; `null` on the last.
    next_cursor: Option<String>,
}

/// Lists keys that are not deleted. For administrators.
#[utoipa::path(
    get, path = "/admin/keys", tag = "administration", security(("access_token" = []), ("api_key" = [])),
    params(
        ("account_id" = Option<String>, Query, description = "Of this account"),
        ("cursor" = Option<String>, Query, description = "Where the page before this one ended: its `next_cursor`"),
        ("limit" = Option<u32>, Query, description = "Keys on the page, 1 to 200; 50 by default", minimum = 1, maximum = 200),
    ),
    responses(
        (status = 200, description = "A page", body = AnyKeys),
        (status = 403, description = "`forbidden`: the caller may not manage users"),
    )
)]
pub(crate) async fn see_keys(
    State(office): State<Arc<Office>>,
    _: Allowed<ManageUsers>,
    uri: Uri,
) -> Result<Json<AnyKeys>, ApiError> {
    let (paging, account) = Paging::read_of_account(&uri)?;
    let page = office.store.see_keys(account, paging.after, paging.limit).await?;
    Ok(Json(AnyKeys {
        items: page.items.into_iter().map(AnyKey::from).collect(),
        next_cursor: page.next.map(|cursor| cursor.to_string()),
    }))
}

/// Deletes anybody's key. For administrators.
#[utoipa::path(
    delete, path = "/admin/keys/{id}", tag = "administration", security(("access_token" = []), ("api_key" = [])),
    params(("id" = String, Path, description = "The key's id")),
    responses(
        (status = 204, description = "It opens nothing any more"),
        (status = 403, description = "`forbidden`: the caller may not manage users"),
        (status = 404, description = "`not_found`: there is none of that id"),
    )
)]
pub(crate) async fn end_key(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageUsers>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let id: KeyId = id.parse().map_err(|_| NO_KEY)?;
    let owner = office.store.key_grant(id).await?.ok_or(NO_KEY)?.account;
    caller.demand_all_of(&office.hooks.policy(), &owner.role)?;
    office.store.end_any_key(id, office.now()).await.or_missing(NO_KEY)?;
    Ok(StatusCode::NO_CONTENT)
}

// === impl AnyKey ===

impl From<SeenKey> for AnyKey {
    fn from(key: SeenKey) -> Self {
        let SeenKey { id, account_id, tenant_id, name, prefix, created_at, expires_at, last_used_at } = key;
        Self { id, account_id, tenant_id, name, prefix, created_at, expires_at, last_used_at }
    }
}
