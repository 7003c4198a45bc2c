//! `GET /auth/mfa`: what the caller's account shows besides a password.

use std::sync::Arc;

use axum::{Json, extract::State, http::Uri};
use chrono::{DateTime, Utc};
use serde::Serialize;
use store::{FactorRecord, Page};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    caller::{Allowed, ManageAccount},
    error::ApiError,
    office::Office,
    paging::Paging,
};

/// A second factor.
#[derive(Serialize, ToSchema)]
pub(crate) struct Factor {
    id: Uuid,
    /// `totp` or `passkey`.
    kind: &'static str,
    /// What its owner calls it.
    name: Option<String>,
    created_at: DateTime<Utc>,
    last_used_at: Option<DateTime<Utc>>,
}

/// A page, which has all of them unless it is asked to be smaller: an account has ten at most.
#[derive(Serialize, ToSchema)]
pub(crate) struct Factors {
    items: Vec<Factor>,
    /// Give it as `cursor` for the next page; `null` on the last.
    next_cursor: Option<String>,
    /// Recovery codes that can still be used.
    recovery_codes_left: i64,
}

/// The caller's second factors, the oldest first.
#[utoipa::path(
    get, path = "/auth/mfa", tag = "auth", security(("access_token" = []), ("api_key" = [])),
    params(
        ("cursor" = Option<String>, Query, description = "Where the page before this one ended: its `next_cursor`"),
        ("limit" = Option<u32>, Query, description = "Factors on the page, 1 to 200; 200 by default", minimum = 1, maximum = 200),
    ),
    responses((status = 200, description = "Second factors, and how many recovery codes are left", body = Factors))
)]
pub(crate) async fn list_factors(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageAccount>,
    uri: Uri,
) -> Result<Json<Factors>, ApiError> {
    let Paging { after, limit } = Paging::read_of_whole(&uri)?;
    let factors = office.store.factors(caller.0.account).await?;
    let page = Page::of_whole(factors, after, limit, |factor| factor.id().uuid());
    let recovery_codes_left = office.store.recovery_codes_left(caller.0.account).await?;
    Ok(Json(Factors {
        items: page.items.into_iter().map(Factor::from).collect(),
        next_cursor: page.next.map(|cursor| cursor.to_string()),
        recovery_codes_left,
    }))
}

// === impl Factor ===

impl From<FactorRecord> for Factor {
    fn from(record: FactorRecord) -> Self {
        Self {
            id: record.id().uuid(),
            kind: record.kind.word(),
            name: record.name,
            created_at: record.created_at,
            last_used_at: record.last_used_at,
        }
    }
}
