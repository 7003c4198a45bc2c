//! May you, and how much: everything the door decides, as pure functions of what it is given.
//!
//! A request's path becomes canonical or is refused ([`path`]); its headers lose every name the door sets itself ([`header`]);
//! host, method and path belong to one [`Route`] ([`table`]); [`decide()`] looks at the route's [`Demand`] and the caller's role,
//! tier and scopes and answers with a [`Permit`] or a [`Refusal`]; the permit names the [`Limit`]s that the request spends
//! ([`window`] counts, [`lease`] and [`slots`] share what is counted among nodes). A [`Policy`] is one immutable snapshot of all of
//! this, parsed from the files under `config/` ([`config`]).
//!
//! - what a route says and demands: [`route`], [`pattern`], [`possession`], [`step_up`], [`injection`]; of callers: [`roles`], [`tiers`],
//!   with [`limit`] and [`money`]
//! - of browsers: [`cors`], [`csrf`], [`return_to`]
//! - what a caller is told: [`refusal`], [`problem`], [`ratelimit_fields`]
//! - what operators try a policy by: [`cases`], [`matrix`]; what holds whatever is sent: `properties`, for tests and fuzzing
//!
//! Left to others: reading files, clocks and randomness (arguments here), credentials (`identity`), counters shared between
//! requests and everything that touches a socket (`gateway`).

pub mod cases;
pub mod config;
pub mod cors;
pub mod csrf;
pub mod decide;
#[cfg(test)]
mod dice;
pub mod header;
pub mod injection;
pub mod lease;
pub mod limit;
pub mod matrix;
pub mod money;
pub mod path;
pub mod pattern;
pub mod possession;
pub mod problem;
#[cfg(any(test, feature = "properties"))]
pub mod properties;
pub mod ratelimit_fields;
pub mod refusal;
pub mod return_to;
pub mod roles;
pub mod route;
pub mod slots;
pub mod step_up;
pub mod table;
pub mod tiers;
pub mod window;

pub use cors::Cors;
pub use csrf::{Csrf, Said, Sent};
pub use decide::{Eligible, Permit, Policy, decide, decide_about, eligible};
pub use injection::Injection;
pub use limit::{Kind, Limit, Owner, Per, Quota};
pub use money::{Micros, MoneyError};
pub use path::normalise;
pub use pattern::{HostPattern, PathPattern};
pub use possession::{OwnerDemand, Possession, ResourceKind};
pub use problem::{FieldError, Problem};
pub use refusal::Refusal;
pub use return_to::ReturnTo;
pub use roles::{Permission, Permissions, Roles};
pub use route::{Auth, Condition, Demand, Methods, Rewrite, Route, Timeouts};
pub use step_up::StepUp;
pub use table::{NoMatch, Overlap, RouteTable};
pub use tiers::{Amount, Price, Tier, Tiers};
pub use window::{Spend, Window};
