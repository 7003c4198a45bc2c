//! `GET /quota`: what a tenant's tier includes, and what of it is spoken for.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State, http::Uri};
use identity::TenantId;
use policies::Amount;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    caller::{Allowed, ReadUsage},
    error::ApiError,
    office::Office,
    query::Parameters,
    quota::{BUILT_IN, Limit, counted_here, tier_of},
    reach::Reach,
};

/// What there is of everything.
#[derive(Serialize, ToSchema)]
pub(crate) struct Quotas {
    tenant_id: Uuid,
    tier: String,
    /// By their names.
    items: Vec<Quota>,
    /// `null`: all of them are here.
    next_cursor: Option<String>,
}

/// What there is of one thing.
#[derive(Serialize, ToSchema)]
pub(crate) struct Quota {
    resource: String,
    limit: Limit,
    /// Given; of `agents`, `instances` and `integrations` (the tenant's own) what there is, of `api_keys` the caller's.
    used: i64,
    /// Asked for by a service, and not yet given.
    reserved: i64,
}

/// The quotas of the tenant in which the caller acts; for administrators of the platform of any.
#[utoipa::path(
    get, path = "/quota", tag = "usage", security(("access_token" = []), ("api_key" = [])),
    params(("tenant_id" = Option<String>, Query, description = "Of this tenant; by default of the one in which the caller acts")),
    responses(
        (status = 200, description = "All of them", body = Quotas),
        (status = 404, description = "`not_found`: no such tenant, or the caller may not see it"),
        (status = 409, description = "`no_tenant`: the caller acts in no tenant"),
    )
)]
pub(crate) async fn list_quotas(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ReadUsage>,
    uri: Uri,
) -> Result<Json<Quotas>, ApiError> {
    let asked: Option<TenantId> = Parameters::read(&uri, &["tenant_id"])?.id("tenant_id")?;
    let (tenant, _) = Reach::of(&caller, &office.hooks.policy()).narrow(asked, None)?;
    let tenant = tenant.ok_or(ApiError::NoTenant)?;
    let (name, tier) = tier_of(&office, tenant).await?;
    let uses = office.store.quota_use(tenant, office.now()).await?;
    let there = office.store.counted_here(tenant, caller.0.account).await?;
    let of_tier = tier.iter().flat_map(|tier| tier.quotas.iter().map(|(name, amount)| (name.to_string(), *amount)));
    // What is held of something that the tier includes no longer is still held.
    let held = uses.iter().map(|used| (used.resource.clone(), Amount::Finite(0)));
    let built_in = BUILT_IN.map(|(name, most)| (name.to_owned(), Amount::Finite(most.into())));
    let all: BTreeMap<String, Amount> = held.chain(built_in).chain(of_tier).collect();
    let items = all.into_iter().map(|(resource, amount)| {
        let spoken_for = uses.iter().find(|used| used.resource == resource);
        let (given, asked) = spoken_for.map_or((0, 0), |found| (found.used, found.reserved));
        let (given, asked) = counted_here(&there, &resource).map_or((given, asked), |count| (count, 0));
        Quota { resource, limit: amount.into(), used: given, reserved: asked }
    });
    Ok(Json(Quotas { tenant_id: tenant.uuid(), tier: name, items: items.collect(), next_cursor: None }))
}
