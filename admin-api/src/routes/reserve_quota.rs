//! `POST /quota/reserve`: a service asks for a part of a tenant's quota before it gives away what it owns.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use chrono::{DateTime, TimeDelta, Utc};
use identity::TenantId;
use policies::Amount;
use serde::{Deserialize, Serialize};
use store::{NewReservation, Reserved, Status};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    body::Body,
    caller::{Caller, ReserveQuota, Service},
    error::ApiError,
    form::Form,
    office::Office,
    quota::{COUNTED_HERE, tier_of},
    trail,
};

/// More than this is a mistake.
const MOST: i64 = 1_000_000_000_000;
/// Seconds for which it is held when nobody says how many, and at most.
const TTL: i64 = 300;
const LONGEST_TTL: i64 = 86_400;

/// What is wanted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WantedQuota {
    /// A quota of tiers.toml, such as `workbenches`; none of `agents`, `api_keys`, `instances` and `integrations`, which are counted where
    /// they are made.
    resource: String,
    /// 1 to 1000000000000, in the unit that the quota's name says.
    #[schema(minimum = 1)]
    amount: i64,
    /// Of which tenant. Left out: the service's own. A service that acts in a tenant reserves for no other one.
    tenant_id: Option<Uuid>,
    /// For how long it is held until it has to be committed, 1 to 86400; 300 by default.
    #[schema(minimum = 1, maximum = 86400)]
    ttl_seconds: Option<i64>,
}

/// It is held.
#[derive(Serialize, ToSchema)]
pub(crate) struct Reservation {
    reservation_id: Uuid,
    expires_at: DateTime<Utc>,
}

/// Reserves a part of a quota. For service accounts alone.
#[utoipa::path(
    post, path = "/quota/reserve", tag = "usage", request_body = WantedQuota, security(("access_token" = []), ("api_key" = [])),
    responses(
        (status = 201, description = "It is held until then", body = Reservation),
        (status = 403, description = "`forbidden`: the caller is no service that may reserve; `tenant_disabled`: nothing is given to a tenant that is disabled"),
        (status = 404, description = "`not_found`: there is no such tenant, or the service acts in another one"),
        (status = 409, description = "`quota_exceeded`: it is more than what is left; `no_tenant`: no tenant is named, and the service acts in none"),
    )
)]
pub(crate) async fn reserve_quota(
    State(office): State<Arc<Office>>,
    Service { caller, .. }: Service<ReserveQuota>,
    Body(wanted): Body<WantedQuota>,
) -> Result<(StatusCode, Json<Reservation>), ApiError> {
    wanted.check(&office)?;
    let tenant = wanted.tenant_of(&caller)?;
    let known = office.store.tenant(tenant).await?.ok_or(ApiError::NotFound("tenant"))?;
    if known.status == Status::Disabled {
        return Err(ApiError::TenantDisabled);
    }
    let (_, tier) = tier_of(&office, tenant).await?;
    // What a tier does not speak of it does not include.
    let amount = tier.and_then(|tier| tier.quotas.get(&*wanted.resource).copied()).unwrap_or(Amount::Finite(0));
    let limit = match amount {
        Amount::Finite(amount) => Some(i64::try_from(amount).unwrap_or(i64::MAX)),
        Amount::Unlimited => None,
    };
    let now = office.now();
    let new = NewReservation {
        id: Uuid::now_v7(),
        tenant,
        resource: wanted.resource,
        amount: wanted.amount,
        limit,
        service: caller.0.account,
        expires_at: now + TimeDelta::seconds(wanted.ttl_seconds.unwrap_or(TTL)),
        now,
    };
    trail::about(new.id);
    trail::detail("tenant", tenant.to_string());
    trail::detail("resource", new.resource.clone());
    trail::detail("amount", new.amount);
    match office.store.reserve_quota(&new).await? {
        Reserved::Yes => {
            let answer = Reservation { reservation_id: new.id, expires_at: new.expires_at };
            Ok((StatusCode::CREATED, Json(answer)))
        }
        Reserved::Exceeds(spoken_for) => {
            let left = limit.unwrap_or(i64::MAX).saturating_sub(spoken_for.used).saturating_sub(spoken_for.reserved);
            Err(ApiError::QuotaExceeded { resource: new.resource, left: left.max(0) })
        }
    }
}

// === impl WantedQuota ===

impl WantedQuota {
    /// A machine of one organisation takes from that one alone; one of the platform's from any.
    fn tenant_of(&self, caller: &Caller) -> Result<TenantId, ApiError> {
        match (self.tenant_id.map(TenantId::new), caller.0.tenant) {
            (Some(named), Some(own)) if named != own => Err(ApiError::NotFound("tenant")),
            (Some(named), _) => Ok(named),
            (None, _) => caller.tenant(),
        }
    }

    fn check(&self, office: &Office) -> Result<(), ApiError> {
        let mut form = Form::default();
        if !office.hooks.policy().tiers.iter().any(|tier| tier.quotas.contains_key(&*self.resource)) {
            form.fault("resource", "must be a quota of tiers.toml");
        } else if COUNTED_HERE.contains(&&*self.resource) {
            form.fault("resource", "must be a quota of what a service owns; these are counted where they are made");
        }
        if !(1..=MOST).contains(&self.amount) {
            form.fault("amount", format!("must be between 1 and {MOST}"));
        }
        if self.ttl_seconds.is_some_and(|seconds| !(1..=LONGEST_TTL).contains(&seconds)) {
            form.fault("ttl_seconds", format!("must be between 1 and {LONGEST_TTL}"));
        }
        form.finish(Some(()))
    }
}
