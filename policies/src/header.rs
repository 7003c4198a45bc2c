//! Which request headers may not come from outside: those the door sets itself, under every name a backend might fold into one.
//!
//! Backends fold: CGI, WSGI and Rack read `X-User-Id` and `X_User_Id` as one variable (CVE-2025-64484), some fold other signs too.
//! So names are compared in folded form, and names that fold at all are dropped unless the operator allows them. Fields that
//! `Connection` nominates and hop-by-hop fields are the proxy's.

use thiserror::Error;

/// What only the door may set, or what would change the meaning of what was decided (who is calling, client address and certificate,
/// scheme, host, method, path, or the file that is sent), in the words of proxies and frameworks that backends know; and what belongs to
/// one connection, and passes Pingora from HTTP/2 to HTTP/2. A last `-*` reserves the name before it and everything below.
///
/// What honest clients send by themselves is not reserved, whoever else may set it (`docs/limits.md`): `X-Hasura-Role`, `X-Trino-User`, `X-Token`.
pub(crate) const RESERVED: [&str; 89] = [
    "auth-user",
    "cf-access-*",
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "client-cert-*", // RFC 9440
    "client-ip",
    "cluster-client-ip",
    "fastly-client-ip",
    "forwarded",
    "forwarded-for",
    "front-end-https",
    "http2-settings",
    "impersonate-*", // Kubernetes
    "kubeflow-userid",
    "oidc-*",
    "path-info", // gunicorn takes it and `script-name` from proxies that it trusts
    "proxy",     // becomes HTTP_PROXY under CGI (httpoxy, CVE-2016-5385)
    "proxy-authorization",
    "proxy-client-ip",
    "remote-*",
    "script-name",
    "ssl-client-*",
    "tailscale-*",
    "teleport-jwt-assertion",
    "trailer",
    "true-client-ip",
    "wl-proxy-*",
    "x-accel-*", // with `x-sendfile-*` it tells Rack which file to send (CVE-2025-61780)
    "x-amzn-mtls-*",
    "x-amzn-oidc-*",
    "x-anonymous-consumer",
    "x-api-key",
    "x-apigateway-api-userinfo",
    "x-appengine-*",
    "x-arr-*",
    "x-auth-*",
    "x-authenticated-*",
    "x-authentik-*",
    "x-azure-clientip",
    "x-azure-socketip",
    "x-client-cert-*",
    "x-client-dn",
    "x-client-ip",
    "x-client-verify",
    "x-cluster-client-ip",
    "x-consumer-*",
    "x-credential-*",
    "x-custom-ip-authorization",
    "x-endpoint-api-userinfo",
    "x-envoy-*",
    "x-forward-for",
    "x-forwarded-*",
    "x-gateway-*",
    "x-goog-authenticated-user-*",
    "x-goog-iap-jwt-assertion",
    "x-host",
    "x-http-host-override",
    "x-http-method",
    "x-http-method-override",
    "x-jwt-assertion",
    "x-key-*",
    "x-method-override",
    "x-middleware-subrequest-*", // Next.js leaves its own checks out (CVE-2025-29927)
    "x-ms-client-principal-*",
    "x-ms-token-*",
    "x-original-*",
    "x-originating-ip",
    "x-override-url",
    "x-pomerium-*",
    "x-proxyuser-ip",
    "x-real-ip",
    "x-remote-*",
    "x-request-id",
    "x-rewrite-*",
    "x-scheme",
    "x-scope-orgid", // the tenant, of Loki and Mimir, which know no callers
    "x-script-name",
    "x-sendfile-*",
    "x-session-*",
    "x-ssl-*",
    "x-tenant-*",
    "x-token-subject",
    "x-token-user-*",
    "x-url-scheme",
    "x-usage-*",
    "x-user-*",
    "x-userinfo",
    "x-vouch-*",
    "x-webauth-*",
];

/// The names that are dropped from what a client sends.
#[derive(Debug, Clone)]
pub struct Reserved {
    /// By their [`place`]s.
    names: Box<[Name]>,
    /// Where the names of each place begin, and the last ones end: most headers share theirs with none of ours, the others with few.
    begins: Box<[usize]>,
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
        let mut by_place = vec![Vec::new(); LETTERS * LETTERS];
        for name in RESERVED.into_iter().chain(more) {
            let name = Name::parse(name)?;
            name.places().into_iter().for_each(|place| by_place[place].push(name.clone()));
        }
        let ends = by_place.iter().scan(0, |end, names| {
            *end += names.len();
            Some(*end)
        });
        let begins = std::iter::once(0).chain(ends).collect();
        Ok(Self { begins, names: by_place.into_iter().flatten().collect(), folding })
    }

    /// Those that begin as a name does.
    fn beginning(&self, first: Option<u8>, third: Option<u8>) -> &[Name] {
        let place = place(first, third);
        &self.names[self.begins[place]..self.begins[place + 1]]
    }

    /// Whether the name, in any case and any alias, is one that only the door may set.
    #[must_use]
    pub fn is_reserved(&self, name: &str) -> bool {
        let mut letters = name.chars().map(fold_char);
        let alike = self.beginning(letters.next(), letters.nth(1));
        if alike.is_empty() {
            return false;
        }
        // Folded once for all of them, and no further than any of them goes.
        let mut folded = [0; Name::LONGEST + 1];
        let folds = folded.iter_mut().zip(name.chars()).map(|(place, character)| *place = fold_char(character));
        let length = folds.count();
        alike.iter().any(|reserved| reserved.matches(&folded[..length]))
    }

    /// What becomes of a header that a client sent.
    #[must_use]
    pub fn verdict(&self, name: &str) -> Verdict {
        let folds = || name.bytes().any(|byte| !byte.is_ascii_alphanumeric() && byte != b'-');
        let is_dropped = || folds() && (self.folding == Folding::Drop || frames_a_body(name));
        if self.is_reserved(name) || is_dropped() { Verdict::Drop } else { Verdict::Keep }
    }
}

/// Would a backend that folds it take it for the length of a body? In HTTP/1 the reader refuses such a name.
fn frames_a_body(name: &str) -> bool {
    ["content-length", "transfer-encoding"].iter().any(|framing| name.chars().map(fold_char).eq(framing.bytes()))
}

/// Letters, digits, `-`, and none.
const LETTERS: usize = 38;

/// By the first and the third of the letters of a folded name: by these names differ most, since many begin with `x-`.
fn place(first: Option<u8>, third: Option<u8>) -> usize {
    letter(first) * LETTERS + letter(third)
}

fn letter(folded: Option<u8>) -> usize {
    match folded {
        None => 0,
        Some(letter @ b'a'..=b'z') => usize::from(letter - b'a') + 1,
        Some(digit @ b'0'..=b'9') => usize::from(digit - b'0') + 27,
        Some(_) => 37,
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

    /// Those of all names that are this one or below it.
    fn places(&self) -> Vec<usize> {
        let folded = self.folded.as_bytes();
        let first = folded.first().copied();
        match folded {
            [_] if self.is_prefix => (0..LETTERS).map(|third| letter(first) * LETTERS + third).collect(),
            [_, _] if self.is_prefix => vec![place(first, None), place(first, Some(b'-'))],
            _ => vec![place(first, folded.get(2).copied())],
        }
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
