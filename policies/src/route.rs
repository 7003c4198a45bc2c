//! A route: what is exposed, to which upstream, and what it demands of the caller.
//!
//! Which route a request belongs to is `table`'s; whether the caller meets the demand is `decide`'s.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::path::{self, PathError, normalise};
use crate::{Cors, Csrf, HostPattern, Injection, Limit, OwnerDemand, PathPattern, Permission, StepUp};

/// One entry of `routes.toml`.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a word of routes.toml")]
pub struct Route {
    /// The place in the table; set by `RouteTable::build`.
    pub id: usize,
    /// Unique; a label of metrics and the access log.
    pub name: Arc<str>,
    /// Which hosts it answers on; none: every host.
    pub hosts: Vec<HostPattern>,
    /// Which methods it takes.
    pub methods: Methods,
    /// Which paths belong to it.
    pub paths: Vec<PathPattern>,
    /// The pool of servers behind it.
    pub upstream: Arc<str>,
    /// Whether a caller must be known.
    pub auth: Auth,
    /// What the caller must have.
    pub demand: Demand,
    /// How the path is changed on its way.
    pub rewrite: Rewrite,
    /// Limits of its own.
    pub limits: Vec<Limit>,
    /// Whether the limits of the caller's tier are spent too.
    pub tier_limits: bool,
    /// Whether those whose role needs a second factor may use it before they have shown one.
    pub before_second_factor: bool,
    /// Whether people of a disabled organisation may use it, by the session in which they act there.
    pub in_disabled_tenant: bool,
    /// Whether the upstream sees the credential.
    pub forward_credential: bool,
    /// The key at a provider's that the upstream is shown in its place. Boxed, since few routes have one.
    pub inject_credential: Option<Box<Injection>>,
    /// Bytes of request body; `None`: the server's own cap.
    pub max_body: Option<u64>,
    /// What differs from the upstream's timeouts.
    pub timeouts: Timeouts,
    /// Which foreign pages may call it; `None`: preflights are not answered here.
    pub cors: Option<Cors>,
    /// What an unsafe request on a cookie has to show.
    pub csrf: Csrf,
    /// Whether it may be turned into a WebSocket.
    pub websocket: bool,
    /// The longest silence of a WebSocket, both ways.
    pub websocket_idle: Duration,
    /// How long a stream may outlive the credential that opened it.
    pub expiry_grace: Duration,
}

/// Clients that ping do so every few seconds; whoever is silent for so long has most likely gone without a word.
pub const WEBSOCKET_IDLE: Duration = Duration::from_mins(10);
/// Long enough to open a new stream with a fresh token before the old one ends.
pub const EXPIRY_GRACE: Duration = Duration::from_secs(30);

/// Whether a caller must be known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Auth {
    /// A valid credential, or 401.
    #[default]
    Required,
    /// A valid credential is used, none is fine, a bad one is refused.
    Optional,
    /// Credentials are not looked at: a stale token must not break login.
    None,
    /// A client certificate whose holder is configured, or 401. Other credentials are not looked at.
    Mtls,
}

/// What a caller must have; every part that is not empty must be met.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Demand {
    /// Any one of these.
    pub roles: Vec<Box<str>>,
    /// All of these.
    pub permissions: Vec<Permission>,
    /// Any one of these.
    pub tiers: Vec<Box<str>>,
    /// All of these.
    pub features: Vec<Box<str>>,
    /// How and how lately the person must have shown who they are.
    pub step_up: Option<StepUp>,
    /// What the path names must be the caller's.
    pub owner: Option<OwnerDemand>,
}

/// One thing that a caller must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition<'a> {
    /// Any one of these roles.
    Role(&'a [Box<str>]),
    /// This permission.
    Permission(&'a Permission),
    /// Any one of these tiers.
    Tier(&'a [Box<str>]),
    /// This feature of the caller's tier.
    Feature(&'a str),
    /// To have shown who one is, so and so lately.
    StepUp(StepUp),
}

/// A route's own timeouts; `None` leaves the upstream's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// Until the connection stands.
    pub connect: Option<Duration>,
    /// The longest silence, between two pieces of the answer or while the server takes nothing of the request.
    pub response: Option<Duration>,
    /// From the request's last byte to the last of the answer's head. Left out: as `response`.
    pub first_byte: Option<Duration>,
    /// The whole request, from its header to the end of the answer.
    pub total: Option<Duration>,
    /// How long an unused connection is kept.
    pub idle: Option<Duration>,
}

/// A set of methods. TRACE, TRACK and CONNECT cannot be in it: no route ever takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Methods(u8);

/// Why a text is not a method a route can take.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MethodError {
    /// TRACE, TRACK, CONNECT.
    #[error("{0} is always refused and cannot be exposed")]
    Forbidden(Box<str>),
    /// None of ours.
    #[error("\"{0}\" is not a method: choose from GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS (in capitals)")]
    Unknown(Box<str>),
}

/// Path prefixes and what replaces them; the longest that matches at a segment boundary wins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rewrite(Box<[(Box<str>, Box<str>)]>);

/// Why a rewrite cannot be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RewriteError {
    /// Not a path.
    #[error("\"{path}\" cannot be a path: {reason}")]
    Path {
        /// As it was written.
        path: Box<str>,
        /// What is wrong with it.
        reason: PathError,
    },
    /// Written otherwise than requests are read.
    #[error("paths are read and written in another spelling; write \"{0}\"")]
    Spelling(Box<str>),
    /// Two entries for one prefix.
    #[error("\"{0}\" is rewritten twice")]
    Twice(Box<str>),
}

// === impl Route ===

impl Route {
    /// A route with the safest defaults: any host, every method, a known caller, the tier's limits, nothing rewritten.
    #[must_use]
    pub fn new(name: &str, upstream: &str, paths: Vec<PathPattern>) -> Self {
        Self {
            id: 0,
            name: name.into(),
            hosts: Vec::new(),
            methods: Methods::ALL,
            paths,
            upstream: upstream.into(),
            auth: Auth::Required,
            demand: Demand::default(),
            rewrite: Rewrite::default(),
            limits: Vec::new(),
            tier_limits: true,
            before_second_factor: false,
            in_disabled_tenant: false,
            forward_credential: false,
            inject_credential: None,
            max_body: None,
            timeouts: Timeouts::default(),
            cors: None,
            csrf: Csrf::default(),
            websocket: false,
            websocket_idle: WEBSOCKET_IDLE,
            expiry_grace: EXPIRY_GRACE,
        }
    }

    /// The path that goes to the upstream for a canonical path that matched.
    #[must_use]
    pub fn forward_path<'a>(&self, normalised: &'a str) -> Cow<'a, str> {
        self.rewrite.apply(normalised)
    }
}

impl Demand {
    /// Everything that can be judged by who the caller is, in the order in which it is asked.
    pub fn conditions(&self) -> impl Iterator<Item = Condition<'_>> {
        // Taken apart, so that a new field does not compile until it is asked for.
        let Self { roles, permissions, tiers, features, step_up, owner: _ } = self;
        let role = (!roles.is_empty()).then_some(Condition::Role(roles));
        let tier = (!tiers.is_empty()).then_some(Condition::Tier(tiers));
        let permissions = permissions.iter().map(Condition::Permission);
        let features = features.iter().map(|feature| Condition::Feature(feature));
        // Last: who may not at all is not sent to look for an authenticator.
        let step_up = step_up.map(Condition::StepUp);
        role.into_iter().chain(permissions).chain(tier).chain(features).chain(step_up)
    }

    /// Whether nothing is demanded beyond what `Auth` says.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.owner.is_none() && self.conditions().next().is_none()
    }
}

// === impl Methods ===

const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

impl Methods {
    /// Every method that a route may take.
    pub const ALL: Self = Self(0x7f);
    /// No method.
    pub const NONE: Self = Self(0);
    /// Those that change nothing (RFC 9110 §9.2.1), without TRACE, which is never taken.
    pub const SAFE: Self = Self(0x43);

    /// Reads a list of methods. GET does not include HEAD.
    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, MethodError> {
        names.into_iter().try_fold(Self::NONE, |set, name| match bit(name) {
            0 if matches!(name, "TRACE" | "TRACK" | "CONNECT") => Err(MethodError::Forbidden(name.into())),
            0 => Err(MethodError::Unknown(name.into())),
            bit => Ok(Self(set.0 | bit)),
        })
    }

    /// Whether the method (case matters, RFC 9110 §9.1) is one of them.
    #[must_use]
    pub fn contains(self, method: &str) -> bool {
        self.0 & bit(method) != 0
    }

    /// Whether some method is in both.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// All methods of either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Their names.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        METHODS.into_iter().filter(move |name| self.contains(name))
    }
}

fn bit(method: &str) -> u8 {
    METHODS.iter().position(|known| *known == method).map_or(0, |index| 1 << index)
}

impl fmt::Display for Methods {
    /// As `Allow` lists them: `GET, HEAD`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.names().enumerate() {
            write!(f, "{}{name}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

// === impl Rewrite ===

impl Rewrite {
    /// Reads pairs of prefixes: `("/api/auth", "/auth")`; `"/"` as the second strips, as the first it prepends.
    pub fn parse<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, RewriteError> {
        let read = |(from, to)| Ok((path::plain(parse_prefix(from)?).into(), parse_prefix(to)?.into()));
        let mut pairs = pairs.into_iter().map(read).collect::<Result<Vec<(Box<str>, Box<str>)>, _>>()?;
        pairs.sort_unstable_by(|one, other| other.0.len().cmp(&one.0.len()).then_with(|| one.0.cmp(&other.0)));
        match pairs.windows(2).find(|two| two[0].0 == two[1].0) {
            Some(two) => Err(RewriteError::Twice(two[0].0.clone())),
            None => Ok(Self(pairs.into())),
        }
    }

    fn apply<'a>(&self, path: &'a str) -> Cow<'a, str> {
        let rewritten = self.0.iter().find_map(|(from, to)| Some((to, path::strip_prefix(path, from)?)));
        match rewritten {
            None => Cow::Borrowed(path),
            Some((to, "")) if to.is_empty() => Cow::Borrowed("/"),
            Some((to, rest)) if to.is_empty() => Cow::Borrowed(rest),
            Some((to, rest)) => Cow::Owned(format!("{to}{rest}")),
        }
    }
}

/// A prefix without its trailing slash, so that `/` is the empty prefix.
fn parse_prefix(text: &str) -> Result<&str, RewriteError> {
    let canonical = normalise(text).map_err(|reason| RewriteError::Path { path: text.into(), reason })?;
    if canonical != text {
        return Err(RewriteError::Spelling(canonical.into()));
    }
    Ok(text.strip_suffix('/').unwrap_or(text))
}

#[cfg(test)]
mod tests;
