//! `GET /auth/identities`: with whom the caller logs in besides a password, and by whose tokens they are let in.

use std::sync::Arc;

use axum::{Json, extract::State, http::Uri};
use chrono::{DateTime, Utc};
use serde::Serialize;
use store::{IdentityRecord, Page, RefusedIssuer};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    caller::{Allowed, ManageAccount},
    error::ApiError,
    office::Office,
    paging::Paging,
};

/// Somebody at a login provider, or whom an issuer's tokens name, who is let in to the account.
#[derive(Serialize, ToSchema)]
pub(crate) struct LinkedIdentity {
    pub(crate) id: Uuid,
    /// The login provider's id; `null` of an issuer whose tokens are let in.
    pub(crate) provider: Option<String>,
    /// What people call it; of an issuer of tokens its `iss`.
    pub(crate) label: String,
    /// The address there, as it was said last at a login.
    pub(crate) email: Option<String>,
    pub(crate) created_at: DateTime<Utc>,
    /// When somebody last logged in so; tokens are not counted.
    pub(crate) last_used_at: Option<DateTime<Utc>>,
    /// The owner has unlinked an issuer then: its tokens are let in no more, whatever it says of addresses.
    pub(crate) refused_at: Option<DateTime<Utc>>,
}

/// A page, which has all of them unless it is asked to be smaller or there are very many.
#[derive(Serialize, ToSchema)]
pub(crate) struct Identities {
    items: Vec<LinkedIdentity>,
    /// Give it as `cursor` for the next page; `null` on the last.
    next_cursor: Option<String>,
}

/// Who at login providers, and whose tokens, are let in to the caller's account, the oldest first; then the issuers that its owner has refused.
#[utoipa::path(
    get, path = "/auth/identities", tag = "auth", security(("access_token" = []), ("api_key" = [])),
    params(
        ("cursor" = Option<String>, Query, description = "Where the page before this one ended: its `next_cursor`"),
        ("limit" = Option<u32>, Query, description = "Identities on the page, 1 to 200; 200 by default", minimum = 1, maximum = 200),
    ),
    responses((status = 200, description = "Linked identities, and refused issuers", body = Identities))
)]
pub(crate) async fn list_identities(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageAccount>,
    uri: Uri,
) -> Result<Json<Identities>, ApiError> {
    let Paging { after, limit } = Paging::read_of_whole(&uri)?;
    let mut items = linked(&office, caller.0.account).await?;
    // Their ids are in no order. Where the last one is gone meanwhile it begins anew: better shown twice than not at all.
    let after = after.map(|after| after.to_string());
    let seen = after.and_then(|after| items.iter().position(|one| one.id.simple().to_string() == after));
    items.drain(..seen.map_or(0, |last| last + 1));
    let page = Page::of_whole(items, None, limit, |one| one.id);
    Ok(Json(Identities { items: page.items, next_cursor: page.next.map(|cursor| cursor.to_string()) }))
}

/// Those of providers that people can log in at now and of issuers whose tokens are believed now, and those that are refused.
pub(crate) async fn linked(office: &Office, account: identity::AccountId) -> Result<Vec<LinkedIdentity>, ApiError> {
    let records = office.store.identities(account).await?;
    let refused = office.store.refused_issuers(account).await?;
    let linked = records.into_iter().filter_map(|record| LinkedIdentity::of(office, record));
    let is_believed = |refused: &RefusedIssuer| office.settings.believed_issuers.contains(&refused.issuer);
    Ok(linked.chain(refused.into_iter().filter(is_believed).map(LinkedIdentity::from)).collect())
}

// === impl LinkedIdentity ===

impl LinkedIdentity {
    fn of(office: &Office, record: IdentityRecord) -> Option<Self> {
        let provider = office.providers.list().iter().find(|provider| provider.issuer == record.issuer);
        if provider.is_none() && !office.settings.believed_issuers.contains(&record.issuer) {
            return None;
        }
        let id = record.id().uuid();
        Some(Self {
            id,
            provider: provider.map(|provider| provider.id.clone()),
            label: provider.map_or(record.issuer, |provider| provider.label.clone()),
            email: record.email,
            created_at: record.created_at,
            last_used_at: record.last_used_at,
            refused_at: None,
        })
    }
}

impl From<RefusedIssuer> for LinkedIdentity {
    fn from(refused: RefusedIssuer) -> Self {
        Self {
            id: refused.id().uuid(),
            provider: None,
            label: refused.issuer,
            email: None,
            created_at: refused.refused_at,
            last_used_at: None,
            refused_at: Some(refused.refused_at),
        }
    }
}
