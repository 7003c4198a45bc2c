//! Which request headers may not come from outside: those the door sets itself, under every name a backend might fold into one.
//!
//! Backends fold: CGI, WSGI and Rack read `X-User-Id` and `X_User_Id` as one variable (CVE-2025-64484), some fold other signs too.
//! So names are compared in folded form, and names that fold at all are dropped unless the operator allows them. Fields that
//! `Connection` nominates and hop-by-hop fields are the proxy's.

use thiserror::Error;

/// What only the door may set, or what would change the meaning of what was decided (client address and certificate, scheme,
/// method, path), in the words of proxies that backends know. A last `-*`
/// reserves the name before it and everything below.
pub(crate) const RESERVED: [&str; 38] = [
    "cf-connecting-ip",
    "client-cert",
    "fastly-client-ip",
    "forwarded",
    "forwarded-for",
    "front-end-https",
    "proxy", // becomes HTTP_PROXY under CGI (httpoxy, CVE-2016-5385)
    "remote-user",
    "ssl-client-*",
    "true-client-ip",
    "x-api-key",
    "x-arr-*",
    "x-auth-*",
    "x-client-cert",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-envoy-*",
    "x-forwarded-*",
    "x-gateway-*",
    "x-host",
    "x-http-method",
    "x-http-method-override",
    "x-key-*",
    "x-method-override",
    "x-original-*",
    "x-proxyuser-ip",
    "x-real-ip",
    "x-remote-*",
    "x-request-id",
    "x-rewrite-*",
    "x-scheme",
    "x-session-*",
    "x-ssl-*",
    "x-tenant-*",
    "x-url-scheme",
    "x-usage-*",
    "x-user-*",
    "x-webauth-*",
];

/// The names that are dropped from what a client sends.
#[derive(Debug, Clone)]
pub struct Reserved {
    names: Box<[Name]>,
    /// A bit for each (ASCII) first byte of a name: most headers begin with none of them.
    initials: u128,
    folding: Folding,
}

#[derive(Debug, Clone)]
struct Name {
    folded: Box<str>,
    is_prefix: bool,
}

/// What becomes of a name that holds anything but letters, digits and `-`, and is not reserved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Folding {
    /// It is dropped.
    #[default]
    Drop,
    /// It passes.
    Allow,
}

/// What becomes of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It passes.
    Keep,
    /// It is removed.
    Drop,
}

/// Why a text cannot reserve a name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "\"{0}\" is not a header name: at most 63 letters, digits and `-`, perhaps ending in `-*`, such as \"x-team-*\""
)]
pub struct ReservedError(Box<str>);

/// The name as the most forgiving backend reads it: lower case, and `-` for every character outside `a-z0-9`.
#[must_use]
pub fn fold(name: &str) -> String {
    name.chars().map(|character| char::from(fold_char(character))).collect()
}

const fn fold_char(character: char) -> u8 {
    match character.to_ascii_lowercase() {
        folded @ ('a'..='z' | '0'..='9') => folded as u8,
        _ => b'-',
    }
}

// === impl Reserved ===

impl Reserved {
    /// What is reserved always, and `more` of the operator's.
    pub fn new<'a>(more: impl IntoIterator<Item = &'a str>, folding: Folding) -> Result<Self, ReservedError> {
        let names = RESERVED.into_iter().chain(more).map(Name::parse).collect::<Result<Box<[Name]>, _>>()?;
        let initials = names.iter().fold(0, |bits, name| bits | 1 << name.folded.as_bytes()[0]);
        Ok(Self { names, initials, folding })
    }

    /// Whether the name, in any case and any alias, is one that only the door may set.
    #[must_use]
    pub fn is_reserved(&self, name: &str) -> bool {
        let Some(initial) = name.chars().next().map(fold_char) else { return false };
        if self.initials >> initial & 1 == 0 {
            return false;
        }
        // Folded once for all of them, and no further than any of them goes.
        let mut folded = [0; Name::LONGEST + 1];
        let folds = folded.iter_mut().zip(name.chars()).map(|(place, character)| *place = fold_char(character));
        let length = folds.count();
        self.names.iter().any(|reserved| reserved.matches(&folded[..length]))
    }

    /// What becomes of a header that a client sent.
    #[must_use]
    pub fn verdict(&self, name: &str) -> Verdict {
        let folds = || name.bytes().any(|byte| !byte.is_ascii_alphanumeric() && byte != b'-');
        if self.is_reserved(name) || (self.folding == Folding::Drop && folds()) { Verdict::Drop } else { Verdict::Keep }
    }
}

impl Name {
    /// Bytes of the longest name that can be reserved.
    const LONGEST: usize = 63;

    fn parse(text: &str) -> Result<Self, ReservedError> {
        let name = text.strip_suffix("-*");
        let (name, is_prefix) = (name.unwrap_or(text), name.is_some());
        let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if name.is_empty() || name.len() > Self::LONGEST || !is_name {
            return Err(ReservedError(text.into()));
        }
        Ok(Self { folded: fold(name).into(), is_prefix })
    }

    fn matches(&self, folded: &[u8]) -> bool {
        folded.strip_prefix(self.folded.as_bytes()).is_some_and(|rest| match rest.first() {
            None => true,
            Some(next) => self.is_prefix && *next == b'-',
        })
    }
}

#[cfg(test)]
mod tests;
