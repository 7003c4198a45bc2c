//! Agents, and what is sealed anew when it comes: configurations of their instances, and keys at providers. Quotas are not asked: what
//! people had they keep.

use chrono::{DateTime, Utc};
use identity::{AccountId, ExternalId, IntegrationId, ProviderKey, RecordId, SecretText, TenantId};
use uuid::Uuid;

use super::things::{Batch, Done, unless};
use crate::{
    Audience, InstancePlace, IntegrationOwner, StoreError, Subject,
    db::{Tx, on_tx},
    instances,
    integrations::integration_record,
};

/// An agent of an older system.
#[derive(Clone)]
pub struct ImportedAgent {
    /// Whose.
    pub tenant: TenantId,
    /// Its id.
    pub id: Uuid,
    /// Who made it.
    pub developer: Option<ExternalId>,
    /// What it is called.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Who else sees it.
    pub audience: Audience,
}

/// An instance of one.
#[derive(Clone)]
pub struct ImportedInstance {
    /// In which tenant.
    pub tenant: TenantId,
    /// Its id.
    pub id: Uuid,
    /// Of which agent.
    pub agent: Uuid,
    /// Whose it is.
    pub user: ExternalId,
    /// What it is called.
    pub name: String,
    /// What it is configured with: JSON.
    pub config: SecretText,
}

/// A key at a provider's.
#[derive(Clone)]
pub struct ImportedIntegration {
    /// Its id.
    pub id: IntegrationId,
    /// Whose it is.
    pub user: ExternalId,
    /// Whom it is for.
    pub service: String,
    /// What its owner calls it.
    pub name: Option<String>,
    /// The key.
    pub key: ProviderKey,
    /// Does the door use it?
    pub is_active: bool,
}

// === impl Tx ===

impl Tx {
    pub(super) async fn import_agent(
        &mut self,
        new: &ImportedAgent,
        at: DateTime<Utc>,
        batch: &mut Batch<'_>,
    ) -> Result<Done, StoreError> {
        const Q: &str = "INSERT INTO agents (id, tenant_id, developer_id, name, description, is_published, on_platform, created_at, updated_at) \
                         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8) ON CONFLICT (id) DO NOTHING";
        let (is_published, on_platform) = new.audience.flags();
        let developer = match new.developer {
            Some(developer) => Some(self.held_member(new.tenant, developer).await?),
            None => None,
        };
        let made = on_tx!(self, |c| sqlx::query(Q)
            .bind(new.id)
            .bind(new.tenant.uuid())
            .bind(developer.map(|account| account.uuid()))
            .bind(&new.name)
            .bind(&new.description)
            .bind(is_published)
            .bind(on_platform)
            .bind(at)
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        batch.heard.push(Subject::Resource(new.id));
        Ok(unless(made == 0, "another tenant has an agent of this id"))
    }

    pub(super) async fn import_instance(
        &mut self,
        new: &ImportedInstance,
        at: DateTime<Utc>,
        batch: &mut Batch<'_>,
    ) -> Result<Done, StoreError> {
        const Q: &str = concat!(instances::insert!(), " ON CONFLICT (id) DO NOTHING");
        let account = self.held_member(new.tenant, new.user).await?;
        let sealed = batch.seal.seal(new.config.expose().as_bytes(), &new.record(account), &mut rand::rng());
        let made = on_tx!(self, |c| sqlx::query(Q)
            .bind(new.id)
            .bind(new.tenant.uuid())
            .bind(new.agent)
            .bind(account.uuid())
            .bind(&new.name)
            .bind(sealed)
            .bind(at)
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        batch.heard.push(Subject::Resource(new.id));
        Ok(unless(made == 0, "another tenant has an instance of this id"))
    }

    pub(super) async fn import_integration(
        &mut self,
        new: &ImportedIntegration,
        at: DateTime<Utc>,
        batch: &mut Batch<'_>,
    ) -> Result<Done, StoreError> {
        const Q: &str = "INSERT INTO integrations (id, account_id, tenant_id, service, name, sealed, last_four, status, created_at, \
                         updated_at) VALUES ($1, $2, NULL, $3, $4, $5, $6, $7, $8, $8) ON CONFLICT DO NOTHING";
        let account = self.imported_account(new.user).await?;
        let record = integration_record(new.id.uuid(), IntegrationOwner::Account(account), &new.service);
        let sealed = batch.seal.seal(new.key.expose().as_bytes(), &record, &mut rand::rng());
        let made = on_tx!(self, |c| sqlx::query(Q)
            .bind(new.id.uuid())
            .bind(account.uuid())
            .bind(&new.service)
            .bind(&new.name)
            .bind(sealed)
            .bind(new.key.last_four())
            .bind(if new.is_active { "active" } else { "disabled" })
            .bind(at)
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        batch.heard.push(Subject::Integrations(account.uuid()));
        Ok(unless(made == 0, "the account has a key of this service already"))
    }
}

// === impl ImportedInstance ===

impl ImportedInstance {
    /// Where admin-api will look for it.
    fn record(&self, account: AccountId) -> RecordId {
        InstancePlace { id: self.id, tenant: self.tenant.uuid(), agent: self.agent, account: account.uuid() }.record()
    }
}
