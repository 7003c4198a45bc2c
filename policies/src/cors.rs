//! Which foreign pages may call a route: the preflight's answer and the fields of the actual response (WHATWG Fetch §3.2).
//!
//! Pure: what came in as text, what goes out as fields. The gateway removes the upstream's own `Access-Control-*` fields first.

use std::time::Duration;

use thiserror::Error;

use crate::refusal::CorsPart;
use crate::{Methods, Refusal};

/// A route's rules for cross-origin requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    origins: Origins,
    methods: Methods,
    headers: Box<[Box<str>]>,
    allows_credentials: bool,
    // Written once, so that answering allocates nothing.
    allow_methods: Box<str>,
    allow_headers: Box<str>,
    max_age: Box<str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Origins {
    Any,
    Listed(Box<[Box<str>]>),
}

/// A header field: name in lower case, value.
pub type Field<'a> = (&'static str, &'a str);

/// Why rules cannot be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CorsError {
    /// Every page of the web could act as the user whose browser shows it.
    #[error("`*` cannot be combined with credentials; list the origins")]
    AnyWithCredentials,
    /// Not an origin.
    #[error(
        "\"{0}\" is not an origin: write scheme, host and perhaps port in lower case, such as \"https://app.example.com\""
    )]
    Origin(Box<str>),
    /// Not a header name.
    #[error("\"{0}\" is not a header name")]
    Header(Box<str>),
    /// No origin at all.
    #[error("without origins nothing is allowed; leave the cors table out instead")]
    NoOrigin,
}

/// What scripts may read of our own fields: where a list goes on, what a file is called, and the limits.
const EXPOSED: &str = "content-disposition, link, ratelimit, ratelimit-policy, retry-after, x-ratelimit-limit, \
                       x-ratelimit-remaining, x-ratelimit-reset, x-request-id";

// === impl Cors ===

impl Cors {
    /// `origins` are exact (`https://app.example.com`) or `*` alone; `headers` are those a page may set beyond the safe ones.
    pub fn new<'a>(
        origins: impl IntoIterator<Item = &'a str>,
        methods: Methods,
        headers: impl IntoIterator<Item = &'a str>,
        allows_credentials: bool,
        max_age: Duration,
    ) -> Result<Self, CorsError> {
        let origins = Origins::parse(origins.into_iter().collect())?;
        if allows_credentials && origins == Origins::Any {
            return Err(CorsError::AnyWithCredentials);
        }
        let headers = headers.into_iter().map(parse_header).collect::<Result<Box<[_]>, _>>()?;
        let (allow_methods, allow_headers) = (methods.to_string().into(), headers.join(", ").into());
        let max_age = max_age.as_secs().to_string().into();
        Ok(Self { origins, methods, headers, allows_credentials, allow_methods, allow_headers, max_age })
    }

    /// The answer to `OPTIONS` with `Origin` and `Access-Control-Request-Method`; `headers` is the value of
    /// `Access-Control-Request-Headers`. What is refused is answered without any of these fields.
    pub fn preflight<'a>(
        &'a self,
        origin: &'a str,
        method: &str,
        headers: Option<&str>,
    ) -> Result<impl Iterator<Item = Field<'a>>, Refusal> {
        let allowed = self.allow(origin).ok_or(Refusal::CorsRefused(CorsPart::Origin))?;
        if !self.methods.contains(method) {
            return Err(Refusal::CorsRefused(CorsPart::Method));
        }
        if !headers.is_none_or(|list| list.split(',').all(|name| self.allows_header(name.trim()))) {
            return Err(Refusal::CorsRefused(CorsPart::Header));
        }
        let fields = [
            Some(("access-control-allow-origin", allowed)),
            Some(("access-control-allow-methods", &*self.allow_methods)),
            (!self.headers.is_empty()).then_some(("access-control-allow-headers", &*self.allow_headers)),
            self.credentials_field(),
            Some(("access-control-max-age", &*self.max_age)),
            Some(("vary", "origin, access-control-request-method, access-control-request-headers")),
        ];
        Ok(fields.into_iter().flatten())
    }

    /// The fields of the actual response. A page of another origin gets the response without them and cannot read it.
    pub fn response_fields<'a>(&'a self, origin: Option<&'a str>) -> impl Iterator<Item = Field<'a>> {
        // What is for everybody is said to everybody: a cache may hand an answer that was asked for without an origin to a
        // page that asks later (Fetch §3.2.5).
        let allowed = match &self.origins {
            Origins::Any => Some("*"),
            Origins::Listed(_) => origin.and_then(|origin| self.allow(origin)),
        };
        let fields = [
            allowed.map(|allowed| ("access-control-allow-origin", allowed)),
            allowed.and_then(|_| self.credentials_field()),
            allowed.map(|_| ("access-control-expose-headers", EXPOSED)),
            // Also when refused: a cache must not hand one origin's answer to another.
            (self.origins != Origins::Any).then_some(("vary", "origin")),
        ];
        fields.into_iter().flatten()
    }

    /// May pages of this origin act as whoever uses the browser that shows them?
    #[must_use]
    pub fn trusts(&self, origin: &[u8]) -> bool {
        let Origins::Listed(listed) = &self.origins else { return false };
        self.allows_credentials && listed.iter().any(|known| known.as_bytes() == origin)
    }

    fn allow<'a>(&'a self, origin: &'a str) -> Option<&'a str> {
        match &self.origins {
            Origins::Any => Some("*"),
            Origins::Listed(listed) => listed.iter().find(|known| ***known == *origin).map(AsRef::as_ref),
        }
    }

    fn allows_header(&self, name: &str) -> bool {
        name.is_empty() || self.headers.iter().any(|known| known.eq_ignore_ascii_case(name))
    }

    fn credentials_field(&self) -> Option<Field<'static>> {
        self.allows_credentials.then_some(("access-control-allow-credentials", "true"))
    }
}

impl Origins {
    fn parse(texts: Vec<&str>) -> Result<Self, CorsError> {
        match texts[..] {
            [] => Err(CorsError::NoOrigin),
            ["*"] => Ok(Self::Any),
            _ => texts.into_iter().map(parse_origin).collect::<Result<_, _>>().map(Self::Listed),
        }
    }
}

/// As browsers serialise an origin (RFC 6454 §6.2). `null` is what every sandboxed page is called, so it names nobody.
fn parse_origin(text: &str) -> Result<Box<str>, CorsError> {
    let is_scheme_byte = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte);
    let is_host_byte = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._:[]".contains(&byte);
    let is_origin = text.split_once("://").is_some_and(|(scheme, host)| {
        let is_scheme = !scheme.is_empty() && scheme.bytes().all(is_scheme_byte);
        is_scheme && !host.is_empty() && host.bytes().all(is_host_byte)
    });
    if is_origin { Ok(text.into()) } else { Err(CorsError::Origin(text.into())) }
}

fn parse_header(text: &str) -> Result<Box<str>, CorsError> {
    let is_token = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if is_token { Ok(text.to_ascii_lowercase().into()) } else { Err(CorsError::Header(text.into())) }
}

#[cfg(test)]
mod tests;
