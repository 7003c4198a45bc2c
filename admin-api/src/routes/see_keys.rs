//! `GET /admin/keys`: everybody's API keys, for administrators.

use std::sync::Arc;

use axum::{Json, extract::State, http::Uri};
use chrono::{DateTime, Utc};
use identity::Networks;
use serde::Serialize;
use store::SeenKey;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    caller::{Allowed, ManageUsers},
    error::ApiError,
    office::Office,
    paging::Paging,
};

/// A key, without what opens anything.
#[derive(Serialize, ToSchema)]
pub(crate) struct AnyKey {
    id: Uuid,
    account_id: Uuid,
    tenant_id: Option<Uuid>,
    name: String,
    /// What it begins with.
    prefix: String,
    /// The networks from which it may be shown; `null`: from anywhere.
    #[schema(value_type = Option<Vec<String>>)]
    allowed_networks: Option<Networks>,
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

// === impl AnyKey ===

impl From<SeenKey> for AnyKey {
    fn from(key: SeenKey) -> Self {
        let SeenKey { id, account_id, tenant_id, name, prefix, allowed_networks, created_at, expires_at, last_used_at } =
            key;
        Self { id, account_id, tenant_id, name, prefix, allowed_networks, created_at, expires_at, last_used_at }
    }
}
