//! Did a page of this very host make the browser send the request? What the browser says of that, and whether it is believed.
//!
//! A browser sends its cookies along whatever page asks it to. `Sec-Fetch-Site` is its own word for where the page is from, which
//! no page can forge (W3C Fetch Metadata §2.3); browsers without it, and pages without TLS, send `Origin` with whatever may change something
//! (Fetch §3.2). A request that says neither is not believed.

/// How a request on a cookie has to show that it was meant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Csrf {
    /// By where it is from, and by the session's token in `X-CSRF-Token`.
    #[default]
    Token,
    /// By where it is from; the upstream sees to a token in its own forms.
    Origin,
}

/// Where a request was sent to, and what the browser says of where it is from.
#[derive(Debug, Clone, Copy)]
pub struct Sent<'a> {
    /// Each `Sec-Fetch-Site`.
    pub site: Said<'a>,
    /// Each `Origin`.
    pub origin: Said<'a>,
    /// By HTTPS?
    pub is_secure: bool,
    /// `Host` as the client wrote it.
    pub host: &'a str,
}

/// A field that may be said once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said<'a> {
    /// Not at all.
    Not,
    /// Once.
    Once(&'a [u8]),
    /// More than once, so that nobody knows.
    Twice,
}

/// Methods that change nothing (RFC 9110 §9.2.1), and that a page of another site may make a browser use.
#[must_use]
pub fn is_safe(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS")
}

// === impl Said ===

impl<'a> Said<'a> {
    /// What the values of a field say.
    pub fn of(mut values: impl Iterator<Item = &'a [u8]>) -> Self {
        match (values.next(), values.next()) {
            (None, _) => Self::Not,
            (Some(value), None) => Self::Once(value),
            (Some(_), Some(_)) => Self::Twice,
        }
    }
}

// === impl Sent ===

impl Sent<'_> {
    /// Is it from a page of this host, or from the browser's user alone (`none`: an address that was typed)?
    #[must_use]
    pub fn is_from_here(&self) -> bool {
        match self.site {
            Said::Once(site) => site == b"same-origin" || site == b"none",
            Said::Not => self.origin_is_here(),
            Said::Twice => false,
        }
    }

    /// Does `Origin` name this host, as it was asked for? `null`, which every sandboxed page is called, names nobody.
    #[must_use]
    pub fn origin_is_here(&self) -> bool {
        let Said::Once(origin) = self.origin else { return false };
        let (scheme, port) = if self.is_secure { ("https://", ":443") } else { ("http://", ":80") };
        // Browsers leave the scheme's own port out, and write names in lower case (HTML §7.1.1.2). An empty port is none (RFC 3986 §3.2.3).
        let host = self.host.strip_suffix(port).or_else(|| self.host.strip_suffix(':')).unwrap_or(self.host);
        origin
            .strip_prefix(scheme.as_bytes())
            .is_some_and(|named| !host.is_empty() && named.eq_ignore_ascii_case(host.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent<'a>(site: &[&'a str], origin: &[&'a str], is_secure: bool, host: &'a str) -> Sent<'a> {
        let [site, origin] = [site, origin].map(|values| Said::of(values.iter().map(|value| value.as_bytes())));
        Sent { site, origin, is_secure, host }
    }

    #[test]
    fn the_browsers_own_word_counts_whatever_origin_says() {
        for (site, from_here) in [
            (&["same-origin"][..], true),
            (&["none"], true),
            (&["same-site"], false),
            (&["cross-site"], false),
            (&["Same-Origin"], false),
            (&[""], false),
            (&["same-origin", "same-origin"], false),
            (&["same-origin", "cross-site"], false),
        ] {
            assert_eq!(sent(site, &[], true, "a.test").is_from_here(), from_here, "{site:?}");
            assert_eq!(sent(site, &["https://a.test"], true, "a.test").is_from_here(), from_here, "{site:?}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        for (origin, is_secure, host, from_here) in [
            ("https://a.test", true, "a.test", true),
            ("https://a.test", true, "A.Test:443", true),
            ("https://a.test", true, "a.test:", true),
            ("https://a.test:", true, "a.test:", false),
            ("https://", true, ":", false),
            ("https://a.test:8443", true, "a.test:8443", true),
            ("http://a.test", false, "a.test:80", true),
            ("http://[::1]:8080", false, "[::1]:8080", true),
            ("http://a.test", true, "a.test", false),
            ("https://a.test", false, "a.test", false),
            ("https://a.test:80", true, "a.test", false),
            ("https://a.test", true, "a.test:8443", false),
            ("https://b.test", true, "a.test", false),
            ("https://a.test.evil", true, "a.test", false),
            ("https://x.a.test", true, "a.test", false),
            ("https://a.test/", true, "a.test", false),
            ("https://", true, "", false),
            ("null", true, "a.test", false),
            ("", true, "a.test", false),
        ] {
            assert_eq!(sent(&[], &[origin], is_secure, host).is_from_here(), from_here, "{origin} to {host}");
        }
        assert!(!sent(&[], &["https://a.test", "https://a.test"], true, "a.test").is_from_here());
    }

    #[test]
    fn only_what_changes_nothing_may_come_from_any_page() {
        assert_eq!(["GET", "HEAD", "OPTIONS"].map(is_safe), [true; 3]);
        assert_eq!(["POST", "PUT", "PATCH", "DELETE", "get", "X"].map(is_safe), [false; 6]);
    }

    #[test]
    fn who_says_nothing_is_not_believed() {
        assert!(!sent(&[], &[], true, "a.test").is_from_here());
    }
}
