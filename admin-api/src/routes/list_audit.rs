//! `GET /admin/audit`: what happened, the latest first, a page at a time.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Query, State},
    http::Uri,
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use store::{AuditEvent, AuditFilter, Cursor};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    caller::{Allowed, ReadAudit},
    error::ApiError,
    office::Office,
    paging::{LIMIT, MAX_LIMIT, NO_CONTROLS, wrong},
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

#[derive(Default)]
struct Wanted {
    filter: AuditFilter,
    after: Option<Cursor>,
    limit: Option<u32>,
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
    let wanted = Wanted::read(&uri)?;
    let page = office.store.list_audit(&wanted.filter, wanted.after, wanted.limit.unwrap_or(LIMIT)).await?;
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

// === impl Wanted ===

impl Wanted {
    /// A parameter that we do not know or that is given twice is refused: it may be a filter somebody counts on.
    fn read(uri: &Uri) -> Result<Self, ApiError> {
        let Query(pairs) =
            Query::<Vec<(String, String)>>::try_from_uri(uri).map_err(|_| wrong("", "cannot be decoded"))?;
        let mut wanted = Self::default();
        let filter = &mut wanted.filter;
        for (name, value) in pairs {
            let id = || Uuid::try_parse(&value).map_err(|_| wrong(&name, "must be an id"));
            let time = || {
                let time = DateTime::parse_from_rfc3339(&value).map(|time| time.to_utc());
                time.map_err(|_| wrong(&name, "must be a time of RFC 3339, such as 2026-01-31T12:00:00Z"))
            };
            if value.chars().any(char::is_control) {
                return Err(wrong(&name, NO_CONTROLS));
            }
            let given_before = match name.as_str() {
                "event" => filter.event.replace(value).is_some(),
                "outcome" => filter.outcome.replace(value).is_some(),
                "actor" => filter.actor.replace(id()?).is_some(),
                "subject" => filter.subject.replace(id()?).is_some(),
                "since" => filter.since.replace(time()?).is_some(),
                "until" => filter.until.replace(time()?).is_some(),
                "cursor" => {
                    let cursor = value.parse().map_err(|_| wrong(&name, "must be a `next_cursor` of ours"))?;
                    wanted.after.replace(cursor).is_some()
                }
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
                    let limit = limit.ok_or_else(|| wrong(&name, "must be a number between 1 and 200"))?;
                    wanted.limit.replace(limit).is_some()
                }
                _ => return Err(wrong(&name, "is not a parameter here")),
            };
            if given_before {
                return Err(wrong(&name, "is given twice"));
            }
        }
        Ok(wanted)
    }
}
