//! What one file may name of another: upstreams, roles, tiers, features, permissions.

use std::collections::BTreeSet;
use std::time::Duration;

use super::diagnostic::Placed;
use super::document::Document;
use super::raw::Words;
use crate::cors::CorsError;
use crate::roles::covers;
use crate::{Cors, Methods, Permission, Permissions};

/// The upstream that is always there: our own account service, whose caller is known by the assertion and by nothing else.
pub const ADMIN_API: &str = "admin-api";

/// The pools of servers that routes may send to.
#[derive(Debug, Clone, Default)]
pub struct Upstreams {
    /// All of them.
    pub names: BTreeSet<String>,
    /// Those that speak nothing but HTTP/2, and so take no WebSocket of HTTP/1.1.
    pub without_websocket: BTreeSet<String>,
    /// Those that do not say themselves which identity headers they are sent.
    pub without_headers: BTreeSet<String>,
    /// Those on other machines that are spoken to without TLS.
    pub in_clear: BTreeSet<String>,
    /// Which foreign pages may call routes to one of them that have no `cors` of their own.
    pub foreign_pages: Option<ForeignPages>,
    /// No client certificate is accepted, for want of an authority.
    pub without_client_ca: bool,
}

/// Rules for pages of other origins, never with credentials that browsers send by themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignPages {
    /// To which upstream the routes lead.
    pub upstream: String,
    /// As browsers write them, or `*` alone.
    pub origins: Vec<String>,
    /// What pages may set.
    pub headers: Vec<&'static str>,
}

// === impl ForeignPages ===

impl ForeignPages {
    /// How long browsers may remember the answer, as in a route's own `cors`.
    const MAX_AGE: Duration = Duration::from_mins(10);

    /// The rules of a route that takes these methods.
    pub fn rules(&self, methods: Methods) -> Result<Cors, CorsError> {
        Cors::new(self.origins.iter().map(String::as_str), methods, self.headers.iter().copied(), false, Self::MAX_AGE)
    }
}

/// Every name there is. `None`: the file that says so has errors of its own, and what is missing in it means nothing yet.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) upstreams: Option<Upstreams>,
    pub(super) roles: Option<BTreeSet<String>>,
    /// What roles hold, but for a lone `*`.
    pub(super) permissions: Option<BTreeSet<String>>,
    pub(super) tiers: Option<BTreeSet<String>>,
    pub(super) features: Option<BTreeSet<String>>,
}

/// Notes a word that is not among the known ones.
pub(super) fn check(file: &mut Document<'_>, known: Option<&BTreeSet<String>>, word: &Placed<String>, what: &str) {
    if let Some(known) = known.filter(|known| !known.contains(&**word)) {
        file.note_unknown(word, format!("there is no {what} `{}`", **word), known.iter().map(String::as_str));
    }
}

/// A demanded permission, if it is one; one that no role names is noted.
///
/// `*` does not count: it covers every misspelling too, and the route would be closed to everybody else without a word.
pub(super) fn permission(file: &mut Document<'_>, known: &Known, word: &Placed<String>) -> Option<Permission> {
    let permission = Permission::parse(word).map_err(|error| file.note(word.span(), error.to_string())).ok()?;
    let held = known.permissions.as_ref();
    if let Some(held) = held.filter(|held| !held.iter().any(|held| covers(held, permission.as_str()))) {
        let message = format!("no role in roles.toml names the permission `{permission}` (`*` alone does not count)");
        file.note_unknown(word, message, held.iter().map(String::as_str));
    }
    Some(permission)
}

/// What a role holds or a key is restricted to; each word that is no permission is noted.
pub(super) fn permissions(file: &mut Document<'_>, words: &Words) -> Permissions {
    let mut good = Vec::new();
    for word in words {
        match Permissions::parse([word.as_str()]) {
            Ok(_) => good.push(word.as_str()),
            Err(error) => file.note(word.span(), error.to_string()),
        }
    }
    Permissions::parse(good).unwrap_or_default()
}

/// Notes a name that would not do as a label, in a header field, or in a sentence.
pub(super) fn check_name(file: &mut Document<'_>, name: &Placed<String>) {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    if !(1..=64).contains(&name.len()) || !name.bytes().all(is_letter) {
        file.note(name.span(), format!("`{}` is not a name: 1 to 64 of a-z, 0-9, `-` and `_`", **name));
    }
}
