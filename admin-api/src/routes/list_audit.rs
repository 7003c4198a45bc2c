//! `GET /admin/audit`: what happened, the latest first, a page at a time.

use std::sync::Arc;

use axum::{Json, extract::State, http::Uri};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use store::{AuditEvent, AuditFilter};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    caller::{Allowed, ReadAudit},
    error::ApiError,
    office::Office,
    paging::Paging,
};

/// One page.
#[derive(Serialize, ToSchema)]
pub(crate) struct Events {
    items: Vec<Entry>,
    /// Give it as `cursor` for the next page; `null` on the last.
    next_cursor: Option<String>,
}

/// Something that happened.
#[derive(Serialize, ToSchema)]
pub(crate) struct Entry {
    id: Uuid,
    at: DateTime<Utc>,
    /// The operation that was asked for, as this document names it, or the command that was typed.
    event: String,
    /// `ok`, or the code of the refusal.
    outcome: String,
    /// The account that did it, if it is known.
    actor: Option<Uuid>,
    /// The account, key or session that it was done to.
    subject: Option<Uuid>,
    /// From where.
    address: Option<String>,
    request_id: Option<String>,
    /// What else there is to know.
    #[schema(value_type = Option<Object>)]
    details: Option<Value>,
}

/// Lists what happened. For auditors.
#[utoipa::path(
    get, path = "/admin/audit", tag = "administration", security(("access_token" = []), ("api_key" = [])),
    params(
        ("event" = Option<String>, Query, description = "Of this kind, such as `login` or `change_user`"),
        ("outcome" = Option<String>, Query, description = "`ok`, or the code of a refusal"),
        ("actor" = Option<String>, Query, description = "By this account"),
        ("subject" = Option<String>, Query, description = "To this account, key or session"),
        ("since" = Option<String>, Query, description = "From this time on (RFC 3339)"),
        ("until" = Option<String>, Query, description = "Before this time (RFC 3339)"),
        ("cursor" = Option<String>, Query, description = "Where the page before this one ended: its `next_cursor`"),
        ("limit" = Option<u32>, Query, description = "Events on the page, 1 to 200; 50 by default", minimum = 1, maximum = 200),
    ),
    responses(
        (status = 200, description = "A page", body = Events),
        (status = 403, description = "`forbidden`: the caller may not read the audit trail"),
    )
)]
pub(crate) async fn list_audit(
    State(office): State<Arc<Office>>,
    _: Allowed<ReadAudit>,
    uri: Uri,
) -> Result<Json<Events>, ApiError> {
    let (filter, Paging { after, limit }) = read(&uri)?;
    let page = office.store.list_audit(&filter, after, limit).await?;
    Ok(Json(Events {
        items: page.items.into_iter().map(Entry::from).collect(),
        next_cursor: page.next.map(|cursor| cursor.to_string()),
    }))
}

impl From<AuditEvent> for Entry {
    fn from(event: AuditEvent) -> Self {
        let AuditEvent { id, at, event, outcome, actor, subject, address, request_id, details } = event;
        let details = details.and_then(|text| serde_json::from_str(&text).ok());
        Self { id, at, event, outcome, actor, subject, address, request_id, details }
    }
}

/// Which events are asked for, and which page of them.
fn read(uri: &Uri) -> Result<(AuditFilter, Paging), ApiError> {
    let (paging, said) = Paging::read_with(uri, &["event", "outcome", "actor", "subject", "since", "until"])?;
    let time = |name| {
        let read = |text: &str| DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc());
        said.get(name, read, "must be a time of RFC 3339, such as 2026-01-31T12:00:00Z")
    };
    let filter = AuditFilter {
        event: said.text("event").map(str::to_owned),
        outcome: said.text("outcome").map(str::to_owned),
        actor: said.id("actor")?,
        subject: said.id("subject")?,
        since: time("since")?,
        until: time("until")?,
    };
    Ok((filter, paging))
}
