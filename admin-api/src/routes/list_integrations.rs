//! `GET /integrations`: the keys at providers that the caller has, and those of the tenant that it administers.

use std::sync::Arc;

use axum::{Json, extract::State, http::Uri};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    caller::{Allowed, ManageIntegrations},
    error::ApiError,
    integration::Integration,
    office::Office,
    paging::Paging,
};

/// One page.
#[derive(Serialize, ToSchema)]
pub(crate) struct Integrations {
    items: Vec<Integration>,
    /// Give it as `cursor` for the next page; `null` on the last.
    next_cursor: Option<String>,
}

/// Lists integrations, without their keys: the caller's own, and its tenant's if it administers it.
#[utoipa::path(
    get, path = "/integrations", tag = "integrations", security(("access_token" = []), ("api_key" = [])),
    params(
        ("cursor" = Option<String>, Query, description = "Where the page before this one ended: its `next_cursor`"),
        ("limit" = Option<u32>, Query, description = "Integrations on the page, 1 to 200; 50 by default", minimum = 1, maximum = 200),
    ),
    responses(
        (status = 200, description = "A page", body = Integrations),
        (status = 403, description = "`forbidden`: the caller may not manage integrations"),
    )
)]
pub(crate) async fn list_integrations(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageIntegrations>,
    uri: Uri,
) -> Result<Json<Integrations>, ApiError> {
    let Paging { after, limit } = Paging::read(&uri)?;
    let page = office.store.list_integrations(office.seal(), caller.integrations(), after, limit).await?;
    Ok(Json(Integrations {
        items: page.items.into_iter().map(Integration::from).collect(),
        next_cursor: page.next.map(|cursor| cursor.to_string()),
    }))
}
