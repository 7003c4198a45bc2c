//! The session cookie of a browser: its name, its value, and the token by which a page shows that it was made here.
//!
//! ```text
//! Cookie: __Host-portcullis=pcs_…; theme=dark
//! ```
//!
//! A browser sends the cookie with whatever page makes it send a request. So beside it an unsafe request shows a token that only
//! pages of this very host can know: an HMAC keyed by the cookie's own value. It needs no key of ours, changes with every
//! cookie, and whoever reads it cannot get back to the cookie.

use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

use crate::{
    SessionId,
    opaque::{Kind, Opaque},
};

/// Session cookies: `pcs_…`.
pub enum CookieKind {}

/// The value of a session cookie.
pub type SessionCookie = Opaque<CookieKind>;

impl Kind for CookieKind {
    const PREFIX: &'static str = "pcs_";
    type Id = SessionId;
    fn bits(id: SessionId) -> u128 {
        id.uuid().as_u128()
    }
}

/// What the cookies of browsers are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CookieNames {
    /// The session's. Scripts cannot read it.
    pub session: &'static str,
    /// That of the token beside it, for scripts to read.
    pub csrf: &'static str,
    /// That which a browser is known by. It opens nothing.
    pub device: &'static str,
    /// That of what waits for an account's owner to agree to.
    pub link: &'static str,
}

/// What is made of a cookie is for nothing else.
const CSRF: &[u8] = b"portcullis csrf";

// === impl CookieNames ===

impl CookieNames {
    /// `__Host-`: browsers take it from this very host alone, over TLS alone (RFC 6265bis §4.1.3.2).
    const SECURE: Self = Self {
        session: "__Host-portcullis",
        csrf: "__Host-portcullis-csrf",
        device: "__Host-portcullis-device",
        link: "__Host-portcullis-link",
    };
    /// Where there is no TLS: on a developer's own machine.
    const PLAIN: Self =
        Self { session: "portcullis", csrf: "portcullis-csrf", device: "portcullis-device", link: "portcullis-link" };

    /// There are never two names at once: where the one can be had, the other is nobody's.
    #[must_use]
    pub const fn of(is_secure: bool) -> Self {
        if is_secure { Self::SECURE } else { Self::PLAIN }
    }

    /// Does a cookie of this name say, or help to say, who a browser's user is, here or where TLS is otherwise?
    #[must_use]
    pub fn are_credentials(name: &[u8]) -> bool {
        let is = |names: &Self| name == names.session.as_bytes() || name == names.csrf.as_bytes();
        [Self::SECURE, Self::PLAIN].iter().any(is)
    }

    /// Is a cookie of this name for the account service, and for nobody else, here or where TLS is otherwise?
    #[must_use]
    pub fn are_ours(name: &[u8]) -> bool {
        let is = |names: &Self| name == names.device.as_bytes() || name == names.link.as_bytes();
        Self::are_credentials(name) || [Self::SECURE, Self::PLAIN].iter().any(is)
    }
}

// === impl SessionCookie ===

impl SessionCookie {
    /// What a page of this host shows beside the cookie.
    #[must_use]
    pub fn csrf_token(&self) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.expose().as_bytes());
        BASE64_URL_SAFE_NO_PAD.encode(hmac::sign(&key, CSRF))
    }

    /// Is this what a page of this host shows beside the cookie?
    #[must_use]
    pub fn goes_with(&self, csrf_token: &[u8]) -> bool {
        verify_slices_are_equal(self.csrf_token().as_bytes(), csrf_token).is_ok()
    }
}

/// The pairs of one `Cookie` field (RFC 6265bis §4.2.1), as names and values.
pub fn cookie_pairs(value: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    value.split(|byte| *byte == b';').map(<[u8]>::trim_ascii).map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        (pair[..at].trim_ascii_end(), pair.get(at + 1..).unwrap_or_default().trim_ascii_start())
    })
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};
    use uuid::Uuid;

    use super::*;
    use crate::{ApiKey, RefreshToken};

    fn cookie(seed: u64) -> SessionCookie {
        SessionCookie::generate(Uuid::from_u128(7).into(), &mut StdRng::seed_from_u64(seed))
    }

    #[test]
    fn a_token_goes_with_its_own_cookie_alone() {
        let (one, other) = (cookie(1), cookie(2));
        assert!(one.goes_with(one.csrf_token().as_bytes()));
        assert!(!one.goes_with(other.csrf_token().as_bytes()), "of another cookie of the same session");
        for wrong in [&b""[..], one.expose().as_bytes(), &one.csrf_token().as_bytes()[1..]] {
            assert!(!one.goes_with(wrong));
        }
        assert!(!one.expose().contains(&one.csrf_token()));
    }

    #[test]
    fn a_cookie_is_no_key_and_no_refresh_token() {
        assert!(SessionCookie::parse(cookie(1).expose()).is_ok());
        assert!(ApiKey::parse(cookie(1).expose()).is_err() && RefreshToken::parse(cookie(1).expose()).is_err());
    }

    #[test]
    fn a_field_is_read_as_pairs() {
        let read = |value: &'static str| {
            let text = |bytes| str::from_utf8(bytes).unwrap_or("?");
            cookie_pairs(value.as_bytes()).map(|(name, value)| (text(name), text(value))).collect::<Vec<_>>()
        };
        assert_eq!(read("a=1; b=2;c = 3 "), [("a", "1"), ("b", "2"), ("c", "3")]);
        assert_eq!(read("a=b=c; d; =e; "), [("a", "b=c"), ("d", ""), ("", "e"), ("", "")]);
    }
}
