//! `GET /admin/sessions`: everybody's sessions, for administrators.

use std::sync::Arc;

use axum::{Json, extract::State, http::Uri};
use chrono::{DateTime, Utc};
use serde::Serialize;
use store::SeenSession;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    caller::{Allowed, ManageUsers},
    error::ApiError,
    office::Office,
    paging::Paging,
};

/// A session that nobody has ended.
#[derive(Serialize, ToSchema)]
pub(crate) struct AnySession {
    id: Uuid,
    account_id: Uuid,
    tenant_id: Option<Uuid>,
    /// The administrator who acts as its owner.
    impersonated_by: Option<Uuid>,
    address: Option<String>,
    /// What the client said it is.
    device: Option<String>,
    /// By what: `password`, `magic_link`, `impersonation` …
    method: Option<String>,
    created_at: DateTime<Utc>,
    last_seen_at: Option<DateTime<Utc>>,
}

/// A page of sessions.
#[derive(Serialize, ToSchema)]
pub(crate) struct AnySessions {
    items: Vec<AnySession>,
    /// Give it as `cursor` for the next page; `null` on the last.
    next_cursor: Option<String>,
}

/// Lists sessions that nobody has ended. For administrators.
#[utoipa::path(
    get, path = "/admin/sessions", tag = "administration", security(("access_token" = []), ("api_key" = [])),
    params(
        ("account_id" = Option<String>, Query, description = "Of this account"),
        ("cursor" = Option<String>, Query, description = "Where the page before this one ended: its `next_cursor`"),
        ("limit" = Option<u32>, Query, description = "Sessions on the page, 1 to 200; 50 by default", minimum = 1, maximum = 200),
    ),
    responses(
        (status = 200, description = "A page", body = AnySessions),
        (status = 403, description = "`forbidden`: the caller may not manage users"),
    )
)]
pub(crate) async fn see_sessions(
    State(office): State<Arc<Office>>,
    _: Allowed<ManageUsers>,
    uri: Uri,
) -> Result<Json<AnySessions>, ApiError> {
    let (paging, account) = Paging::read_of_account(&uri)?;
    let page = office.store.see_sessions(account, paging.after, paging.limit).await?;
    Ok(Json(AnySessions {
        items: page.items.into_iter().map(AnySession::from).collect(),
        next_cursor: page.next.map(|cursor| cursor.to_string()),
    }))
}

// === impl AnySession ===

impl From<SeenSession> for AnySession {
    fn from(session: SeenSession) -> Self {
        Self {
            id: session.id,
            account_id: session.account_id,
            tenant_id: session.tenant_id,
            impersonated_by: session.actor_id,
            address: session.address,
            device: session.user_agent,
            method: session.method,
            created_at: session.created_at,
            last_seen_at: session.last_seen_at,
        }
    }
}
