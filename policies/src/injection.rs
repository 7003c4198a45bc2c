//! A route's `inject_credential`: which key of the caller's its upstream is shown in the place of the caller's credential, and how.
//!
//! Whose key that is, and what is said when there is none, is the gateway's to find out.

use std::sync::Arc;

use identity::{Credential, is_service};
use thiserror::Error;

use crate::header::{Folding, Reserved, fold};

/// What stands for the key in a format.
const KEY: &str = "{key}";
/// What says where a request goes, how long it is, of which trace it is part (W3C Trace Context: anybody's to log), or belongs to one connection
/// (RFC 9110 §7.6.1). A last `-` stands for all that begin so.
const FRAMING: [&str; 15] = [
    "connection",
    "content-",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "proxy-",
    "sec-",
    "set-cookie",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Which key an upstream is shown, and in which header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Injection {
    /// Whose key: the integration's service.
    pub service: Arc<str>,
    /// In lower case.
    header: Box<str>,
    before: Box<str>,
    after: Box<str>,
}

/// Why a route cannot inject a credential so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InjectionError {
    /// No integration can have such a service.
    #[error("a service is 1 to 64 of a-z, 0-9, `_` and `-`, such as \"openai\"")]
    Service,
    /// No header has such a name.
    #[error("a header's name is letters, digits and `-`, such as \"Authorization\" or \"X-Goog-Api-Key\"")]
    Name,
    /// The door sets it, or it means something else.
    #[error("this header says who the caller is or how the request travels, and cannot carry a provider's key")]
    Reserved,
    /// The key has no place in it, or several.
    #[error(
        "write `{{key}}` once where the key belongs, such as \"Bearer {{key}}\"; the rest is visible ASCII that does not end in spaces"
    )]
    Format,
}

// === impl Injection ===

impl Injection {
    /// Reads the three parts of the table.
    pub fn parse(service: &str, header: &str, format: &str) -> Result<Self, InjectionError> {
        if !is_service(service) {
            return Err(InjectionError::Service);
        }
        let header = check_name(header)?;
        let (before, after) = format.split_once(KEY).ok_or(InjectionError::Format)?;
        let is_visible = format.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if after.contains(KEY) || !is_visible || before.starts_with(' ') || after.ends_with(' ') {
            return Err(InjectionError::Format);
        }
        Ok(Self { service: service.into(), header, before: before.into(), after: after.into() })
    }

    /// The header's name, in lower case.
    #[must_use]
    pub fn header(&self) -> &str {
        &self.header
    }

    /// What stands around the key.
    #[must_use]
    pub fn around(&self) -> (&str, &str) {
        (&self.before, &self.after)
    }

    /// Could a backend take a header of this name for ours (`X_Goog_Api_Key`)?
    #[must_use]
    pub fn is_alias(&self, name: &str) -> bool {
        fold(name) == *self.header
    }
}

fn check_name(name: &str) -> Result<Box<str>, InjectionError> {
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(InjectionError::Name);
    }
    let name = name.to_ascii_lowercase();
    let is_framing =
        FRAMING.iter().any(|framing| name == *framing || (framing.ends_with('-') && name.starts_with(framing)));
    // Without names of the operator's, which the gateway knows, nothing can be wrong with it.
    let is_reserved = Reserved::new([], Folding::Drop).is_ok_and(|reserved| reserved.is_reserved(&name));
    // Where the door reads its own credential, providers read theirs too.
    if is_framing || (is_reserved && !Credential::HEADERS.contains(&&*name)) {
        return Err(InjectionError::Reserved);
    }
    Ok(name.into())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn an_injection_is_what_is_written() {
        let read = Injection::parse("openai", "Authorization", "Bearer {key}").unwrap();
        assert_eq!((&*read.service, read.header(), read.around()), ("openai", "authorization", ("Bearer ", "")));
        for header in ["x-api-key", "X-Goog-Api-Key", "api-key", "xi-api-key", "Private-Token"] {
            assert!(Injection::parse("claude", header, "{key}").is_ok(), "{header}");
        }
    }

    #[test]
    fn what_is_the_doors_or_the_connections_is_no_target() {
        for header in [
            "Host",
            "Connection",
            "Keep-Alive",
            "TE",
            "Trailer",
            "Transfer-Encoding",
            "Upgrade",
            "Content-Length",
            "Content-Type",
            "Cookie",
            "Expect",
            "Proxy-Authorization",
            "Sec-WebSocket-Protocol",
            "X-User-Id",
            "x-user-role",
            "X-Tenant-Id",
            "X-Gateway-Assertion",
            "X-Auth-Method",
            "X-Session-Id",
            "X-Key-Id",
            "X-Request-Id",
            "Traceparent",
            "tracestate",
            "X-Forwarded-For",
            "Forwarded",
            "X-Usage-Tokens",
            "X-Real-IP",
        ] {
            assert_eq!(Injection::parse("openai", header, "{key}"), Err(InjectionError::Reserved), "{header}");
        }
        for header in ["", "X_Api_Key", "x y", "x:y", "é"] {
            assert_eq!(Injection::parse("openai", header, "{key}"), Err(InjectionError::Name), "{header}");
        }
    }

    #[test]
    fn a_key_stands_once_in_what_is_sent() {
        for format in ["", "Bearer", "{key}{key}", "Bearer {KEY}", "Bearer {key} ", " {key}", "a\r\n{key}", "ü{key}"] {
            assert_eq!(Injection::parse("openai", "Authorization", format), Err(InjectionError::Format), "{format:?}");
        }
        assert_eq!(Injection::parse("Open AI", "Authorization", "{key}"), Err(InjectionError::Service));
    }

    #[test]
    fn aliases_are_known() {
        let read = Injection::parse("gemini", "X-Goog-Api-Key", "{key}").unwrap();
        for (name, is) in [("x-goog-api-key", true), ("X_Goog.Api_Key", true), ("x-goog-api-keys", false)] {
            assert_eq!(read.is_alias(name), is, "{name}");
        }
    }
}
