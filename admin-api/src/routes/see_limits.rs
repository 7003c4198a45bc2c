//! `GET /admin/limits`: which limits are in force.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State};
use policies::{Kind, Limit};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    caller::{Allowed, ReloadConfig},
    error::ApiError,
    office::Office,
};

/// The limits in force.
#[derive(Serialize, ToSchema)]
pub(crate) struct Limits {
    /// By tier.
    tiers: BTreeMap<String, Vec<LimitShape>>,
    /// By route, beside the tier's where the route says so.
    routes: BTreeMap<String, Vec<LimitShape>>,
}

/// How much, and whose use is added up.
#[derive(Serialize, ToSchema)]
pub(crate) struct LimitShape {
    /// As `RateLimit-Policy` calls it.
    name: String,
    /// `user`, `tenant`, `key` or `ip`.
    per: String,
    /// Such as `100/1m`: never more in any interval of that length.
    requests: Option<String>,
    /// Requests in flight at one moment.
    concurrent: Option<u32>,
}

/// The limits in force, as the configuration says them. For administrators.
#[utoipa::path(
    get, path = "/admin/limits", tag = "administration", security(("access_token" = []), ("api_key" = [])),
    responses(
        (status = 200, description = "All of them", body = Limits),
        (status = 403, description = "`forbidden`: the caller may not manage the configuration"),
    )
)]
pub(crate) async fn see_limits(
    State(office): State<Arc<Office>>,
    _: Allowed<ReloadConfig>,
) -> Result<Json<Limits>, ApiError> {
    let policy = office.hooks.policy();
    let words = |limits: &[Limit]| limits.iter().map(LimitShape::from).collect();
    Ok(Json(Limits {
        tiers: policy.tiers.iter().map(|tier| (tier.name.to_string(), words(&tier.limits))).collect(),
        routes: policy.routes.routes().iter().map(|route| (route.name.to_string(), words(&route.limits))).collect(),
    }))
}

// === impl LimitShape ===

impl From<&Limit> for LimitShape {
    fn from(limit: &Limit) -> Self {
        let (requests, concurrent) = match limit.kind {
            Kind::Requests(quota) => (Some(quota.to_string()), None),
            Kind::Concurrent(most) => (None, Some(most)),
        };
        Self { name: limit.name.to_string(), per: limit.per.to_string(), requests, concurrent }
    }
}
