//! Expectations as text: this caller, this request → this answer. `portcullis check` and every reload try them.
//!
//! A case goes the way of a request, from the path's one spelling to the decision, with an invented caller. What the door
//! does before and after (credentials, limits, upstreams) is no part of it. Reading `cases.toml` is `config`'s.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use identity::{AccountId, Assurance, Authentication, CertificateId, Grant, KeyId, Principal, SessionId, TenantId};
use uuid::Uuid;

use crate::{Auth, Permit, Policy, Possession, Refusal, Route, decide_about, normalise};

/// One expectation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// What is expected, as a sentence.
    pub name: Box<str>,
    /// Where the request is written, such as `cases.toml:12:11`.
    pub place: Box<str>,
    /// Who asks; `None`: a stranger.
    pub caller: Option<Caller>,
    /// As in a request.
    pub method: Box<str>,
    /// As in a request.
    pub host: Box<str>,
    /// As in a request, before anything is normalised; without the query.
    pub path: Box<str>,
    /// What is said.
    pub answer: Answer,
    /// The name of the route that must have permitted it; `None`: any.
    pub route: Option<Box<str>>,
    /// The path that must be forwarded; `None`: any.
    pub forwards: Option<Box<str>>,
}

/// An account that might be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Its role.
    pub role: Arc<str>,
    /// Its tier.
    pub tier: Arc<str>,
    /// What its credential is restricted to; `None`: nothing.
    pub scopes: Option<Box<[Box<str>]>>,
    /// How sure the door is of its owner, unless it shows a key (`None`: as sure as its role needs it) …
    pub acr: Option<Assurance>,
    /// … and how long ago its owner has shown who they are.
    pub auth_age: Duration,
    /// Is what the path names its own?
    pub owns: bool,
}

/// What the rules alone can say to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It may pass.
    Permit,
    /// It may not; the refusal's code.
    Refused(&'static str),
}

/// A case that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseFailure {
    /// The case.
    pub case: Case,
    /// What is said instead, as a clause.
    pub instead: String,
}

/// What paths, routes and demands can be refused with. Credentials, limits and upstreams are not tried.
const REFUSALS: [&str; 7] = [
    "malformed",
    "no_route",
    "method_not_allowed",
    "missing_credential",
    "forbidden",
    "insufficient_user_authentication",
    "not_found",
];

/// When it is, in Unix seconds: ages are all that counts.
pub(crate) const NOW: i64 = 0;

/// Tries every case; those that do not hold.
#[must_use]
pub fn run(policy: &Policy, cases: &[Case]) -> Vec<CaseFailure> {
    cases.iter().filter_map(|case| case.failure(policy)).collect()
}

// === impl Case ===

impl Case {
    fn failure(&self, policy: &Policy) -> Option<CaseFailure> {
        let instead = match (self.answer, self.decide(policy)) {
            (Answer::Refused(code), Err(refusal)) if refusal.code() == code => return None,
            (_, Err(refusal)) => format!("{} ({})", refusal.code(), refusal.detail().trim_end_matches('.')),
            (Answer::Refused(_), Ok(permit)) => format!("permit by route {}", permit.route().name),
            (Answer::Permit, Ok(permit)) => self.difference(&permit)?,
        };
        Some(CaseFailure { case: self.clone(), instead })
    }

    fn decide(&self, policy: &Policy) -> Result<Permit, Refusal> {
        let path = normalise(&self.path)?;
        let route = policy.routes.find(&self.host, &self.method, &path)?;
        let whose = self.caller.as_ref().and_then(Caller::possession);
        decide_about(policy, route, self.caller.as_ref().map(|caller| caller.principal(policy, route)), whose, NOW)
    }

    /// What is otherwise than expected about a permit that was expected.
    fn difference(&self, permit: &Permit) -> Option<String> {
        let route = permit.route();
        if self.route.as_ref().is_some_and(|expected| **expected != *route.name) {
            return Some(format!("permit by route {}", route.name));
        }
        let path = normalise(&self.path).ok()?;
        let forwarded = route.forward_path(&path);
        let is_expected = self.forwards.as_ref().is_none_or(|expected| **expected == *forwarded);
        (!is_expected).then(|| format!("permit, forwarded as {forwarded}"))
    }
}

// === impl Caller ===

impl Caller {
    /// Whose the thing is that the path names, as far as the case says.
    pub(crate) fn possession(&self) -> Option<Possession> {
        self.owns.then_some(Possession { account: AccountId::new(Uuid::nil()), tenant: TenantId::new(Uuid::nil()) })
    }

    /// Somebody who is nobody, with this role and tier, who shows what the route asks for.
    pub(crate) fn principal(&self, policy: &Policy, route: &Route) -> Arc<Principal> {
        let needed = if policy.roles.is_guarded(&self.role) { Assurance::Multi } else { Assurance::Single };
        Arc::new(Principal {
            account: AccountId::new(Uuid::nil()),
            role: Arc::clone(&self.role),
            tier: Arc::clone(&self.tier),
            tenant: Some(TenantId::new(Uuid::nil())),
            tenant_role: None,
            actor: None,
            is_service: false,
            grant: match (route.auth, &self.scopes) {
                (Auth::Mtls, _) => Grant::Certificate(CertificateId::new(Uuid::nil())),
                (Auth::Required | Auth::Optional | Auth::None, Some(_)) => Grant::Key(KeyId::new(Uuid::nil())),
                (Auth::Required | Auth::Optional | Auth::None, None) => Grant::Session(SessionId::new(Uuid::nil())),
            },
            scopes: self.scopes.clone(),
            networks: None,
            authentication: (route.auth != Auth::Mtls).then(|| Authentication {
                at: NOW - i64::try_from(self.auth_age.as_secs()).unwrap_or(i64::MAX),
                assurance: self.acr.unwrap_or(needed),
            }),
            generation: 0,
        })
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "role {}, tier {}", self.role, self.tier)?;
        if let Some(acr) = self.acr {
            write!(f, ", acr {}", acr.word())?;
        }
        if !self.auth_age.is_zero() {
            write!(f, ", seen {} s ago", self.auth_age.as_secs())?;
        }
        if self.owns {
            f.write_str(", who owns it")?;
        }
        match &self.scopes {
            Some(scopes) => write!(f, ", scopes {}", scopes.join(" ")),
            None => Ok(()),
        }
    }
}

// === impl Answer ===

impl Answer {
    /// `permit`, or the code of a refusal that rules can give.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "permit" => Some(Self::Permit),
            _ => REFUSALS.into_iter().find(|code| *code == word).map(Self::Refused),
        }
    }

    /// Every answer.
    pub fn words() -> impl Iterator<Item = &'static str> {
        std::iter::once("permit").chain(REFUSALS)
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Permit => f.write_str("permit"),
            Self::Refused(code) => f.write_str(code),
        }
    }
}

// === impl CaseFailure ===

impl fmt::Display for CaseFailure {
    /// `cases.toml:12:11: "a stranger stays outside": GET /demo by a stranger: expected forbidden, got …`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Case { name, place, caller, method, host, path, answer, route, forwards } = &self.case;
        write!(f, "{place}: \"{name}\": {method} {path} on {host} by ")?;
        match caller {
            Some(caller) => write!(f, "{caller}")?,
            None => f.write_str("a stranger")?,
        }
        write!(f, ": expected {answer}")?;
        if let Some(route) = route {
            write!(f, " by route {route}")?;
        }
        if let Some(path) = forwards {
            write!(f, ", forwarded as {path}")?;
        }
        write!(f, "; got {}", self.instead)
    }
}

#[cfg(test)]
mod tests;
