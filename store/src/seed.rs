//! What a new tenant begins with: teams and domains, written in the transaction that makes it.

use std::sync::{Arc, PoisonError, RwLock};

use chrono::{DateTime, Utc};
use identity::{AccountId, TenantId, folded};
use sqlx::QueryBuilder;
use uuid::Uuid;

use crate::{
    StoreError,
    db::{Tx, on_tx, stored},
};

/// What whoever founds a tenant is in its first team.
const FOUNDER: &str = "owner";

/// What a new tenant begins with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TenantSeed {
    /// Its teams. Whoever founds the tenant belongs to the first one.
    pub teams: Vec<TeamSeed>,
    /// Its domains.
    pub domains: Vec<DomainSeed>,
}

/// A team.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TeamSeed {
    /// What it is called.
    pub name: String,
    /// What others call it.
    pub external_ref: Option<String>,
}

/// A domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainSeed {
    /// What programs call it.
    pub key: String,
    /// What people call it.
    pub name: String,
    /// The place in the list of the domain in which it lies, which comes before it.
    pub parent: Option<usize>,
}

/// The seed in force. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct SharedSeed(Arc<RwLock<Arc<TenantSeed>>>);

// === impl SharedSeed ===

impl SharedSeed {
    pub(crate) fn now(&self) -> Arc<TenantSeed> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn replace(&self, seed: TenantSeed) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(seed);
    }
}

// === impl Tx ===

impl Tx {
    /// One statement for all teams and one for all domains.
    pub(crate) async fn insert_seed(&mut self, tenant: TenantId, now: DateTime<Utc>) -> Result<(), StoreError> {
        let seed = self.seed();
        if !seed.teams.is_empty() {
            on_tx!(&mut *self, |c| {
                let mut insert = QueryBuilder::new(
                    "INSERT INTO teams (tenant_id, id, name, name_folded, external_ref, is_active, created_at) ",
                );
                insert.push_values(&seed.teams, |mut row, team| {
                    row.push_bind(tenant.uuid()).push_bind(Uuid::now_v7()).push_bind(&team.name);
                    row.push_bind(folded(&team.name)).push_bind(&team.external_ref);
                    row.push_bind(true).push_bind(stored(now));
                });
                insert.build().execute(c).await.map(drop)
            })?;
        }
        if !seed.domains.is_empty() {
            let ids: Vec<Uuid> = seed.domains.iter().map(|_| Uuid::now_v7()).collect();
            on_tx!(&mut *self, |c| {
                let mut insert = QueryBuilder::new(
                    "INSERT INTO domains (tenant_id, id, key, key_folded, name, parent_domain_id, is_active, created_at) ",
                );
                insert.push_values(seed.domains.iter().zip(&ids), |mut row, (domain, id)| {
                    let parent = domain.parent.and_then(|place| ids.get(place)).copied();
                    row.push_bind(tenant.uuid()).push_bind(*id).push_bind(&domain.key);
                    row.push_bind(folded(&domain.key)).push_bind(&domain.name).push_bind(parent);
                    row.push_bind(true).push_bind(stored(now));
                });
                insert.build().execute(c).await.map(drop)
            })?;
        }
        Ok(())
    }

    /// Puts whoever founds a tenant into its first team, if it has one.
    pub(crate) async fn join_first_team(
        &mut self,
        tenant: TenantId,
        founder: AccountId,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        const Q: &str = "INSERT INTO team_memberships (tenant_id, team_id, account_id, role, created_at) \
                         SELECT tenant_id, id, $2, $3, $4 FROM teams WHERE tenant_id = $1 ORDER BY id LIMIT 1";
        if self.seed().teams.is_empty() {
            return Ok(());
        }
        Ok(on_tx!(self, |c| sqlx::query(Q)
            .bind(tenant.uuid())
            .bind(founder.uuid())
            .bind(FOUNDER)
            .bind(stored(now))
            .execute(c)
            .await
            .map(drop))?)
    }
}
