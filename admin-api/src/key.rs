//! An API key as answers show it, and the rule that no key reaches beyond whoever made it.

use chrono::{DateTime, Utc};
use identity::{ApiKey, Grant, Networks};
use policies::{Amount, Policy};
use serde::Serialize;
use store::KeyRecord;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{caller::Caller, error::ApiError, office::Office};

/// Keys that one account may have, unless its tier says otherwise, until it deletes some: expired ones count.
pub(crate) const MAX_KEYS: u32 = 100;
/// The quota of a tier that says otherwise.
const QUOTA: &str = "api_keys";
/// Scopes that one key may have.
pub(crate) const MAX_SCOPES: usize = 64;
/// Characters of them in all: they are kept with every cached key and stand in every assertion.
pub(crate) const MAX_SCOPES_BYTES: usize = 1024;

/// How many keys an account of that tier may have.
pub(crate) fn most_keys(policy: &Policy, tier: &str) -> u32 {
    let tier = policy.tiers.get(tier);
    match tier.and_then(|tier| tier.quotas.get(QUOTA)) {
        Some(Amount::Finite(most)) => u32::try_from(*most).unwrap_or(u32::MAX),
        Some(Amount::Unlimited) => u32::MAX,
        None => MAX_KEYS,
    }
}

/// From where and until when a caller itself may be seen, which bounds what it makes.
#[derive(Default)]
pub(crate) struct Bounds {
    /// `None`: from anywhere.
    pub(crate) networks: Option<Networks>,
    /// `None`: for as long as anybody likes.
    pub(crate) until: Option<DateTime<Utc>>,
}

/// An API key, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Key {
    id: Uuid,
    name: String,
    /// How the key's text begins, to tell keys apart.
    prefix: String,
    /// The permissions that the key is limited to; `null`: whatever the account's role may do.
    scopes: Option<Vec<String>>,
    /// The networks from which the key may be shown; `null`: from anywhere.
    #[schema(value_type = Option<Vec<String>>)]
    allowed_networks: Option<Networks>,
    created_at: DateTime<Utc>,
    /// `null`: until it is deleted.
    expires_at: Option<DateTime<Utc>>,
    /// Known to the minute or so; `null`: never.
    last_used_at: Option<DateTime<Utc>>,
}

/// A key just made. Its text is shown this once and is kept nowhere.
#[derive(Serialize, ToSchema)]
pub(crate) struct NewlyMade {
    /// Show it as `X-API-Key: …` or `Authorization: Bearer …`.
    key: String,
    #[serde(flatten)]
    record: Key,
}

// === impl Bounds ===

impl Bounds {
    /// A key for these networks and until then has to be within them.
    pub(crate) fn hold(&self, networks: Option<&Networks>, until: Option<DateTime<Utc>>) -> Result<(), ApiError> {
        let is_beyond = |own: &Networks| networks.is_none_or(|networks| !networks.are_within(own));
        if self.networks.as_ref().is_some_and(is_beyond) {
            return Err(ApiError::Forbidden("allowed_networks".to_owned()));
        }
        if self.until.is_some_and(|own| until.is_none_or(|until| until > own)) {
            return Err(ApiError::Forbidden("expires_at".to_owned()));
        }
        Ok(())
    }
}

// === impl Key ===

impl From<KeyRecord> for Key {
    fn from(record: KeyRecord) -> Self {
        Self {
            id: record.id.uuid(),
            name: record.name,
            prefix: record.prefix,
            scopes: record.scopes,
            allowed_networks: record.networks,
            created_at: record.created_at,
            expires_at: record.expires_at,
            last_used_at: record.last_used_at,
        }
    }
}

// === impl NewlyMade ===

impl NewlyMade {
    pub(crate) fn new(key: &ApiKey, record: KeyRecord) -> Self {
        Self { key: key.expose().to_owned(), record: record.into() }
    }
}

// === impl Office ===

impl Office {
    /// The keys of a caller's account. Whoever acts in one tenant alone sees those of it.
    pub(crate) async fn keys_of(&self, caller: &Caller) -> Result<Vec<KeyRecord>, ApiError> {
        let mut keys = self.store.list_keys(caller.0.account).await?;
        if caller.0.grant.is_for_one_tenant() {
            keys.retain(|key| key.tenant == caller.0.tenant);
        }
        Ok(keys)
    }

    /// What bounds the keys that a caller makes: another key's bounds, and nothing of whoever is logged in.
    pub(crate) async fn bounds_of(&self, caller: &Caller) -> Result<Bounds, ApiError> {
        let Grant::Key(id) = caller.0.grant else { return Ok(Bounds::default()) };
        let facts = self.store.key_grant(id).await?.ok_or(ApiError::CallerGone)?;
        Ok(Bounds { networks: facts.networks, until: facts.expires_at })
    }
}
