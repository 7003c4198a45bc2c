//! `GET /admin/sessions` and `DELETE /admin/sessions/{id}`: everybody's sessions, for administrators.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::{StatusCode, Uri},
};
use chrono::{DateTime, Utc};
use identity::SessionId;
use serde::Serialize;
use store::SeenSession;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    caller::{Allowed, ManageUsers},
    error::{ApiError, OrMissing},
    office::Office,
    paging::Paging,
};

const NO_SESSION: ApiError = ApiError::NotFound("session");

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

/// Ends anybody's session. For administrators.
#[utoipa::path(
    delete, path = "/admin/sessions/{id}", tag = "administration", security(("access_token" = []), ("api_key" = [])),
    params(("id" = String, Path, description = "The session's id")),
    responses(
        (status = 204, description = "It has ended"),
        (status = 403, description = "`forbidden`: the caller may not manage users"),
        (status = 404, description = "`not_found`: there is none of that id"),
    )
)]
pub(crate) async fn end_any_session(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageUsers>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let id: SessionId = id.parse().map_err(|_| NO_SESSION)?;
    let owner = office.store.session_grant(id).await?.ok_or(NO_SESSION)?.account;
    caller.demand_all_of(&office.hooks.policy(), &owner.role)?;
    office.store.end_any_session(id, office.now()).await.or_missing(NO_SESSION)?;
    Ok(StatusCode::NO_CONTENT)
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
