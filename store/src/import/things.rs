//! What older systems have beside accounts. Each thing's id here is made of its id there, so that to import it again finds it, and what
//! refers to it finds it in any run.

use chrono::{DateTime, Utc};
use identity::{AccountId, ExternalId, SealKeys, TenantId, TenantRole, folded};
use uuid::Uuid;

use super::sealed::{ImportedAgent, ImportedInstance, ImportedIntegration};
use crate::{
    NewDomain, NewTeam, Store, StoreError, Subject,
    db::{Tx, on_tx, stored},
    groups::MOST,
};

/// A thing of an older system.
#[derive(Clone)]
pub enum Thing {
    /// A customer organisation.
    Tenant {
        /// Its id.
        id: TenantId,
        /// What it is called.
        name: String,
        /// Its tier here.
        tier: Option<String>,
        /// May it be used?
        is_active: bool,
    },
    /// Somebody who belongs to one.
    Member {
        /// To which.
        tenant: TenantId,
        /// Who.
        user: ExternalId,
        /// As what.
        role: TenantRole,
    },
    /// A team.
    Team {
        /// Whose.
        tenant: TenantId,
        /// Its id.
        id: Uuid,
        /// What it is.
        team: NewTeam,
    },
    /// Somebody who belongs to a team.
    TeamMember {
        /// Whose team.
        tenant: TenantId,
        /// Which.
        team: Uuid,
        /// Who.
        user: ExternalId,
        /// As what.
        role: String,
    },
    /// A domain.
    Domain {
        /// Whose.
        tenant: TenantId,
        /// Its id.
        id: Uuid,
        /// What it is.
        domain: NewDomain,
    },
    /// Somebody who is assigned to a domain.
    DomainMember {
        /// Whose domain.
        tenant: TenantId,
        /// Which.
        domain: Uuid,
        /// Who.
        user: ExternalId,
    },
    /// An agent.
    Agent(ImportedAgent),
    /// Somebody's instance of one.
    Instance(ImportedInstance),
    /// Somebody's key at a provider's.
    Integration(ImportedIntegration),
}

/// A thing and when it was made there.
#[derive(Clone)]
pub struct ImportedThing {
    /// What it is.
    pub thing: Thing,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// What became of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportOutcome {
    /// It is here now.
    Made,
    /// It was here already.
    Present,
    /// What it refers to is not here, or not yet.
    Missing(&'static str),
    /// It cannot be.
    Refused(&'static str),
}

use ImportOutcome::{Made, Missing, Present, Refused};

pub(super) const NO_TENANT: ImportOutcome = Missing("its tenant is not here");
pub(super) const NO_USER: ImportOutcome = Missing("no account here was imported with the id that `user_id` says");
pub(super) const NO_MEMBER: ImportOutcome = Missing("the user is no member of the tenant");

/// The id here of a system's thing, by its kind and its id there.
#[must_use]
pub fn imported_id(system: &str, kind: &str, id: &str) -> Uuid {
    // A kind holds no `/`, so no two are written alike.
    ExternalId::of(&format!("{system}/{kind}"), id).uuid()
}

// === impl Store ===

impl Store {
    /// Makes those things that are not here yet, all or none; says of each what became of it. What is here stays as it is.
    pub async fn import_things(
        &self,
        seal: &SealKeys,
        things: &[ImportedThing],
        now: DateTime<Utc>,
    ) -> Result<Vec<ImportOutcome>, StoreError> {
        self.bounded(async {
            let mut tx = self.begin().await?;
            let (mut outcomes, mut heard) = (Vec::with_capacity(things.len()), Vec::new());
            for thing in things {
                outcomes.push(tx.import_thing(seal, thing, now, &mut heard).await?);
            }
            self.commit(tx, &heard, now).await?;
            Ok::<_, StoreError>(outcomes)
        })
        .await
    }
}

// === impl Tx ===

impl Tx {
    async fn import_thing(
        &mut self,
        seal: &SealKeys,
        new: &ImportedThing,
        now: DateTime<Utc>,
        heard: &mut Vec<Subject>,
    ) -> Result<ImportOutcome, StoreError> {
        let at = stored(new.created_at);
        match &new.thing {
            Thing::Tenant { id, name, tier, is_active } => {
                self.import_tenant(*id, name, tier.as_deref(), *is_active, (at, now)).await
            }
            Thing::Member { tenant, user, role } => {
                let Some(account) = self.external_owner(*user).await? else { return Ok(NO_USER) };
                self.import_member(*tenant, account, *role, (at, now), heard).await
            }
            Thing::Team { tenant, id, team } => self.import_team(*tenant, *id, team, at).await,
            Thing::Domain { tenant, id, domain } => self.import_domain(*tenant, *id, domain, at).await,
            Thing::TeamMember { tenant, team, user, role } => {
                let Some(account) = self.external_owner(*user).await? else { return Ok(NO_USER) };
                self.import_team_member(*tenant, *team, account, role, at, heard).await
            }
            Thing::DomainMember { tenant, domain, user } => {
                let Some(account) = self.external_owner(*user).await? else { return Ok(NO_USER) };
                self.import_domain_member(*tenant, *domain, account, at, heard).await
            }
            Thing::Agent(agent) => self.import_agent(agent, at, heard).await,
            Thing::Instance(instance) => self.import_instance(seal, instance, at, heard).await,
            Thing::Integration(integration) => self.import_integration(seal, integration, at, heard).await,
        }
    }

    async fn import_tenant(
        &mut self,
        id: TenantId,
        name: &str,
        tier: Option<&str>,
        is_active: bool,
        (at, now): (DateTime<Utc>, DateTime<Utc>),
    ) -> Result<ImportOutcome, StoreError> {
        // What it owes for the time before is the older system's.
        const Q: &str = "INSERT INTO tenants (id, name, tier, status, created_at, billed_from) VALUES ($1, $2, $3, $4, $5, $6) \
                         ON CONFLICT (id) DO NOTHING";
        let status = if is_active { "active" } else { "disabled" };
        let made = on_tx!(self, |c| sqlx::query(Q)
            .bind(id.uuid())
            .bind(name)
            .bind(tier)
            .bind(status)
            .bind(at)
            .bind(stored(now))
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(if made > 0 { Made } else { Present })
    }

    async fn import_member(
        &mut self,
        tenant: TenantId,
        account: AccountId,
        role: TenantRole,
        (at, now): (DateTime<Utc>, DateTime<Utc>),
        heard: &mut Vec<Subject>,
    ) -> Result<ImportOutcome, StoreError> {
        const HOME: &str = "UPDATE accounts SET tenant_id = COALESCE(tenant_id, $2) WHERE id = $1";
        if self.tenant(tenant).await?.is_none() {
            return Ok(NO_TENANT);
        }
        if self.role_in(tenant, account).await?.is_some() {
            return Ok(Present);
        }
        self.pin_grants(account).await?;
        if role == TenantRole::Owner {
            self.note_tier(tenant, now).await?;
        }
        self.insert_member(tenant, account, role, at).await?;
        on_tx!(self, |c| sqlx::query(HOME).bind(account.uuid()).bind(tenant.uuid()).execute(c).await.map(drop))?;
        heard.push(Subject::Account(account));
        Ok(Made)
    }

    /// How many rows of a tenant's a question about two ids counts.
    async fn count_pairs(
        &mut self,
        q: &'static str,
        tenant: TenantId,
        first: Uuid,
        second: Uuid,
    ) -> Result<i64, StoreError> {
        Ok(on_tx!(self, |c| sqlx::query_scalar(q).bind(tenant.uuid()).bind(first).bind(second).fetch_one(c).await)?)
    }

    pub(super) async fn has_imported(
        &mut self,
        q: &'static str,
        tenant: TenantId,
        id: Uuid,
    ) -> Result<bool, StoreError> {
        Ok(self.places(q, tenant, id).await? > 0)
    }

    async fn places(&mut self, q: &'static str, tenant: TenantId, id: Uuid) -> Result<i64, StoreError> {
        Ok(on_tx!(self, |c| sqlx::query_scalar(q).bind(tenant.uuid()).bind(id).fetch_one(c).await)?)
    }

    async fn import_team(
        &mut self,
        tenant: TenantId,
        id: Uuid,
        team: &NewTeam,
        at: DateTime<Utc>,
    ) -> Result<ImportOutcome, StoreError> {
        const Q: &str = "INSERT INTO teams (tenant_id, id, name, name_folded, external_ref, is_active, created_at) \
                         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING";
        if self.has_imported(TEAM, tenant, id).await? {
            return Ok(Present);
        }
        if self.tenant(tenant).await?.is_none() {
            return Ok(NO_TENANT);
        }
        let made = on_tx!(self, |c| sqlx::query(Q)
            .bind(tenant.uuid())
            .bind(id)
            .bind(&team.name)
            .bind(folded(&team.name))
            .bind(&team.external_ref)
            .bind(team.is_active)
            .bind(at)
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(if made > 0 { Made } else { Refused("another team of the tenant has this name") })
    }

    async fn import_domain(
        &mut self,
        tenant: TenantId,
        id: Uuid,
        domain: &NewDomain,
        at: DateTime<Utc>,
    ) -> Result<ImportOutcome, StoreError> {
        const Q: &str = "INSERT INTO domains (tenant_id, id, key, key_folded, name, parent_domain_id, is_active, created_at) \
                         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING";
        if self.has_imported(DOMAIN, tenant, id).await? {
            return Ok(Present);
        }
        if self.tenant(tenant).await?.is_none() {
            return Ok(NO_TENANT);
        }
        if let Some(parent) = domain.parent
            && !self.has_imported(DOMAIN, tenant, parent).await?
        {
            return Ok(Missing("its parent is not here, or lies within it"));
        }
        let made = on_tx!(self, |c| sqlx::query(Q)
            .bind(tenant.uuid())
            .bind(id)
            .bind(&domain.key)
            .bind(folded(&domain.key))
            .bind(&domain.name)
            .bind(domain.parent)
            .bind(domain.is_active)
            .bind(at)
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(if made > 0 { Made } else { Refused("another domain of the tenant has this key") })
    }

    async fn import_team_member(
        &mut self,
        tenant: TenantId,
        team: Uuid,
        account: AccountId,
        role: &str,
        at: DateTime<Utc>,
        heard: &mut Vec<Subject>,
    ) -> Result<ImportOutcome, StoreError> {
        const IS: &str =
            "SELECT COUNT(*) FROM team_memberships WHERE tenant_id = $1 AND team_id = $2 AND account_id = $3";
        const OF: &str = "SELECT COUNT(*) FROM team_memberships WHERE tenant_id = $1 AND account_id = $2";
        const Q: &str = "INSERT INTO team_memberships (tenant_id, team_id, account_id, role, created_at) \
                         VALUES ($1, $2, $3, $4, $5)";
        if !self.has_imported(TEAM, tenant, team).await? {
            return Ok(Missing("its team is not here"));
        }
        if !self.holds_member(tenant, account).await? {
            return Ok(NO_MEMBER);
        }
        if self.count_pairs(IS, tenant, team, account.uuid()).await? > 0 {
            return Ok(Present);
        }
        if self.places(OF, tenant, account.uuid()).await? >= MOST {
            return Ok(Refused("the account belongs to 100 teams already"));
        }
        on_tx!(self, |c| sqlx::query(Q)
            .bind(tenant.uuid())
            .bind(team)
            .bind(account.uuid())
            .bind(role)
            .bind(at)
            .execute(c)
            .await
            .map(drop))?;
        heard.push(Subject::Account(account));
        Ok(Made)
    }

    async fn import_domain_member(
        &mut self,
        tenant: TenantId,
        domain: Uuid,
        account: AccountId,
        at: DateTime<Utc>,
        heard: &mut Vec<Subject>,
    ) -> Result<ImportOutcome, StoreError> {
        const IS: &str =
            "SELECT COUNT(*) FROM account_domains WHERE tenant_id = $1 AND domain_id = $2 AND account_id = $3";
        const OF: &str = "SELECT COUNT(*) FROM account_domains WHERE tenant_id = $1 AND account_id = $2";
        const Q: &str =
            "INSERT INTO account_domains (tenant_id, domain_id, account_id, created_at) VALUES ($1, $2, $3, $4)";
        if !self.has_imported(DOMAIN, tenant, domain).await? {
            return Ok(Missing("its domain is not here"));
        }
        if !self.holds_member(tenant, account).await? {
            return Ok(NO_MEMBER);
        }
        if self.count_pairs(IS, tenant, domain, account.uuid()).await? > 0 {
            return Ok(Present);
        }
        if self.places(OF, tenant, account.uuid()).await? >= MOST {
            return Ok(Refused("the account is assigned to 100 domains already"));
        }
        on_tx!(self, |c| sqlx::query(Q)
            .bind(tenant.uuid())
            .bind(domain)
            .bind(account.uuid())
            .bind(at)
            .execute(c)
            .await
            .map(drop))?;
        heard.push(Subject::Account(account));
        Ok(Made)
    }

    pub(super) async fn holds_member(&mut self, tenant: TenantId, account: AccountId) -> Result<bool, StoreError> {
        match self.hold_member(tenant, account).await {
            Err(StoreError::NotFound) => Ok(false),
            held => held.map(|()| true),
        }
    }
}

const TEAM: &str = "SELECT COUNT(*) FROM teams WHERE tenant_id = $1 AND id = $2";
const DOMAIN: &str = "SELECT COUNT(*) FROM domains WHERE tenant_id = $1 AND id = $2";
