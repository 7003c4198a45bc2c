//! What older systems have beside accounts. Each thing's id here is made of its id there, so that to import it again finds it, and what
//! refers to it finds it in any run. What it refers to is `places`'s.

use chrono::{DateTime, Utc};
use identity::{AccountId, ExternalId, SealKeys, TenantId, TenantRole, folded};
use uuid::Uuid;

use super::{
    history::{ImportedStatement, ImportedUsage},
    places::Rehearsal,
    sealed::{ImportedAgent, ImportedInstance, ImportedIntegration},
};
use crate::{
    NewDomain, NewTeam, Store, StoreError, Subject,
    db::{Tx, on_tx, stored},
    groups::MOST,
    usage::Sums,
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
    /// What somebody has used.
    Usage(ImportedUsage),
    /// What a tenant owed for a month.
    Statement(ImportedStatement),
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

/// What a batch needs and what it leaves behind.
pub(super) struct Batch<'a> {
    pub(super) seal: &'a SealKeys,
    pub(super) now: DateTime<Utc>,
    pub(super) heard: Vec<Subject>,
    /// Added up at its end, in the order in which every node adds.
    pub(super) used: Sums,
}

/// That something was made, or why not.
pub(super) type Done = Result<(), &'static str>;

/// The id here of a system's thing, by its kind and its id there.
#[must_use]
pub fn imported_id(system: &str, kind: &str, id: &str) -> Uuid {
    // A kind holds no `/`, so no two are written alike.
    ExternalId::of(&format!("{system}/{kind}"), id).uuid()
}

/// Did what has this id come from an older system? What is made here has one of version 7.
pub(crate) fn is_imported(id: Uuid) -> bool {
    id.get_version_num() == 8
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
            let mut batch = Batch { seal, now, heard: Vec::new(), used: Sums::default() };
            let (mut tx, mut known) = (self.begin().await?, Rehearsal::default());
            let mut outcomes = Vec::with_capacity(things.len());
            for new in things {
                outcomes.push(match tx.foresee(&new.thing, &mut known).await? {
                    Made => tx.make(new, &mut batch).await?.map_or_else(Refused, |()| Made),
                    other => other,
                });
            }
            tx.add_sums(batch.used).await?;
            self.commit_and_tell(tx, &batch.heard, now).await?;
            Ok::<_, StoreError>(outcomes)
        })
        .await
    }

    /// Says of each thing what would become of it after all that was rehearsed before, and makes nothing. What cannot stand beside what
    /// is here, such as a second team of a name, is not foreseen.
    pub async fn rehearse_things(
        &self,
        things: &[ImportedThing],
        rehearsal: &mut Rehearsal,
    ) -> Result<Vec<ImportOutcome>, StoreError> {
        self.bounded(async {
            let (mut tx, mut outcomes) = (self.begin().await?, Vec::with_capacity(things.len()));
            for new in things {
                let outcome = tx.foresee(&new.thing, rehearsal).await?;
                if outcome == Made {
                    rehearsal.here.extend(new.thing.places());
                }
                outcomes.push(outcome);
            }
            Ok::<_, StoreError>(outcomes)
        })
        .await
    }
}

// === impl Tx ===

impl Tx {
    /// What becomes of a thing, by what is here: [`Made`] if nothing stands in its way.
    async fn foresee(&mut self, thing: &Thing, known: &mut Rehearsal) -> Result<ImportOutcome, StoreError> {
        if self.is_here(thing.place(), known).await? {
            return Ok(Present);
        }
        for (place, why) in thing.needs() {
            if !self.is_here(place, known).await? {
                return Ok(Missing(why));
            }
        }
        Ok(Made)
    }

    /// Makes a thing whose needs are there.
    async fn make(&mut self, new: &ImportedThing, batch: &mut Batch<'_>) -> Result<Done, StoreError> {
        let at = stored(new.created_at);
        match &new.thing {
            Thing::Tenant { id, name, tier, is_active } => {
                self.import_tenant(*id, name, tier.as_deref(), *is_active, (at, batch.now)).await
            }
            Thing::Member { tenant, user, role } => {
                let account = self.imported_account(*user).await?;
                batch.heard.push(Subject::Account(account));
                self.import_member(*tenant, account, *role, (at, batch.now)).await
            }
            Thing::Team { tenant, id, team } => self.import_team(*tenant, *id, team, at).await,
            Thing::Domain { tenant, id, domain } => self.import_domain(*tenant, *id, domain, at).await,
            Thing::TeamMember { tenant, team, user, role } => {
                let account = self.held_member(*tenant, *user).await?;
                batch.heard.push(Subject::Account(account));
                self.import_team_member(*tenant, *team, account, role, at).await
            }
            Thing::DomainMember { tenant, domain, user } => {
                let account = self.held_member(*tenant, *user).await?;
                batch.heard.push(Subject::Account(account));
                self.import_domain_member(*tenant, *domain, account, at).await
            }
            Thing::Agent(agent) => self.import_agent(agent, at, batch).await,
            Thing::Instance(instance) => self.import_instance(instance, at, batch).await,
            Thing::Integration(integration) => self.import_integration(integration, at, batch).await,
            Thing::Usage(usage) => self.import_usage(usage, at, batch).await,
            Thing::Statement(statement) => self.import_statement(statement, at).await,
        }
    }

    /// The account of somebody who is here.
    pub(super) async fn imported_account(&mut self, user: ExternalId) -> Result<AccountId, StoreError> {
        self.external_owner(user).await?.ok_or(StoreError::NotFound)
    }

    /// The same, of somebody who stays a member of the tenant until the commit.
    pub(super) async fn held_member(&mut self, tenant: TenantId, user: ExternalId) -> Result<AccountId, StoreError> {
        let account = self.imported_account(user).await?;
        self.hold_member(tenant, account).await.map(|()| account)
    }

    async fn import_tenant(
        &mut self,
        id: TenantId,
        name: &str,
        tier: Option<&str>,
        is_active: bool,
        (at, now): (DateTime<Utc>, DateTime<Utc>),
    ) -> Result<Done, StoreError> {
        // What it owes for the time before is the older system's.
        const Q: &str =
            "INSERT INTO tenants (id, name, tier, status, created_at, billed_from) VALUES ($1, $2, $3, $4, $5, $6)";
        let status = if is_active { "active" } else { "disabled" };
        on_tx!(self, |c| sqlx::query(Q)
            .bind(id.uuid())
            .bind(name)
            .bind(tier)
            .bind(status)
            .bind(at)
            .bind(stored(now))
            .execute(c)
            .await
            .map(drop))?;
        Ok(Ok(()))
    }

    async fn import_member(
        &mut self,
        tenant: TenantId,
        account: AccountId,
        role: TenantRole,
        (at, now): (DateTime<Utc>, DateTime<Utc>),
    ) -> Result<Done, StoreError> {
        const HOME: &str = "UPDATE accounts SET tenant_id = COALESCE(tenant_id, $2) WHERE id = $1";
        self.pin_logins(account).await?;
        if role == TenantRole::Owner {
            self.note_tier(tenant, now).await?;
        }
        self.insert_member(tenant, account, role, at).await?;
        on_tx!(self, |c| sqlx::query(HOME).bind(account.uuid()).bind(tenant.uuid()).execute(c).await.map(drop))?;
        Ok(Ok(()))
    }

    async fn import_team(
        &mut self,
        tenant: TenantId,
        id: Uuid,
        team: &NewTeam,
        at: DateTime<Utc>,
    ) -> Result<Done, StoreError> {
        const Q: &str = "INSERT INTO teams (tenant_id, id, name, name_folded, external_ref, is_active, created_at) \
                         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING";
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
        Ok(unless(made == 0, "another team of the tenant has this name"))
    }

    async fn import_domain(
        &mut self,
        tenant: TenantId,
        id: Uuid,
        domain: &NewDomain,
        at: DateTime<Utc>,
    ) -> Result<Done, StoreError> {
        const Q: &str = "INSERT INTO domains (tenant_id, id, key, key_folded, name, parent_domain_id, is_active, created_at) \
                         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING";
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
        Ok(unless(made == 0, "another domain of the tenant has this key"))
    }

    async fn import_team_member(
        &mut self,
        tenant: TenantId,
        team: Uuid,
        account: AccountId,
        role: &str,
        at: DateTime<Utc>,
    ) -> Result<Done, StoreError> {
        const OF: &str = "SELECT COUNT(*) FROM team_memberships WHERE tenant_id = $1 AND account_id = $2";
        const Q: &str = "INSERT INTO team_memberships (tenant_id, team_id, account_id, role, created_at) \
                         VALUES ($1, $2, $3, $4, $5)";
        if self.count_of(OF, tenant, account).await? >= MOST {
            return Ok(Err("the account belongs to 100 teams already"));
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
        Ok(Ok(()))
    }

    async fn import_domain_member(
        &mut self,
        tenant: TenantId,
        domain: Uuid,
        account: AccountId,
        at: DateTime<Utc>,
    ) -> Result<Done, StoreError> {
        const OF: &str = "SELECT COUNT(*) FROM account_domains WHERE tenant_id = $1 AND account_id = $2";
        const Q: &str =
            "INSERT INTO account_domains (tenant_id, domain_id, account_id, created_at) VALUES ($1, $2, $3, $4)";
        if self.count_of(OF, tenant, account).await? >= MOST {
            return Ok(Err("the account is assigned to 100 domains already"));
        }
        on_tx!(self, |c| sqlx::query(Q)
            .bind(tenant.uuid())
            .bind(domain)
            .bind(account.uuid())
            .bind(at)
            .execute(c)
            .await
            .map(drop))?;
        Ok(Ok(()))
    }

    async fn count_of(&mut self, q: &'static str, tenant: TenantId, account: AccountId) -> Result<i64, StoreError> {
        Ok(on_tx!(self, |c| sqlx::query_scalar(q).bind(tenant.uuid()).bind(account.uuid()).fetch_one(c).await)?)
    }
}

pub(super) const fn unless(stands: bool, why: &'static str) -> Done {
    if stands { Err(why) } else { Ok(()) }
}
