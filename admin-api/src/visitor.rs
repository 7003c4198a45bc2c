//! From where a request comes and in which browser, as far as that can be known.
//!
//! The address is the door's word. The browser is known by a cookie that opens nothing: whoever steals it learns nothing and gets
//! nowhere; it makes a familiar place of a browser in which somebody has logged in (docs/decisions/0008-lockout.md), and
//! binds a link to the browser that asked for it.

use std::{convert::Infallible, net::IpAddr, sync::Arc};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderValue, header, request::Parts},
};
use identity::{CookieNames, DeviceToken, SecretDigest, SessionCookie, network_of};
use store::{Origin, Seen};
use uuid::Uuid;

use crate::{cookie::the_one, mail::Source, office::Office, second_factor::First};

/// The client's address. Set by the door, as the next one is; nobody else can.
pub(crate) const CLIENT: &str = "x-gateway-client";
/// Where that is not known: the address by which the client is counted, that of a trusted proxy which does not say for whom it asks.
const PROXY: &str = "x-gateway-proxy";
/// A year, in seconds; browsers keep none for much longer.
const COOKIE_LIFE: u32 = 365 * 24 * 60 * 60;
/// Characters that are kept of what a client says it is.
const MAX_USER_AGENT: usize = 200;

/// Who visits.
pub(crate) struct Visitor {
    /// Their own, if it is known.
    pub(crate) address: Option<IpAddr>,
    proxy: Option<IpAddr>,
    user_agent: Option<String>,
    device: Option<SecretDigest>,
    is_secure: bool,
    /// The cookie of a session that it has already, where the door lets it through.
    pub(crate) session: Option<SessionCookie>,
}

/// A browser that is known from now on, and the cookie that it is to be given, unless it has one.
pub(crate) struct Device {
    pub(crate) digest: SecretDigest,
    cookie: Option<HeaderValue>,
}

// === impl Visitor ===

impl FromRequestParts<Arc<Office>> for Visitor {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, office: &Arc<Office>) -> Result<Self, Infallible> {
        let address = |name: &str| -> Option<IpAddr> { parts.headers.get(name)?.to_str().ok()?.parse().ok() };
        let is_secure = office.is_secure();
        Ok(Self {
            address: address(CLIENT),
            proxy: address(PROXY),
            user_agent: parts.headers.get(header::USER_AGENT).map(|value| shown(value.as_bytes())),
            device: device(&parts.headers, CookieNames::of(is_secure).device),
            is_secure,
            session: office.cookie_in(&parts.headers),
        })
    }
}

impl Visitor {
    /// By which address they are counted. Where they are it does not say: that is [`Self::address`].
    pub(crate) fn counted(&self) -> Option<IpAddr> {
        self.address.or(self.proxy)
    }

    /// The network, for what is counted by it. A proxy's is no place where a session has begun, and so nobody is at home there.
    pub(crate) fn network(&self) -> Option<String> {
        let proxied = || self.proxy.map(|proxy| format!("by {}", network_of(proxy)));
        self.address.map(network_of).or_else(proxied)
    }

    /// From where a letter is asked for.
    pub(crate) fn source(&self) -> Option<Source> {
        self.network().map(Source::Network)
    }

    /// What the browser is known by, if it is.
    pub(crate) fn device(&self) -> Option<SecretDigest> {
        self.device
    }

    /// What the browser is known by from now on.
    pub(crate) fn known_device(&self) -> Device {
        if let Some(digest) = self.device {
            return Device { digest, cookie: None };
        }
        let token = DeviceToken::generate(Uuid::now_v7(), &mut rand::rng());
        let secure = if self.is_secure { "; Secure" } else { "" };
        let cookie = format!(
            "{}={}; Path=/; Max-Age={COOKIE_LIFE}; HttpOnly; SameSite=Lax{secure}",
            CookieNames::of(self.is_secure).device,
            token.expose()
        );
        Device { digest: token.digest(), cookie: HeaderValue::try_from(cookie).ok() }
    }

    /// Where a session begins, by what (a word that is shown among sessions), and what that is in words of RFC 8176, if it is any.
    pub(crate) fn origin<'a>(&'a self, device: &Device, method: &'static str, amr: Option<&'a str>) -> Origin<'a> {
        Origin {
            actor: None,
            address: self.address,
            device: Some(device.digest),
            user_agent: self.user_agent.as_deref(),
            method: Some(method),
            amr,
            seen: Seen::Now,
        }
    }

    /// The same where one factor is enough.
    pub(crate) fn origin_of(&self, device: &Device, first: First) -> Origin<'_> {
        self.origin(device, first.method(), Some(first.amr()))
    }
}

// === impl Device ===

impl Device {
    /// The header that gives the browser its cookie.
    pub(crate) fn headers(self) -> HeaderMap {
        self.beside(HeaderMap::new())
    }

    /// The same, beside other cookies.
    pub(crate) fn beside(self, mut headers: HeaderMap) -> HeaderMap {
        if let Some(cookie) = self.cookie {
            headers.append(header::SET_COOKIE, cookie);
        }
        headers
    }
}

fn device(headers: &HeaderMap, name: &str) -> Option<SecretDigest> {
    DeviceToken::parse(the_one(headers, name)?).ok().map(|token| token.digest())
}

/// For its owner to read in a list: nothing that could be taken for anything else than text, and not without end.
fn shown(user_agent: &[u8]) -> String {
    let text = String::from_utf8_lossy(user_agent);
    text.chars().filter(|letter| !letter.is_control()).take(MAX_USER_AGENT).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    fn cookies(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (header::COOKIE, HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn a_browser_is_known_by_one_cookie_of_the_right_name() {
        let token = DeviceToken::generate(Uuid::now_v7(), &mut rand::rng());
        let (own, name) = (token.expose(), CookieNames::of(false).device);
        for good in [format!("{name}={own}"), format!("a=b; {name}={own};c=d")] {
            assert_eq!(device(&cookies(&[&good]), name), Some(token.digest()), "{good}");
        }
        let of_others = [&b"n=\xc3\xa9; e=\xff; "[..], name.as_bytes(), b"=", own.as_bytes()].concat();
        let sent: HeaderMap = [(header::COOKIE, HeaderValue::from_bytes(&of_others).unwrap())].into_iter().collect();
        assert_eq!(device(&sent, name), Some(token.digest()), "what others have set is no text");
        for bad in [
            String::new(),
            format!("{name}="),
            format!("{name}={own}x"),
            format!("x{name}={own}"),
            format!("__Host-{name}={own}"),
            format!("{name}={own}; {name}={own}"),
        ] {
            assert_eq!(device(&cookies(&[&bad]), name), None, "{bad}");
        }
        assert_eq!(device(&cookies(&[&format!("{name}={own}"), &format!("{name}=x")]), name), None);
    }

    #[test]
    fn what_a_client_says_it_is_is_short_text() {
        assert_eq!(shown(b"Mozilla/5.0 (X11)\x1b[31m\x00\xff"), "Mozilla/5.0 (X11)[31m\u{fffd}");
        assert_eq!(shown("\u{e4}".repeat(500).as_bytes()).chars().count(), MAX_USER_AGENT);
    }
}
