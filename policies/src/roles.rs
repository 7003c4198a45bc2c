//! What a role may do: role → permissions, with wildcards.
//!
//! Which permissions a route demands is `route`'s; weighing the two is `decide`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use identity::Principal;
use thiserror::Error;

/// One thing that may be done: words of `a-z 0-9 _ -` joined by `:`, such as `agents:publish`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Permission(Box<str>);

/// What a role holds: permissions, `agents:*` (everything below `agents:`) and `*` (everything). Sorted, without repeats.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permissions(Box<[Box<str>]>);

/// Every role and what it holds. An unknown role holds nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roles {
    held: BTreeMap<Box<str>, Permissions>,
    guarded: Guarded,
}

/// Whose holders have to show a second factor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guarded {
    /// Those of these roles.
    These(BTreeSet<Box<str>>),
    /// Every person's, whatever the role.
    Every,
}

/// The role that administers the platform, whatever it holds by `roles.toml`.
pub const ADMIN: &str = "admin";
/// What service accounts alone may: what is counted and billed comes from machines.
const OF_SERVICES: [&str; 2] = ["usage:report", "quota:reserve"];

/// Why a text is not a permission.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PermissionError {
    /// A wildcard where one permission must be named.
    #[error("\"{0}\": a demand names one permission; wildcards belong into roles.toml")]
    Wildcard(Box<str>),
    /// A `*` that is not the whole text or the whole last word.
    #[error("\"{0}\": `*` stands alone (\"*\") or for everything below a word (\"agents:*\")")]
    MisplacedWildcard(Box<str>),
    /// Anything else.
    #[error("\"{0}\" is not a permission: words of a-z, 0-9, `_` and `-`, joined by `:`, such as \"agents:publish\"")]
    Malformed(Box<str>),
}

// === impl Permission ===

impl Permission {
    /// Reads one permission, without wildcards.
    pub fn parse(text: &str) -> Result<Self, PermissionError> {
        if text.contains('*') {
            return Err(PermissionError::Wildcard(text.into()));
        }
        check_words(text, text).map(|()| Self(text.into()))
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn check_words(words: &str, whole: &str) -> Result<(), PermissionError> {
    let is_word_byte = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-';
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(is_word_byte);
    if words.split(':').all(is_word) { Ok(()) } else { Err(PermissionError::Malformed(whole.into())) }
}

/// Whether `pattern` (`*`, `agents:*`, `agents:publish`) covers `permission`, which may be a pattern itself: `*` covers
/// `agents:*`, which covers `agents:publish`; nothing else but itself covers a thing.
#[must_use]
pub fn covers(pattern: &str, permission: &str) -> bool {
    pattern == "*"
        || pattern == permission
        || pattern.strip_suffix('*').is_some_and(|below| below.ends_with(':') && permission.starts_with(below))
}

// === impl Permissions ===

impl Permissions {
    /// Reads a role's list, wildcards allowed.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, PermissionError> {
        let mut held = texts.into_iter().map(parse_pattern).collect::<Result<Vec<_>, _>>()?;
        held.sort_unstable();
        held.dedup();
        Ok(Self(held.into()))
    }

    /// Whether one of them covers `permission`.
    #[must_use]
    pub fn cover(&self, permission: &Permission) -> bool {
        self.iter().any(|held| covers(held, permission.as_str()))
    }

    /// As written, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }
}

fn parse_pattern(text: &str) -> Result<Box<str>, PermissionError> {
    let words = text.strip_suffix(":*").unwrap_or(text);
    if text != "*" {
        if words.contains('*') {
            return Err(PermissionError::MisplacedWildcard(text.into()));
        }
        check_words(words, text)?;
    }
    Ok(text.into())
}

// === impl Roles ===

impl Roles {
    /// Names that come twice keep the last.
    #[must_use]
    pub fn new(roles: impl IntoIterator<Item = (Box<str>, Permissions)>) -> Self {
        Self { held: roles.into_iter().collect(), guarded: Guarded::default() }
    }

    /// The same roles, where a person needs a second factor to act in one of `guarded`.
    #[must_use]
    pub fn guarded(self, guarded: Guarded) -> Self {
        Self { guarded, ..self }
    }

    /// Has a person to show a second factor to act in this role?
    #[must_use]
    pub fn is_guarded(&self, role: &str) -> bool {
        match &self.guarded {
            Guarded::These(roles) => roles.contains(role),
            Guarded::Every => true,
        }
    }

    /// What the role holds; `None` when there is no such role.
    #[must_use]
    pub fn get(&self, role: &str) -> Option<&Permissions> {
        self.held.get(role)
    }

    /// Whether the role exists.
    #[must_use]
    pub fn contains(&self, role: &str) -> bool {
        self.held.contains_key(role)
    }

    /// Every role's name, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.held.keys().map(AsRef::as_ref)
    }

    /// Is the role one that only service accounts have? It names what nobody else may.
    #[must_use]
    pub fn is_of_services(&self, role: &str) -> bool {
        self.get(role).is_some_and(|held| {
            held.iter().any(|held| OF_SERVICES.contains(&held)) && !held.iter().any(|held| held == "*")
        })
    }

    /// May whoever has the role manage the accounts of others?
    #[must_use]
    pub fn administers(&self, role: &str) -> bool {
        self.get(role).is_some_and(|held| held.iter().any(|held| covers(held, "users:manage")))
    }

    /// Whether the role holds the permission. An unknown role holds none.
    #[must_use]
    pub fn granted(&self, role: &str, permission: &Permission) -> bool {
        self.get(role).is_some_and(|held| held.cover(permission))
    }

    /// Whether the caller holds the permission: by its role and, when its credential has scopes, by them too.
    #[must_use]
    pub fn holds(&self, caller: &Principal, permission: &Permission) -> bool {
        self.granted(&caller.role, permission) && in_scope(caller, permission.as_str())
    }

    /// What the caller holds, as patterns: its role's permissions, narrowed to its scopes. For `X-User-Permissions`.
    #[must_use]
    pub fn held_by<'a>(&'a self, caller: &'a Principal) -> Vec<&'a str> {
        let Some(held) = self.get(&caller.role) else { return Vec::new() };
        let Some(scopes) = caller.scopes.as_deref() else { return held.iter().collect() };
        // Of two patterns that meet, one covers the other; the narrower is what both allow.
        let narrowed = held.iter().flat_map(|held| {
            scopes.iter().map(AsRef::as_ref).filter_map(move |scope: &str| {
                match (covers(scope, held), covers(held, scope)) {
                    (true, _) => Some(held),
                    (false, true) => Some(scope),
                    (false, false) => None,
                }
            })
        });
        let mut narrowed: Vec<_> = narrowed.collect();
        narrowed.sort_unstable();
        narrowed.dedup();
        narrowed
    }
}

// === impl Guarded ===

impl Default for Guarded {
    fn default() -> Self {
        Self::These(BTreeSet::new())
    }
}

/// Whether the caller's credential reaches as far as `permission`; one without scopes reaches everywhere.
pub(crate) fn in_scope(caller: &Principal, permission: &str) -> bool {
    caller.scopes.as_deref().is_none_or(|scopes| scopes.iter().any(|scope| covers(scope, permission)))
}

#[cfg(test)]
mod tests;
