//! Agents, and what is sealed anew when it comes: configurations of their instances, and keys at providers. Quotas are not asked: what
//! people had they keep.

use chrono::{DateTime, Utc};
use identity::{AccountId, ExternalId, IntegrationId, ProviderKey, RecordId, SealKeys, SecretText, TenantId};
use uuid::Uuid;

use super::things::{
    ImportOutcome::{self, Made, Missing, Present, Refused},
    NO_MEMBER, NO_TENANT, NO_USER,
};
use crate::{
    InstancePlace, IntegrationOwner, StoreError, Subject,
    db::{Tx, on_tx},
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
    /// Do others see it?
    pub is_published: bool,
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

const AGENT: &str = "SELECT COUNT(*) FROM agents WHERE tenant_id = $1 AND id = $2";
const INSTANCE: &str = "SELECT COUNT(*) FROM agent_instances WHERE tenant_id = $1 AND id = $2";

// === impl Tx ===

impl Tx {
    pub(super) async fn import_agent(
        &mut self,
        new: &ImportedAgent,
        at: DateTime<Utc>,
        heard: &mut Vec<Subject>,
    ) -> Result<ImportOutcome, StoreError> {
        const Q: &str = "INSERT INTO agents (id, tenant_id, developer_id, name, description, is_published, created_at, updated_at) \
                         VALUES ($1, $2, $3, $4, $5, $6, $7, $7) ON CONFLICT (id) DO NOTHING";
        if self.has_imported(AGENT, new.tenant, new.id).await? {
            return Ok(Present);
        }
        if self.tenant(new.tenant).await?.is_none() {
            return Ok(NO_TENANT);
        }
        let developer = match new.developer {
            None => None,
            Some(developer) => match self.external_owner(developer).await? {
                None => return Ok(Missing("no account here was imported with the id that `developer_id` says")),
                Some(account) if !self.holds_member(new.tenant, account).await? => return Ok(NO_MEMBER),
                found => found,
            },
        };
        let made = on_tx!(self, |c| sqlx::query(Q)
            .bind(new.id)
            .bind(new.tenant.uuid())
            .bind(developer.map(|account| account.uuid()))
            .bind(&new.name)
            .bind(&new.description)
            .bind(new.is_published)
            .bind(at)
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        if made == 0 {
            return Ok(Refused("another tenant has an agent of this id"));
        }
        heard.push(Subject::Resource(new.id));
        Ok(Made)
    }

    pub(super) async fn import_instance(
        &mut self,
        seal: &SealKeys,
        new: &ImportedInstance,
        at: DateTime<Utc>,
        heard: &mut Vec<Subject>,
    ) -> Result<ImportOutcome, StoreError> {
        const Q: &str = "INSERT INTO agent_instances (id, tenant_id, agent_id, account_id, name, sealed, created_at, updated_at) \
                         VALUES ($1, $2, $3, $4, $5, $6, $7, $7) ON CONFLICT (id) DO NOTHING";
        if self.has_imported(INSTANCE, new.tenant, new.id).await? {
            return Ok(Present);
        }
        let Some(account) = self.external_owner(new.user).await? else { return Ok(NO_USER) };
        if !self.has_imported(AGENT, new.tenant, new.agent).await? {
            return Ok(Missing("its agent is not here"));
        }
        if !self.holds_member(new.tenant, account).await? {
            return Ok(NO_MEMBER);
        }
        let sealed = seal.seal(new.config.expose().as_bytes(), &new.record(account), &mut rand::rng());
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
        if made == 0 {
            return Ok(Refused("another tenant has an instance of this id"));
        }
        heard.push(Subject::Resource(new.id));
        Ok(Made)
    }

    pub(super) async fn import_integration(
        &mut self,
        seal: &SealKeys,
        new: &ImportedIntegration,
        at: DateTime<Utc>,
        heard: &mut Vec<Subject>,
    ) -> Result<ImportOutcome, StoreError> {
        const IS: &str = "SELECT COUNT(*) FROM integrations WHERE id = $1";
        const Q: &str = "INSERT INTO integrations (id, account_id, tenant_id, service, name, sealed, last_four, status, created_at, \
                         updated_at) VALUES ($1, $2, NULL, $3, $4, $5, $6, $7, $8, $8) ON CONFLICT DO NOTHING";
        let Some(account) = self.external_owner(new.user).await? else { return Ok(NO_USER) };
        let there: i64 = on_tx!(&mut *self, |c| sqlx::query_scalar(IS).bind(new.id.uuid()).fetch_one(c).await)?;
        if there > 0 {
            return Ok(Present);
        }
        let record = integration_record(new.id.uuid(), IntegrationOwner::Account(account), &new.service);
        let sealed = seal.seal(new.key.expose().as_bytes(), &record, &mut rand::rng());
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
        if made == 0 {
            return Ok(Refused("the account has a key of this service already"));
        }
        heard.push(Subject::Integrations(account.uuid()));
        Ok(Made)
    }
}

// === impl ImportedInstance ===

impl ImportedInstance {
    /// Where admin-api will look for it.
    fn record(&self, account: AccountId) -> RecordId {
        InstancePlace { id: self.id, tenant: self.tenant.uuid(), agent: self.agent, account: account.uuid() }.record()
    }
}
