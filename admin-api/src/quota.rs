//! The quotas of a tenant's tier, as its services and its people see them.

use std::sync::Arc;

use identity::TenantId;
use policies::{Amount, Tier};
use serde::{Deserialize, Serialize};
use store::CountedHere;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{KnownFormat, ObjectBuilder, OneOfBuilder, RefOr, Schema, SchemaFormat, schema::Type},
};
use uuid::Uuid;

use crate::{error::ApiError, integration::MOST, key::MAX_KEYS, office::Office};

/// Quotas of what is counted where it is kept: nobody reserves them.
pub(crate) const COUNTED_HERE: [&str; 4] = ["agents", "api_keys", "instances", "integrations"];

/// What bounds these where a tier says nothing of them.
pub(crate) const BUILT_IN: [(&str, u32); 2] = [("api_keys", MAX_KEYS), ("integrations", MOST)];

/// Names a reservation.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OfReservation {
    pub(crate) reservation_id: Uuid,
}

/// How much there is of what has no end.
const UNLIMITED: &str = "unlimited";

/// How much there is: a number, or the word `unlimited`.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum Limit {
    Finite(u64),
    Unlimited(&'static str),
}

/// How much of a quota there is; `None`: it is not counted here.
pub(crate) fn counted_here(there: &CountedHere, quota: &str) -> Option<i64> {
    let counts = [there.agents, there.api_keys, there.instances, there.integrations];
    COUNTED_HERE.iter().zip(counts).find_map(|(name, count)| (*name == quota).then_some(count))
}

// === impl Limit ===

impl From<Amount> for Limit {
    fn from(amount: Amount) -> Self {
        match amount {
            Amount::Finite(amount) => Self::Finite(amount),
            Amount::Unlimited => Self::Unlimited(UNLIMITED),
        }
    }
}

/// By hand: what is derived takes any word for `unlimited`.
impl PartialSchema for Limit {
    fn schema() -> RefOr<Schema> {
        let number = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
            .minimum(Some(0));
        let word = ObjectBuilder::new().schema_type(Type::String).enum_values(Some([UNLIMITED]));
        let either = OneOfBuilder::new().item(number).item(word);
        either.description(Some("How much there is: a number, or `unlimited`.")).into()
    }
}

impl ToSchema for Limit {}

/// The tier of a tenant: its own, else its first owner's, else that of whoever registers. A tier that tiers.toml has not includes nothing.
pub(crate) async fn tier_of(office: &Office, tenant: TenantId) -> Result<(String, Option<Arc<Tier>>), ApiError> {
    let name = office.store.tier_of_tenant(tenant).await?.ok_or(ApiError::NotFound("tenant"))?;
    let name = name.unwrap_or_else(|| office.settings.default_tier.clone());
    let tier = office.hooks.policy().tiers.get(&name).cloned();
    Ok((name, tier))
}
