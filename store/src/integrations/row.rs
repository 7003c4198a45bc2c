//! One row, and what it is sealed for.

use chrono::{DateTime, Utc};
use identity::{ProviderKey, RecordId, SealKeys};
use sqlx_macros::FromRow;
use uuid::Uuid;

use super::{IntegrationOwner, IntegrationRecord, IntegrationStatus, NewIntegration};
use crate::{StoreError, db::stored};

#[derive(FromRow)]
pub(super) struct Row {
    pub(super) id: Uuid,
    pub(super) account_id: Option<Uuid>,
    pub(super) tenant_id: Option<Uuid>,
    pub(super) service: String,
    pub(super) name: Option<String>,
    pub(super) sealed: Vec<u8>,
    pub(super) last_four: String,
    pub(super) status: String,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
}

// === impl Row ===

pub(super) const ACTIVE: &str = "active";
pub(super) const DISABLED: &str = "disabled";

impl Row {
    fn owner(&self) -> Result<IntegrationOwner, StoreError> {
        IntegrationOwner::of(self.account_id, self.tenant_id)
            .ok_or_else(|| StoreError::Corrupt(format!("integration {} has not one owner", self.id)))
    }

    pub(super) fn record(&self) -> Result<RecordId, StoreError> {
        Ok(integration_record(self.id, self.owner()?, &self.service))
    }

    pub(super) fn opened(&self, seal: &SealKeys) -> Option<ProviderKey> {
        let bytes = seal.open(&self.sealed, &self.record().ok()?).ok()?;
        ProviderKey::from_bytes(&bytes).ok()
    }

    pub(super) fn seen(self, seal: &SealKeys) -> Result<IntegrationRecord, StoreError> {
        let status = match self.status.as_str() {
            _ if self.opened(seal).is_none() => IntegrationStatus::Unreadable,
            ACTIVE => IntegrationStatus::Active,
            _ => IntegrationStatus::Disabled,
        };
        Ok(IntegrationRecord {
            id: self.id.into(),
            owner: self.owner()?,
            service: self.service,
            name: self.name,
            last_four: self.last_four,
            status,
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }
}

// === impl NewIntegration ===

impl NewIntegration<'_> {
    pub(super) fn record(&self) -> IntegrationRecord {
        IntegrationRecord {
            id: self.id,
            owner: self.owner,
            service: self.service.to_owned(),
            name: self.name.map(str::to_owned),
            last_four: self.key.last_four().to_owned(),
            status: IntegrationStatus::Active,
            created_at: stored(self.now),
            updated_at: stored(self.now),
        }
    }
}

// === impl IntegrationOwner ===

impl IntegrationOwner {
    /// Whose the columns say it is.
    pub(crate) fn of(account: Option<Uuid>, tenant: Option<Uuid>) -> Option<Self> {
        match (account, tenant) {
            (Some(account), None) => Some(Self::Account(account.into())),
            (None, Some(tenant)) => Some(Self::Tenant(tenant.into())),
            _ => None,
        }
    }

    /// The id of either.
    #[must_use]
    pub const fn uuid(&self) -> Uuid {
        match self {
            Self::Account(id) => id.uuid(),
            Self::Tenant(id) => id.uuid(),
        }
    }

    /// The account and the tenant column.
    pub(super) const fn columns(&self) -> (Option<Uuid>, Option<Uuid>) {
        match self {
            Self::Account(id) => (Some(id.uuid()), None),
            Self::Tenant(id) => (None, Some(id.uuid())),
        }
    }

    const fn word(&self) -> &'static str {
        match self {
            Self::Account(_) => "account",
            Self::Tenant(_) => "tenant",
        }
    }
}

// === impl IntegrationStatus ===

impl IntegrationStatus {
    /// As answers name it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Active => ACTIVE,
            Self::Disabled => DISABLED,
            Self::Unreadable => "unreadable",
        }
    }
}

/// What a key is sealed for. No service holds a `:`, so no two rows are written alike.
pub(crate) fn integration_record(id: Uuid, owner: IntegrationOwner, service: &str) -> RecordId {
    let row = format!("{id}:{}:{}:{service}", owner.word(), owner.uuid());
    RecordId { table: "integrations", column: "sealed", row }
}
