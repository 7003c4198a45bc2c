//! `GET /auth/sessions`: where the caller's account is logged in.

use std::sync::Arc;

use axum::{Json, extract::State, http::Uri};
use chrono::{DateTime, Utc};
use serde::Serialize;
use store::SessionRecord;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    caller::{Allowed, Caller, ManageAccount},
    error::ApiError,
    office::Office,
    paging::Paging,
};

/// One login.
#[derive(Serialize, ToSchema)]
pub(crate) struct Session {
    id: Uuid,
    /// Is it the one that asks?
    current: bool,
    /// What the client said it is.
    device: Option<String>,
    /// Where it began.
    address: Option<String>,
    /// By what: `password`, `magic_link`, `passkey`, `provider`, `registration`, `impersonation`, or a machine's `client_credentials`.
    method: Option<String>,
    created_at: DateTime<Utc>,
    /// When its tokens were last refreshed.
    last_seen_at: Option<DateTime<Utc>>,
}

/// One page.
#[derive(Serialize, ToSchema)]
pub(crate) struct Sessions {
    items: Vec<Session>,
    /// Give it as `cursor` for the next page; `null` on the last.
    next_cursor: Option<String>,
}

/// The caller's sessions, the newest first.
#[utoipa::path(
    get, path = "/auth/sessions", tag = "auth", security(("access_token" = []), ("api_key" = [])),
    params(
        ("cursor" = Option<String>, Query, description = "Where the page before this one ended: its `next_cursor`"),
        ("limit" = Option<u32>, Query, description = "Sessions on the page, 1 to 200; 50 by default", minimum = 1, maximum = 200),
    ),
    responses((status = 200, description = "Sessions that can be gone on with", body = Sessions))
)]
pub(crate) async fn list_sessions(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageAccount>,
    uri: Uri,
) -> Result<Json<Sessions>, ApiError> {
    let paging = Paging::read(&uri)?;
    let page = office.store.list_sessions(caller.0.account, office.now(), paging.after, paging.limit).await?;
    Ok(Json(Sessions {
        items: page.items.into_iter().map(|record| Session::of(record, &caller)).collect(),
        next_cursor: page.next.map(|cursor| cursor.to_string()),
    }))
}

// === impl Session ===

impl Session {
    pub(crate) fn of(record: SessionRecord, caller: &Caller) -> Self {
        Self {
            id: record.id.uuid(),
            current: caller.0.grant.session() == Some(record.id),
            device: record.user_agent,
            address: record.address,
            method: record.method,
            created_at: record.created_at,
            last_seen_at: record.last_seen_at,
        }
    }
}
