//! Dev headers: `X-User-Email` and `X-User-Name` say who is calling, for whoever develops on this machine and switched them on.
//!
//! The start has been refused if any listener can be reached from elsewhere. What reaches this machine through something else,
//! a proxy or a page in the developer's browser, is not believed either; the headers are then stripped as ever.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use identity::Credential;
use policies::Refusal;

use crate::{config::issuers::is_this_machine, inbound::Inbound};

const X_USER_EMAIL: HeaderName = HeaderName::from_static("x-user-email");
const X_USER_NAME: HeaderName = HeaderName::from_static("x-user-name");
/// What proxies add: then the request may come from anywhere.
const PASSED_ON: [HeaderName; 3] = [header::VIA, header::FORWARDED, HeaderName::from_static("x-forwarded-for")];

/// The one credential: what is shown, or the person who is named.
pub(crate) fn named<'a>(
    headers: &'a HeaderMap,
    inbound: &Inbound,
    shown: Option<Credential<'a>>,
) -> Result<Option<Credential<'a>>, Refusal> {
    // A page of a foreign site may reach a loopback address by a name of its own (DNS rebinding): what it calls us gives it away.
    let is_ours = is_this_machine(&inbound.host) && inbound.peer.is_loopback() && !inbound.via_trusted_proxy;
    if !is_ours || PASSED_ON.iter().any(|name| headers.contains_key(name)) {
        return Ok(shown);
    }
    let mut emails = headers.get_all(X_USER_EMAIL).iter();
    let Some(email) = emails.next() else { return Ok(shown) };
    if shown.is_some() || emails.next().is_some() {
        return Err(Refusal::AmbiguousCredentials);
    }
    let text = |value: &'a HeaderValue| std::str::from_utf8(value.as_bytes()).map_err(|_| Refusal::InvalidToken);
    let name = headers.get(X_USER_NAME).map(text).transpose()?;
    Ok(Some(Credential::Developer { email: text(email)?, name }))
}
