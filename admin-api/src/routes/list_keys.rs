//! `GET /auth/api-keys`: the caller's keys in use.

use std::sync::Arc;

use axum::{Json, extract::State, http::Uri};
use serde::Serialize;
use store::Page;
use utoipa::ToSchema;

use crate::{
    caller::{Allowed, ManageAccount},
    error::ApiError,
    key::Key,
    office::Office,
    paging::Paging,
};

/// A page, which has all of them unless it is asked to be smaller: an account has 100 at most.
#[derive(Serialize, ToSchema)]
pub(crate) struct Keys {
    items: Vec<Key>,
    /// Give it as `cursor` for the next page; `null` on the last.
    next_cursor: Option<String>,
}

/// The caller's API keys, without their secrets.
#[utoipa::path(
    get, path = "/auth/api-keys", tag = "keys", security(("access_token" = []), ("api_key" = [])),
    params(
        ("cursor" = Option<String>, Query, description = "Where the page before this one ended: its `next_cursor`"),
        ("limit" = Option<u32>, Query, description = "Keys on the page, 1 to 200; 200 by default", minimum = 1, maximum = 200),
    ),
    responses((status = 200, description = "Keys that are not deleted", body = Keys))
)]
pub(crate) async fn list_keys(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageAccount>,
    uri: Uri,
) -> Result<Json<Keys>, ApiError> {
    let Paging { after, limit } = Paging::read_of_whole(&uri)?;
    let page = Page::of_whole(office.keys_of(&caller).await?, after, limit, |key| key.id.uuid());
    Ok(Json(Keys {
        items: page.items.into_iter().map(Key::from).collect(),
        next_cursor: page.next.map(|cursor| cursor.to_string()),
    }))
}
