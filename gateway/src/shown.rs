//! Which credential a request shows, of all places where there may be one.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use identity::{CookieNames, Credential, CredentialError};
use policies::Refusal;

use crate::cookies;

/// What the caller shows.
pub(crate) fn shown(headers: &HeaderMap, names: CookieNames) -> Result<Option<Credential<'_>>, Refusal> {
    let values = |name: HeaderName| headers.get_all(name).iter().map(HeaderValue::as_bytes);
    Credential::read(
        values(header::AUTHORIZATION),
        values(HeaderName::from_static("x-api-key")),
        values(header::SEC_WEBSOCKET_PROTOCOL),
        cookies::shown(headers, names),
    )
    .map_err(|error| match error {
        CredentialError::Ambiguous => Refusal::AmbiguousCredentials,
        CredentialError::Unsupported => Refusal::UnsupportedCredential,
        CredentialError::Malformed => Refusal::InvalidToken,
    })
}
