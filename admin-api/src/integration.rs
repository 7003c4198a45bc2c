//! An integration as answers show it, and whose it may be.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use identity::{AccountId, IntegrationId, TenantId};
use policies::{Amount, Tier};
use serde::{Deserialize, Serialize};
use store::{IntegrationOwner, IntegrationRecord};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{agent::oversees, caller::Caller, error::ApiError, office::Office};

/// Integrations that one owner may have where the tier says nothing (quota `integrations`).
pub(crate) const MOST: u32 = 50;

/// What a path names, when it does not name an integration of the caller's.
pub(crate) const NO_INTEGRATION: ApiError = ApiError::NotFound("integration");

/// Whose an integration is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase", try_from = "String")]
pub(crate) enum Owner {
    /// The caller's own.
    #[default]
    Account,
    /// Everybody's in the caller's tenant.
    Tenant,
}

/// A key at a provider's, without the key.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Integration {
    id: Uuid,
    /// Whom it is for, such as `claude`, `openai` or `gemini`.
    #[schema(example = "openai")]
    service: String,
    owner: Owner,
    name: Option<String>,
    /// The last four characters of the key, to tell it from others; empty if it has fewer than 16. More of it is shown to nobody.
    last_four: String,
    /// `active`, `disabled`, or `unreadable`: it was altered, or sealed with a master key that is not here; give the key again.
    #[schema(example = "active")]
    status: &'static str,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

// === impl Owner ===

/// Not derived: serde would take `{"tenant": null}` for an owner as well.
impl TryFrom<String> for Owner {
    type Error = &'static str;

    fn try_from(word: String) -> Result<Self, &'static str> {
        match word.as_str() {
            "account" => Ok(Self::Account),
            "tenant" => Ok(Self::Tenant),
            _ => Err("must be `account` or `tenant`"),
        }
    }
}

impl Owner {
    /// The caller, or the tenant that it administers. A key with scopes of its own never stands for that.
    pub(crate) fn of(self, caller: &Caller) -> Result<IntegrationOwner, ApiError> {
        match self {
            Self::Account => Ok(IntegrationOwner::Account(caller.0.account)),
            Self::Tenant => {
                caller.demand_tenant_admin()?;
                caller.demand_scopes(None)?;
                caller.tenant().map(IntegrationOwner::Tenant)
            }
        }
    }
}

// === impl Caller ===

impl Caller {
    /// Whose integrations the caller sees and changes: its own, and those of the tenant that it administers.
    pub(crate) fn integrations(&self) -> (AccountId, Option<TenantId>) {
        (self.0.account, self.0.tenant.filter(|_| oversees(self)))
    }
}

// === impl Office ===

impl Office {
    /// An integration of the caller's that a path names.
    pub(crate) async fn integration_of(&self, caller: &Caller, id: &str) -> Result<IntegrationRecord, ApiError> {
        let id: IntegrationId = id.parse().map_err(|_| NO_INTEGRATION)?;
        let found = self.store.integration(self.seal(), caller.integrations(), id).await?;
        found.ok_or(NO_INTEGRATION)
    }

    /// Integrations that one owner of this tier may have.
    pub(crate) fn most_integrations(tier: Option<&Arc<Tier>>) -> u32 {
        match tier.and_then(|tier| tier.quotas.get("integrations")) {
            Some(Amount::Finite(most)) => u32::try_from(*most).unwrap_or(u32::MAX),
            Some(Amount::Unlimited) => u32::MAX,
            None => MOST,
        }
    }
}

// === impl Integration ===

impl From<IntegrationRecord> for Integration {
    fn from(record: IntegrationRecord) -> Self {
        Self {
            id: record.id.uuid(),
            service: record.service,
            owner: match record.owner {
                IntegrationOwner::Account(_) => Owner::Account,
                IntegrationOwner::Tenant(_) => Owner::Tenant,
            },
            name: record.name,
            last_four: record.last_four,
            status: record.status.word(),
            created_at: record.created_at,
            updated_at: record.updated_at,
        }
    }
}
