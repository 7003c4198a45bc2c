//! `GET /auth/identities`: with whom the caller logs in besides a password.

use std::sync::Arc;

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use serde::Serialize;
use store::IdentityRecord;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    caller::{Allowed, ManageAccount},
    error::ApiError,
    office::Office,
};

/// Somebody at a login provider who is let in to the account.
#[derive(Serialize, ToSchema)]
pub(crate) struct LinkedIdentity {
    pub(crate) id: Uuid,
    /// The provider's id.
    provider: String,
    /// What people call it.
    pub(crate) label: String,
    /// The address there, as it was said last.
    pub(crate) email: Option<String>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) last_used_at: Option<DateTime<Utc>>,
}

/// All of them.
#[derive(Serialize, ToSchema)]
pub(crate) struct Identities {
    items: Vec<LinkedIdentity>,
}

/// Who at login providers is let in to the caller's account, the oldest first.
#[utoipa::path(
    get, path = "/auth/identities", tag = "auth", security(("access_token" = []), ("api_key" = [])),
    responses((status = 200, description = "Linked identities", body = Identities))
)]
pub(crate) async fn list_identities(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageAccount>,
) -> Result<Json<Identities>, ApiError> {
    let items = linked(&office, caller.0.account).await?;
    Ok(Json(Identities { items }))
}

/// Those of providers that people can log in at now.
pub(crate) async fn linked(office: &Office, account: identity::AccountId) -> Result<Vec<LinkedIdentity>, ApiError> {
    let records = office.store.identities(account).await?;
    Ok(records.into_iter().filter_map(|record| LinkedIdentity::of(office, record)).collect())
}

// === impl LinkedIdentity ===

impl LinkedIdentity {
    fn of(office: &Office, record: IdentityRecord) -> Option<Self> {
        let provider = office.providers.list().iter().find(|provider| provider.issuer == record.issuer)?;
        Some(Self {
            id: record.id().uuid(),
            provider: provider.id.clone(),
            label: provider.label.clone(),
            email: record.email,
            created_at: record.created_at,
            last_used_at: record.last_used_at,
        })
    }
}
