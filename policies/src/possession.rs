//! Whose a thing is that a path names: routes may demand that it is the caller's.
//!
//! Pure, as all of this crate: who owns it, the gateway has found out before it asks for a decision.

use identity::{AccountId, Principal, TenantId, TenantRole};
use uuid::Uuid;

use crate::roles::{ADMIN, in_scope};

/// An id as everybody writes it; in another form a service behind might take it for another one.
const ID_LEN: usize = 36;

/// A kind of thing that somebody owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResourceKind {
    /// An agent; its owner is the developer.
    Agent,
    /// Somebody's own instance of an agent.
    AgentInstance,
}

/// That the caller owns what the path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerDemand {
    /// What it is.
    pub kind: ResourceKind,
    /// The parameter that holds its id.
    pub parameter: Box<str>,
    /// Which segment that is, from 0; the same in every path of the route.
    pub place: usize,
    /// Do administrators pass, of the tenant to which it belongs and of the platform?
    pub admins: bool,
}

/// Whose a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Possession {
    /// Its owner.
    pub account: AccountId,
    /// The tenant to which it belongs.
    pub tenant: TenantId,
}

// === impl ResourceKind ===

impl ResourceKind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Agent, Self::AgentInstance];

    /// As `routes.toml` names it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::AgentInstance => "agent_instance",
        }
    }
}

// === impl OwnerDemand ===

impl OwnerDemand {
    /// The id that a path of the route names; `None`: nothing has such an id.
    #[must_use]
    pub fn named_in(&self, path: &str) -> Option<Uuid> {
        let segment = path.split('/').nth(self.place + 1)?;
        Uuid::try_parse(segment).ok().filter(|_| segment.len() == ID_LEN)
    }

    /// Whether somebody may use a thing that is `whose`.
    pub(crate) fn is_met_by(&self, caller: &Principal, whose: Possession) -> bool {
        let acts_there = caller.tenant == Some(whose.tenant);
        let owns = acts_there && caller.account == whose.account;
        // As with a demanded role: a key that is limited to less than everything does not stand for an administrator.
        let oversees = || {
            let of_tenant = acts_there && caller.tenant_role.is_some_and(TenantRole::administers);
            (of_tenant || &*caller.role == ADMIN) && in_scope(caller, "*")
        };
        owns || (self.admins && oversees())
    }
}
