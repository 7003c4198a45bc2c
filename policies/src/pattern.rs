//! The patterns that routes are written in: paths and hosts.
//!
//! A pattern is parsed here; which of several wins is `table`'s.

use std::{collections::HashSet, fmt};

use thiserror::Error;

use crate::path::{self, PathError, normalise};

/// A path pattern: literal segments, `{name}` for any one segment, and a last `*` for the path before it and everything below.
///
/// `/users/{id}` matches `/users/7` and `/users/7/`; `/x/*` matches `/x`, `/x/`, `/x/y` and `/x/y/z`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    text: Box<str>,
    pub(crate) segments: Box<[Segment]>,
    pub(crate) is_open: bool,
}

/// One segment of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Segment {
    /// This text, in plain bytes (see `path::PlainBytes`).
    Literal(Box<str>),
    /// Any one segment.
    Any,
}

/// A host pattern: a name, an address, or `*.suffix` for every name below the suffix (not the suffix itself).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPattern(pub(crate) Host);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    /// In lower case, without port and trailing dot.
    Exact(Box<str>),
    /// In lower case, with its leading dot.
    Below(Box<str>),
}

/// Why a text is not a path pattern.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PathPatternError {
    /// A `*` elsewhere than as the last segment.
    #[error("`*` stands alone as the last segment, such as \"/files/*\"; for one segment write \"{{name}}\"")]
    Wildcard,
    /// A `{` or `}` that is not `{name}` as a whole segment.
    #[error("a parameter is a whole segment of letters, digits and `_` in braces, such as \"/users/{{id}}\"")]
    Parameter,
    /// Two parameters of one name: who asks for what it holds would be told one of them.
    #[error("the parameter {{{0}}} stands there twice; give each a name of its own")]
    Twice(Box<str>),
    /// No request's path can look like this.
    #[error("no request can match it: {0}")]
    Path(#[from] PathError),
    /// Written otherwise than requests are read.
    #[error("requests are read in another spelling; write \"{0}\"")]
    Spelling(Box<str>),
}

/// Why a text is not a host pattern.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HostPatternError {
    /// A scheme, port, path or trailing dot.
    #[error("\"{0}\": write the name alone, without scheme, port, path or trailing dot")]
    NotAlone(Box<str>),
    /// `*` alone.
    #[error("leave `hosts` out to accept every host")]
    AnyHost,
    /// A `*` elsewhere than in a leading `*.`.
    #[error("\"{0}\": `*` stands only at the beginning, as in \"*.example.com\"")]
    Wildcard(Box<str>),
    /// Not a name of letters, digits and hyphens.
    #[error("\"{0}\" is not a host name; write other scripts in punycode (\"xn--…\")")]
    Name(Box<str>),
}

// === impl PathPattern ===

impl PathPattern {
    /// Which segment a parameter is, from 0.
    #[must_use]
    pub fn place_of(&self, parameter: &str) -> Option<usize> {
        self.text.split('/').skip(1).position(|segment| self::parameter(segment) == Some(parameter))
    }

    /// Reads a pattern. A trailing slash means nothing, as in matching.
    pub fn parse(text: &str) -> Result<Self, PathPatternError> {
        let (body, is_open) = match text.strip_suffix("/*") {
            Some(body) => (body, true),
            None => (text.strip_suffix('/').unwrap_or(text), false),
        };
        // What is left of `/` and `/*`.
        let segments = match body {
            "" if !text.is_empty() => Box::default(),
            _ => parse_segments(body)?,
        };
        Ok(Self { text: text.into(), segments, is_open })
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn parse_segments(body: &str) -> Result<Box<[Segment]>, PathPatternError> {
    // Parameters aside, a pattern is a path and obeys the same rules: `/a/../b` or `/a//b` would never match.
    let literal = body.split('/').map(|segment| parameter(segment).map_or(segment, |_| "x")).collect::<Vec<_>>();
    let literal = literal.join("/");
    if literal.contains('*') {
        return Err(PathPatternError::Wildcard);
    }
    if literal.contains(['{', '}']) {
        return Err(PathPatternError::Parameter);
    }
    let canonical = normalise(&literal)?;
    if canonical.ends_with('/') {
        return Err(PathError::EmptySegment.into());
    }
    if canonical != literal {
        return Err(PathPatternError::Spelling(canonical.into()));
    }
    let mut named = HashSet::new();
    if let Some(again) = body.split('/').find_map(|segment| parameter(segment).filter(|name| !named.insert(*name))) {
        return Err(PathPatternError::Twice(again.into()));
    }
    Ok(body[1..].split('/').map(Segment::of).collect())
}

/// The name of the parameter that a segment is.
fn parameter(segment: &str) -> Option<&str> {
    let name = segment.strip_prefix('{')?.strip_suffix('}')?;
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_name.then_some(name)
}

impl Segment {
    fn of(text: &str) -> Self {
        if parameter(text).is_some() { Self::Any } else { Self::Literal(path::plain(text).into()) }
    }
}

// === impl HostPattern ===

impl HostPattern {
    /// Reads a pattern; case does not matter.
    pub fn parse(text: &str) -> Result<Self, HostPatternError> {
        let name = text.strip_prefix("*.").unwrap_or(text);
        if text == "*" {
            return Err(HostPatternError::AnyHost);
        }
        if name.contains('*') {
            return Err(HostPatternError::Wildcard(text.into()));
        }
        let lower = name.to_ascii_lowercase();
        let is_address = name.len() == text.len() && is_bracketed_ipv6(&lower);
        if !is_address && (lower.contains([':', '/']) || lower.ends_with('.')) {
            return Err(HostPatternError::NotAlone(text.into()));
        }
        if !is_address && !lower.split('.').all(is_label) {
            return Err(HostPatternError::Name(text.into()));
        }
        let is_below = name.len() < text.len();
        Ok(Self(if is_below { Host::Below(format!(".{lower}").into()) } else { Host::Exact(lower.into()) }))
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Host::Exact(name) => f.write_str(name),
            Host::Below(suffix) => write!(f, "*{suffix}"),
        }
    }
}

fn is_bracketed_ipv6(text: &str) -> bool {
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inner.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok())
}

/// Letters, digits and hyphens (RFC 1123), and `_`, which names inside clusters use.
fn is_label(label: &str) -> bool {
    let is_label_byte = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=63).contains(&label.len())
        && label.bytes().all(is_label_byte)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// A request's host without its port and one trailing dot, which name the same server.
pub(crate) fn bare_host(host: &str) -> &str {
    let end = match host.strip_prefix('[') {
        Some(inside) => inside.find(']').map_or(host.len(), |at| at + 2),
        None => host.find(':').unwrap_or(host.len()),
    };
    let name = &host[..end];
    name.strip_suffix('.').unwrap_or(name)
}

#[cfg(test)]
mod tests;
