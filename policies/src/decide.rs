//! The decision: a route's demand, a caller, one policy → `Permit` or `Refusal`.
//!
//! A `Permit` cannot be had otherwise, and everything that talks to an upstream takes one: forwarding without a decision does
//! not compile. Spending the permit's limits is the gateway's.

use std::fmt::Write;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use identity::{Assurance, Authentication, Grant, Principal};

use crate::roles::in_scope;
use crate::{
    Auth, Condition, Kind, Limit, Permission, Possession, Refusal, Roles, Route, RouteTable, StepUp, Tier, Tiers,
};

/// What scopes have to say of a credential by which its owner's key at a provider is used.
const USE_INTEGRATIONS: &str = "integrations:use";

/// Everything that decides, as it was at one moment: requests finish under the snapshot they began with.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// What is exposed.
    pub routes: RouteTable,
    /// What roles may do.
    pub roles: Roles,
    /// What tiers include.
    pub tiers: Tiers,
}

// === impl Policy ===

impl Policy {
    /// The longest window of all limits on requests; nothing without such a limit.
    #[must_use]
    pub fn longest_window(&self) -> Duration {
        let limits = self.routes.routes().iter().flat_map(|route| &route.limits);
        let limits = limits.chain(self.tiers.iter().flat_map(|tier| &tier.limits));
        let windows = limits.filter_map(|limit| match &limit.kind {
            Kind::Requests(quota) => Some(quota.window),
            Kind::Concurrent(_) => None,
        });
        windows.max().unwrap_or_default()
    }

    /// Has somebody yet to show the second factor that their role needs? Until then the door lets them do nothing but add one
    /// (`before_second_factor` of a route).
    #[must_use]
    pub fn wants_second_factor(&self, principal: &Principal, now: i64) -> bool {
        Caller { roles: &self.roles, principal, tier: None, now }.has_shown_what_its_role_needs().is_err()
    }
}

/// The word that this caller may use this route, if what the path names is its own: enough to spend its limits, before anybody looks for
/// the thing. Made by [`eligible()`] alone.
#[derive(Debug)]
#[must_use]
pub struct Eligible {
    route: Arc<Route>,
    principal: Option<Arc<Principal>>,
    tier: Option<Arc<Tier>>,
}

/// The word that this caller may use this route. Made by [`Eligible::permit()`] alone.
#[derive(Debug)]
#[must_use]
pub struct Permit {
    eligible: Eligible,
    /// Boxed, so that permits of other routes do not carry room for it.
    whose: Option<Box<Possession>>,
}

/// Whether the caller may use the route. `principal` is the verified caller, if a credential was shown and is good.
///
/// `now` is in Unix seconds. Nothing is allocated for a caller who may. Where a route demands that something is the caller's, it is
/// nobody's here: see [`decide_about()`].
pub fn decide(
    policy: &Policy,
    route: &Arc<Route>,
    principal: Option<Arc<Principal>>,
    now: i64,
) -> Result<Permit, Refusal> {
    decide_about(policy, route, principal, None, now)
}

/// The same, where it is known `whose` the thing is that the path names; `None`: nobody's, or there is none.
pub fn decide_about(
    policy: &Policy,
    route: &Arc<Route>,
    principal: Option<Arc<Principal>>,
    whose: Option<Possession>,
    now: i64,
) -> Result<Permit, Refusal> {
    eligible(policy, route, principal, now)?.permit(whose)
}

/// All of the decision but whose the thing is that the path names.
pub fn eligible(
    policy: &Policy,
    route: &Arc<Route>,
    principal: Option<Arc<Principal>>,
    now: i64,
) -> Result<Eligible, Refusal> {
    // What a route that ignores credentials is not told, it cannot pass on.
    let principal = principal.filter(|principal| match route.auth {
        Auth::None => false,
        Auth::Required | Auth::Optional => true,
        Auth::Mtls => matches!(principal.grant, Grant::Certificate(_)),
    });
    let Some(principal) = principal else { return decide_stranger(route) };
    let tier = policy.tiers.get(&principal.tier).cloned();
    let caller = Caller { roles: &policy.roles, principal: &principal, tier: tier.as_deref(), now };
    route.demand.conditions().try_for_each(|condition| caller.meets(condition))?;
    caller.may_spend_its_owners_key(route)?;
    // Last: who may not at all is not sent to look for an authenticator.
    if !route.before_second_factor {
        caller.has_shown_what_its_role_needs()?;
    }
    // Without its tier the caller's limits are unknown, and unknown is not unlimited.
    if route.tier_limits && tier.is_none() {
        return Err(forbidden(format!("a known tier; this account's tier \"{}\" is not configured", principal.tier)));
    }
    Ok(Eligible { route: Arc::clone(route), principal: Some(principal), tier })
}

fn decide_stranger(route: &Arc<Route>) -> Result<Eligible, Refusal> {
    if matches!(route.auth, Auth::Required | Auth::Mtls) || !route.demand.is_empty() {
        return Err(Refusal::MissingCredential(route.auth));
    }
    Ok(Eligible { route: Arc::clone(route), principal: None, tier: None })
}

/// Who asks, beside what the policy knows of its tier.
struct Caller<'a> {
    roles: &'a Roles,
    principal: &'a Principal,
    tier: Option<&'a Tier>,
    now: i64,
}

// === impl Caller ===

impl Caller<'_> {
    fn meets(&self, condition: Condition<'_>) -> Result<(), Refusal> {
        match condition {
            Condition::Role(roles) => self.has_role(roles),
            Condition::Permission(permission) => self.has_permission(permission),
            Condition::Tier(tiers) => self.has_tier(tiers),
            Condition::Feature(feature) => self.has_feature(feature),
            Condition::StepUp(wanted) if wanted.is_met_by(self.seen(), self.now) => Ok(()),
            Condition::StepUp(wanted) => Err(Refusal::InsufficientAuthentication(wanted)),
        }
    }

    /// How the person who is there has shown who they are: behind a key nobody is, whoever has made it.
    fn seen(&self) -> Option<Authentication> {
        self.principal.authentication.filter(|_| !self.principal.grant.is_of_a_program())
    }

    /// A program cannot, but its key is made by who has: one that was made before its owner had to is as good as their password alone.
    fn has_shown_what_its_role_needs(&self) -> Result<(), Refusal> {
        const WANTED: StepUp = StepUp { acr: Some(Assurance::Multi), max_age: None };
        let is_met = match self.principal.grant {
            Grant::Machine(_) | Grant::Certificate(_) => true,
            Grant::Key(_) if self.principal.is_service => true,
            Grant::Key(_) | Grant::Session(_) | Grant::Cookie(_) | Grant::External(..) => {
                !self.roles.is_guarded(&self.principal.role)
                    || WANTED.is_met_by(self.principal.authentication, self.now)
            }
        };
        if is_met { Ok(()) } else { Err(Refusal::InsufficientAuthentication(WANTED)) }
    }

    /// Whoever has limited a credential has not lent their key at a provider with it, unless they say so.
    fn may_spend_its_owners_key(&self, route: &Route) -> Result<(), Refusal> {
        if route.inject_credential.is_none() || in_scope(self.principal, USE_INTEGRATIONS) {
            return Ok(());
        }
        Err(forbidden(format!("permission {USE_INTEGRATIONS} among the credential's scopes")))
    }

    fn has_role(&self, roles: &[Box<str>]) -> Result<(), Refusal> {
        if !roles.iter().any(|role| **role == *self.principal.role) {
            return Err(forbidden(either("role", roles)));
        }
        // A role is everything its holder may do, so a credential that holds less than everything cannot stand for it.
        if !in_scope(self.principal, "*") {
            return Err(forbidden(format!("{} and a credential without scopes", either("role", roles))));
        }
        Ok(())
    }

    fn has_permission(&self, permission: &Permission) -> Result<(), Refusal> {
        if self.roles.holds(self.principal, permission) {
            return Ok(());
        }
        let is_narrowed = self.roles.granted(&self.principal.role, permission);
        let place = if is_narrowed { " among the credential's scopes" } else { "" };
        Err(forbidden(format!("permission {permission}{place}")))
    }

    fn has_tier(&self, tiers: &[Box<str>]) -> Result<(), Refusal> {
        let is_one = self.tier.is_some_and(|tier| tiers.contains(&tier.name));
        if is_one { Ok(()) } else { Err(forbidden(either("tier", tiers))) }
    }

    fn has_feature(&self, feature: &str) -> Result<(), Refusal> {
        if self.tier.is_some_and(|tier| tier.features.contains(feature)) {
            return Ok(());
        }
        Err(forbidden(format!("feature {feature}, which tier {} does not include", self.principal.tier)))
    }
}

fn forbidden(missing: String) -> Refusal {
    Refusal::Forbidden { missing }
}

/// `role admin`, `role admin or developer`, `role a, b or c`.
fn either(what: &str, names: &[Box<str>]) -> String {
    let mut text = what.to_owned();
    for (index, name) in names.iter().enumerate() {
        let joint = match index {
            0 => " ",
            _ if index + 1 == names.len() => " or ",
            _ => ", ",
        };
        write!(text, "{joint}{name}").expect("writing to a String cannot fail");
    }
    text
}

// === impl Eligible ===

impl Eligible {
    /// What may be used.
    #[must_use]
    pub const fn route(&self) -> &Arc<Route> {
        &self.route
    }

    /// Who may; `None` for strangers on routes that take them.
    #[must_use]
    pub const fn principal(&self) -> Option<&Arc<Principal>> {
        self.principal.as_ref()
    }

    /// The caller's tier as the policy knows it.
    #[must_use]
    pub fn tier(&self) -> Option<&Tier> {
        self.tier.as_deref()
    }

    /// What the request spends: the route's limits, then those of the caller's tier.
    pub fn limits(&self) -> impl Iterator<Item = &Limit> {
        let tier = self.tier.as_deref().filter(|_| self.route.tier_limits);
        self.route.limits.iter().chain(tier.into_iter().flat_map(|tier| &tier.limits))
    }

    /// The rest of the decision: `whose` the thing is that the path names; `None`: nobody's, or there is none.
    pub fn permit(self, whose: Option<Possession>) -> Result<Permit, Refusal> {
        let Some(demand) = &self.route.demand.owner else { return Ok(Permit { eligible: self, whose: None }) };
        let owned = |whose: &Possession| self.principal.as_ref().is_some_and(|caller| demand.is_met_by(caller, *whose));
        // Of what is somebody else's nobody learns that it is there.
        let whose = whose.filter(owned).ok_or(Refusal::NotFound)?;
        Ok(Permit { eligible: self, whose: Some(Box::new(whose)) })
    }
}

// === impl Permit ===

impl Permit {
    /// Whose the thing is that the path names, where the route demands that it is the caller's.
    #[must_use]
    pub fn whose(&self) -> Option<Possession> {
        self.whose.as_deref().copied()
    }
}

/// Who may is eligible.
impl Deref for Permit {
    type Target = Eligible;

    fn deref(&self) -> &Eligible {
        &self.eligible
    }
}

#[cfg(test)]
mod tests;
