//! What is imported refers to what is here, or came before it in the same run. Each place has one question that finds out.

use std::collections::HashSet;

use identity::{ExternalId, TenantId};
use uuid::Uuid;

use super::things::Thing;
use crate::{
    Audience, StoreError,
    agents::on_platform,
    db::{Tx, on_tx},
};

/// Something that an import makes, or refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    Tenant(TenantId),
    User(ExternalId),
    Member(TenantId, ExternalId),
    Team(TenantId, Uuid),
    TeamMember(TenantId, Uuid, ExternalId),
    Domain(TenantId, Uuid),
    DomainMember(TenantId, Uuid, ExternalId),
    Agent(TenantId, Uuid),
    /// An agent that people of every tenant see.
    PlatformAgent(Uuid),
    /// An agent of which somebody in a tenant can have an instance.
    AgentFor(TenantId, Uuid),
    Instance(TenantId, Uuid),
    Integration(Uuid),
    Usage(Uuid),
    Statement(TenantId, Uuid),
}

/// What is known to be here: found in this transaction, or what an import that is only tried would have made by now.
#[derive(Debug, Default)]
pub struct Rehearsal {
    pub(super) here: HashSet<Place>,
    pub(super) addresses: HashSet<String>,
}

/// A place, and what is said if nothing is there.
type Need = (Place, &'static str);

const NO_TENANT: &str = "its tenant is not here";
const NO_USER: &str = "no account here was imported with the id that `user_id` says";
const NO_MEMBER: &str = "the user is no member of the tenant";

// === impl Rehearsal ===

impl Rehearsal {
    fn knows(&self, place: Place) -> bool {
        let either = match place {
            Place::AgentFor(tenant, id) => [Place::Agent(tenant, id), Place::PlatformAgent(id)],
            other => [other; 2],
        };
        either.iter().any(|place| self.here.contains(place))
    }
}

// === impl Thing ===

impl Thing {
    /// Each place that is taken once it is there.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> {
        let offered = match self {
            Self::Agent(agent) if agent.audience == Audience::Platform => Some(Place::PlatformAgent(agent.id)),
            _ => None,
        };
        [self.place()].into_iter().chain(offered)
    }

    /// Where it will be.
    pub(super) const fn place(&self) -> Place {
        match self {
            Self::Tenant { id, .. } => Place::Tenant(*id),
            Self::Member { tenant, user, .. } => Place::Member(*tenant, *user),
            Self::Team { tenant, id, .. } => Place::Team(*tenant, *id),
            Self::TeamMember { tenant, team, user, .. } => Place::TeamMember(*tenant, *team, *user),
            Self::Domain { tenant, id, .. } => Place::Domain(*tenant, *id),
            Self::DomainMember { tenant, domain, user } => Place::DomainMember(*tenant, *domain, *user),
            Self::Agent(agent) => Place::Agent(agent.tenant, agent.id),
            Self::Instance(instance) => Place::Instance(instance.tenant, instance.id),
            Self::Integration(integration) => Place::Integration(integration.id.uuid()),
            Self::Usage(usage) => Place::Usage(usage.id),
            Self::Statement(statement) => Place::Statement(statement.tenant, statement.id),
        }
    }

    /// What has to be there before it.
    pub(super) fn needs(&self) -> Vec<Need> {
        let user = |user: &ExternalId| (Place::User(*user), NO_USER);
        let tenant = |tenant: &TenantId| (Place::Tenant(*tenant), NO_TENANT);
        let member = |tenant: &TenantId, user: &ExternalId| (Place::Member(*tenant, *user), NO_MEMBER);
        match self {
            Self::Tenant { .. } => Vec::new(),
            Self::Member { tenant: of, user: who, .. } => vec![user(who), tenant(of)],
            Self::Team { tenant: of, .. } => vec![tenant(of)],
            Self::Domain { tenant: of, domain, .. } => {
                let parent = domain.parent.map(|parent| Place::Domain(*of, parent));
                let parent = parent.map(|parent| (parent, "its parent is not here, or lies within it"));
                [tenant(of)].into_iter().chain(parent).collect()
            }
            Self::TeamMember { tenant: of, team, user: who, .. } => {
                vec![user(who), (Place::Team(*of, *team), "its team is not here"), member(of, who)]
            }
            Self::DomainMember { tenant: of, domain, user: who } => {
                vec![user(who), (Place::Domain(*of, *domain), "its domain is not here"), member(of, who)]
            }
            Self::Agent(agent) => {
                let developer = agent.developer.into_iter().flat_map(|who| {
                    const NO_DEVELOPER: &str = "no account here was imported with the id that `developer_id` says";
                    [(Place::User(who), NO_DEVELOPER), member(&agent.tenant, &who)]
                });
                [tenant(&agent.tenant)].into_iter().chain(developer).collect()
            }
            Self::Instance(new) => {
                let agent = (Place::AgentFor(new.tenant, new.agent), "its agent is not here");
                vec![user(&new.user), agent, member(&new.tenant, &new.user)]
            }
            Self::Integration(new) => vec![user(&new.user)],
            // Whoever has left the tenant has used it all the same.
            Self::Usage(new) => vec![user(&new.user), tenant(&new.tenant)],
            Self::Statement(new) => vec![tenant(&new.tenant)],
        }
    }
}

// === impl Place ===

impl Place {
    fn question(self) -> (&'static str, Vec<Uuid>) {
        macro_rules! count {
            ($rest:literal) => {
                concat!("SELECT COUNT(*) FROM ", $rest)
            };
            ($rest:literal, $user:literal) => {
                concat!(
                    "SELECT COUNT(*) FROM ",
                    $rest,
                    " AND account_id = (SELECT account_id FROM external_identities WHERE id = ",
                    $user,
                    ")"
                )
            };
        }
        match self {
            Self::Tenant(id) => (count!("tenants WHERE id = $1"), vec![id.uuid()]),
            Self::User(id) => (count!("external_identities WHERE id = $1"), vec![id.uuid()]),
            Self::Member(tenant, user) => {
                (count!("tenant_members WHERE tenant_id = $1", "$2"), vec![tenant.uuid(), user.uuid()])
            }
            Self::Team(tenant, id) => (count!("teams WHERE tenant_id = $1 AND id = $2"), vec![tenant.uuid(), id]),
            Self::TeamMember(tenant, team, user) => (
                count!("team_memberships WHERE tenant_id = $1 AND team_id = $2", "$3"),
                vec![tenant.uuid(), team, user.uuid()],
            ),
            Self::Domain(tenant, id) => (count!("domains WHERE tenant_id = $1 AND id = $2"), vec![tenant.uuid(), id]),
            Self::DomainMember(tenant, domain, user) => (
                count!("account_domains WHERE tenant_id = $1 AND domain_id = $2", "$3"),
                vec![tenant.uuid(), domain, user.uuid()],
            ),
            Self::Agent(tenant, id) => (count!("agents WHERE tenant_id = $1 AND id = $2"), vec![tenant.uuid(), id]),
            Self::PlatformAgent(id) => {
                (concat!("SELECT COUNT(*) FROM agents WHERE id = $1 AND ", on_platform!()), vec![id])
            }
            Self::AgentFor(tenant, id) => (
                concat!("SELECT COUNT(*) FROM agents WHERE id = $2 AND (tenant_id = $1 OR ", on_platform!(), ")"),
                vec![tenant.uuid(), id],
            ),
            Self::Instance(tenant, id) => {
                (count!("agent_instances WHERE tenant_id = $1 AND id = $2"), vec![tenant.uuid(), id])
            }
            Self::Integration(id) => (count!("integrations WHERE id = $1"), vec![id]),
            Self::Usage(id) => (count!("imported_usage WHERE id = $1"), vec![id]),
            Self::Statement(tenant, id) => {
                (count!("billing_statements WHERE tenant_id = $1 AND id = $2"), vec![tenant.uuid(), id])
            }
        }
    }
}

// === impl Tx ===

impl Tx {
    /// Is something there? What is found stays known.
    pub(super) async fn is_here(&mut self, place: Place, known: &mut Rehearsal) -> Result<bool, StoreError> {
        if known.knows(place) {
            return Ok(true);
        }
        let (question, ids) = place.question();
        let count: i64 = on_tx!(self, |c| {
            let asked = ids.iter().fold(sqlx::query_scalar(question), |asked, id| asked.bind(*id));
            asked.fetch_one(c).await
        })?;
        if count > 0 {
            known.here.insert(place);
        }
        Ok(count > 0)
    }
}
