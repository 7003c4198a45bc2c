//! `GET /auth/mfa`: what the caller's account shows besides a password.

use std::sync::Arc;

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use serde::Serialize;
use store::FactorRecord;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    caller::{Allowed, ManageAccount},
    error::ApiError,
    office::Office,
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

/// All of them.
#[derive(Serialize, ToSchema)]
pub(crate) struct Factors {
    items: Vec<Factor>,
    /// Recovery codes that can still be used.
    recovery_codes_left: i64,
}

/// The caller's second factors, the oldest first.
#[utoipa::path(
    get, path = "/auth/mfa", tag = "auth", security(("access_token" = []), ("api_key" = [])),
    responses((status = 200, description = "Second factors, and how many recovery codes are left", body = Factors))
)]
pub(crate) async fn list_factors(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageAccount>,
) -> Result<Json<Factors>, ApiError> {
    let factors = office.store.factors(caller.0.account).await?;
    let recovery_codes_left = office.store.recovery_codes_left(caller.0.account).await?;
    Ok(Json(Factors { items: factors.into_iter().map(Factor::from).collect(), recovery_codes_left }))
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
