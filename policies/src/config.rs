//! `routes.toml`, `roles.toml`, `tiers.toml` and `cases.toml`, parsed into a [`Policy`] that cannot be wrong.
//!
//! ```text
//! text → Document (sections, places) → raw (what is written) → routes, roles, tiers, expectations (what is meant) → Policy
//! ```
//!
//! Every error is collected, each with its place. The gateway reads `gateway.toml` with the same [`Document`], [`Value`] and
//! [`FileSchema`]. Finding and opening files is the gateway's.

mod amount;
mod cors;
mod diagnostic;
mod document;
mod expectations;
mod injection;
mod known;
mod limits;
mod overlaps;
mod owners;
mod raw;
mod recover;
mod rewrites;
mod roles;
mod routes;
mod schema;
mod tiers;
mod value;

pub use diagnostic::{Diagnostic, Placed, nearest};
pub use document::{Document, Element, Entry};
pub use schema::FileSchema;
pub use value::{DurationError, DurationText, Names, Secret, Surroundings, Value, ValueError};

use crate::Policy;
use crate::cases::Case;
use known::Known;
pub use known::{ADMIN_API, ForeignPages, Upstreams};

/// One file.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// As diagnostics call it, such as `routes.toml`.
    pub name: &'a str,
    /// What it holds, or why it cannot be read.
    pub text: Result<&'a str, &'a str>,
}

/// The four files of a policy.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// `routes.toml`
    pub routes: Source<'a>,
    /// `roles.toml`
    pub roles: Source<'a>,
    /// `tiers.toml`
    pub tiers: Source<'a>,
    /// `cases.toml`
    pub cases: Source<'a>,
}

/// What the four files say.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What decides.
    pub policy: Policy,
    /// What is expected of it; nothing has been tried yet.
    pub cases: Vec<Case>,
}

impl<'a> Source<'a> {
    /// A file that cannot be read says that and nothing else.
    #[must_use]
    pub fn parse(self) -> Document<'a> {
        self.text.map_or_else(|why| Document::unread(self.name, why), |text| Document::parse(self.name, text))
    }
}

/// Reads the files, or finds everything that is wrong with them, file by file and in the order of the places.
///
/// `upstreams` are the names that routes may send to; `None` when they cannot be known because `gateway.toml` itself is
/// wrong, and nothing is to be said about them.
pub fn load(sources: &Sources<'_>, upstreams: Option<&Upstreams>) -> Result<Loaded, Vec<Diagnostic>> {
    let (mut routes, mut roles) = (sources.routes.parse(), sources.roles.parse());
    let (mut tiers, mut cases) = (sources.tiers.parse(), sources.cases.parse());
    let mut known = Known { upstreams: upstreams.cloned(), ..Known::default() };
    let policy = Policy {
        roles: roles::build(&mut roles, &mut known),
        tiers: tiers::build(&mut tiers, &mut known),
        routes: routes::build(&mut routes, &known),
    };
    let names = policy.routes.routes().iter().map(|route| route.name.to_string()).collect();
    let expected = expectations::build(&mut cases, &known, routes.is_faultless().then_some(&names));
    let wrong = [routes, roles, tiers, cases].map(Document::finish).concat();
    if wrong.is_empty() { Ok(Loaded { policy, cases: expected }) } else { Err(wrong) }
}

/// The JSON Schema of each file, by the file's name without `.toml`.
#[must_use]
pub fn schemas() -> [(&'static str, serde_json::Value); 4] {
    [
        ("routes", FileSchema::new("Portcullis: what is exposed").elements::<raw::RawRoute>("route").finish()),
        ("roles", FileSchema::new("Portcullis: what roles may do").entries::<raw::RawRole>("role").finish()),
        ("tiers", FileSchema::new("Portcullis: what tiers include").entries::<raw::RawTier>("tier").finish()),
        ("cases", FileSchema::new("Portcullis: what is expected").elements::<raw::RawCase>("case").finish()),
    ]
}

#[cfg(test)]
mod tests;
