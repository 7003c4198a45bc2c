//! `/account/sessions`: where somebody is signed in, and how to end it there.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use chrono::{DateTime, SecondsFormat, Utc};
use store::SessionRecord;

use super::{
    frame,
    posted::{Meant, SignedIn},
    prove::{self, Ask, ProofForm},
    sign_in::HOME,
};
use crate::{
    caller::Caller,
    error::ApiError,
    office::Office,
    routes::{end_other_sessions, end_session},
    visitor::Visitor,
};

#[derive(Template)]
#[template(path = "pages/sessions.html")]
struct SessionsPage<'a> {
    product: &'a str,
    here: &'static str,
    csrf: String,
    email: String,
    sessions: Vec<Session>,
}

struct Session {
    id: String,
    current: bool,
    device: String,
    address: Option<String>,
    method: Option<String>,
    since: Moment,
    seen: Option<Moment>,
}

/// Sessions on the page, the latest: whoever has more ends some first.
const MOST: u32 = 200;

/// A time, for machines and for people.
pub(super) struct Moment {
    pub(super) machine: String,
    pub(super) words: String,
}

pub(super) async fn show(State(office): State<Arc<Office>>, who: SignedIn) -> Response {
    let shown = async {
        let account = office.store.account(who.principal.account).await?.ok_or(ApiError::CallerGone)?;
        let records = office.store.list_sessions(who.principal.account, office.now(), None, MOST).await?;
        let own = who.principal.grant.session();
        let sessions = records.items.into_iter().map(|record| Session::of(record, own)).collect();
        Ok(SessionsPage {
            product: &office.mail.settings.product,
            here: "sessions",
            csrf: who.csrf(),
            email: account.email,
            sessions,
        })
    };
    match shown.await {
        Ok(shown) => frame::page(StatusCode::OK, &shown),
        Err(error) => frame::failed(&office, &error),
    }
}

pub(super) async fn end(
    State(office): State<Arc<Office>>,
    Path(id): Path<String>,
    visitor: Visitor,
    Meant { who, form }: Meant<ProofForm>,
) -> Response {
    let caller = Caller(who.principal.clone());
    let ended = end_session::end(&office, &visitor, &caller, &id, &form.proof()).await;
    said(&office, &who, ended, format!("{HOME}/{id}/end")).await
}

pub(super) async fn end_others(
    State(office): State<Arc<Office>>,
    visitor: Visitor,
    Meant { who, form }: Meant<ProofForm>,
) -> Response {
    let caller = Caller(who.principal.clone());
    let ended = end_other_sessions::end_others(&office, &visitor, &caller, &form.proof()).await.map(drop);
    said(&office, &who, ended, format!("{HOME}/end-others")).await
}

/// Back to the list, or to what has to be shown first.
async fn said(office: &Office, who: &SignedIn, ended: Result<(), ApiError>, action: String) -> Response {
    let refused = match ended {
        Ok(()) => return frame::go(HOME, HeaderMap::new()),
        Err(error) => error,
    };
    let asked = prove::ask(office, who, &refused, Ask { action: &action, submit: "End", back: (HOME, "Do not end") });
    match asked.await {
        Ok(page) => page,
        Err(error) => frame::failed(office, &error),
    }
}

// === impl Session ===

impl Session {
    fn of(record: SessionRecord, own: Option<identity::SessionId>) -> Self {
        let method = record.method.map(|method| match method.as_str() {
            "magic_link" => "a link by mail".to_owned(),
            "provider" => "another provider".to_owned(),
            "passkey" => "a passkey".to_owned(),
            _ => method,
        });
        Self {
            id: record.id.uuid().to_string(),
            current: own == Some(record.id),
            device: record.user_agent.unwrap_or_else(|| "Unknown device".to_owned()),
            address: record.address,
            method,
            since: Moment::from(record.created_at),
            seen: record.last_seen_at.map(Moment::from),
        }
    }
}

impl From<DateTime<Utc>> for Moment {
    fn from(time: DateTime<Utc>) -> Self {
        Self {
            machine: time.to_rfc3339_opts(SecondsFormat::Secs, true),
            words: time.format("%-d %B %Y, %H:%M UTC").to_string(),
        }
    }
}
