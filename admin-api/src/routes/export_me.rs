//! `GET /auth/me/export`: everything that is kept of the caller, in one document that programs can read (GDPR article 20).

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Serialize;
use store::{AuditEvent, AuditFilter};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    list_audit::Entry,
    list_factors::Factor,
    list_identities::{LinkedIdentity, linked},
    list_sessions::Session,
    list_usage::{UsageItem, all_of},
};
use crate::{
    caller::{Allowed, ManageAccount},
    error::ApiError,
    integration::Integration,
    key::Key,
    office::Office,
    user::User,
};

/// Events on one page of the audit trail, and pages at most: the latest 2,000.
const AT_ONCE: u32 = 200;
const PAGES: usize = 10;
/// More than any account has.
const MOST_INTEGRATIONS: u32 = 10_000;

/// Everything.
#[derive(Serialize, ToSchema)]
pub(crate) struct Export {
    account: User,
    /// Logins that can be gone on with.
    sessions: Vec<Session>,
    /// Without their secrets, which nobody has but whoever was given them.
    api_keys: Vec<Key>,
    /// Who at login providers is let in.
    identities: Vec<LinkedIdentity>,
    /// What is shown besides a password, or in its place; without what it is checked with.
    second_factors: Vec<Factor>,
    /// Keys at providers, without the keys.
    integrations: Vec<Integration>,
    /// What was done to the account, by whomever; the latest 2,000 events.
    events: Vec<Entry>,
    /// What was used in the organisation in which the caller acts, by day.
    usage: Vec<UsageItem>,
}

/// Who else it was, and from where, is theirs.
fn seen_by(own: Uuid, event: AuditEvent) -> AuditEvent {
    if event.actor == Some(own) {
        return event;
    }
    AuditEvent { actor: None, address: None, request_id: None, ..event }
}

/// Everything that is kept of the caller.
#[utoipa::path(
    get, path = "/auth/me/export", tag = "auth", security(("access_token" = []), ("api_key" = [])),
    responses((status = 200, description = "All of it", body = Export))
)]
pub(crate) async fn export_me(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageAccount>,
) -> Result<Json<Export>, ApiError> {
    let id = caller.0.account;
    let account = office.store.account_in(id, caller.0.tenant).await?.ok_or(ApiError::CallerGone)?;
    let sessions = office.store.list_sessions(id, office.now()).await?;
    let integrations = office.store.list_integrations(office.seal(), (id, None), None, MOST_INTEGRATIONS).await?;
    let filter = AuditFilter { subject: Some(id.uuid()), ..AuditFilter::default() };
    let (mut events, mut after) = (Vec::new(), None);
    for _ in 0..PAGES {
        let page = office.store.list_audit(&filter, after, AT_ONCE).await?;
        events.extend(page.items.into_iter().map(|event| Entry::from(seen_by(id.uuid(), event))));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    Ok(Json(Export {
        account: office.user(account).await?,
        sessions: sessions.into_iter().map(|session| Session::of(session, &caller)).collect(),
        api_keys: office.store.list_keys(id).await?.into_iter().map(Key::from).collect(),
        identities: linked(&office, id).await?,
        second_factors: office.store.factors(id).await?.into_iter().map(Factor::from).collect(),
        integrations: integrations.items.into_iter().map(Integration::from).collect(),
        events,
        usage: all_of(&office, caller.0.tenant, id).await?,
    }))
}
