//! What every answer tells the browser that shows it: the fields of `[browser]`, whoever wrote the answer.
//!
//! Two kinds. How a *host* is reached and how its content is read are the door's word (`Strict-Transport-Security`,
//! `X-Content-Type-Options`): one upstream must not switch them off for all others. How a *page* is framed and what it may
//! use are the page's own word, if it says any: only its author knows. The values are made when the configuration is read;
//! those that are shipped are constants, so that setting them counts no references.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        CONTENT_SECURITY_POLICY, Entry, REFERRER_POLICY, SERVER, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
        X_FRAME_OPTIONS,
    },
};

use crate::config::{Browser, Framing};

const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");

// === impl Browser ===

impl Browser {
    /// Sets the fields. `is_secure`: the client came by HTTPS; over plain HTTP, HSTS must not be said (RFC 6797 §7.2).
    pub(crate) fn tell(&self, headers: &mut HeaderMap, is_secure: bool) {
        // What software answers is nobody's business.
        headers.remove(SERVER);
        if let Some(value) = &self.content_type_options {
            headers.insert(X_CONTENT_TYPE_OPTIONS, value.clone());
        }
        match &self.strict_transport_security {
            Some(value) if is_secure => _ = headers.insert(STRICT_TRANSPORT_SECURITY, value.clone()),
            _ if is_secure => {}
            _ => _ = headers.remove(STRICT_TRANSPORT_SECURITY),
        }
        if let Some(framing) = &self.framing {
            framing.tell(headers);
        }
        unless_said(headers, REFERRER_POLICY, self.referrer_policy.as_ref());
        unless_said(headers, PERMISSIONS_POLICY, self.permissions_policy.as_ref());
    }
}

// === impl Framing ===

impl Framing {
    /// Says who may frame the page, unless the page does. Its `Content-Security-Policy` is never touched; nor is one set
    /// beside its `X-Frame-Options`, which browsers ignore where a policy speaks of frames (CSP 3 §6.4.2).
    fn tell(&self, headers: &mut HeaderMap) {
        let said = headers.contains_key(X_FRAME_OPTIONS);
        match headers.entry(CONTENT_SECURITY_POLICY) {
            Entry::Occupied(policies) if said || policies.iter().any(speaks_of_frames) => return,
            Entry::Vacant(_) if said => return,
            Entry::Occupied(_) => {}
            Entry::Vacant(place) => _ = place.insert(self.policy.clone()),
        }
        if let Some(options) = &self.options {
            headers.insert(X_FRAME_OPTIONS, options.clone());
        }
    }
}

/// Names of directives have no case (CSP 3 §2.2.1).
fn speaks_of_frames(policy: &HeaderValue) -> bool {
    let directives = policy.as_bytes().split(|byte| *byte == b';' || *byte == b',').map(<[u8]>::trim_ascii);
    directives
        .filter_map(|directive| directive.split(u8::is_ascii_whitespace).next())
        .any(|name| name.eq_ignore_ascii_case(b"frame-ancestors"))
}

fn unless_said(headers: &mut HeaderMap, name: HeaderName, value: Option<&HeaderValue>) {
    if let Some(value) = value
        && let Entry::Vacant(place) = headers.entry(name)
    {
        place.insert(value.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(upstream: &[(&'static str, &'static str)]) -> String {
        let browser = Browser {
            strict_transport_security: Some(HeaderValue::from_static("max-age=1")),
            content_type_options: Some(HeaderValue::from_static("nosniff")),
            framing: Some(Framing {
                policy: HeaderValue::from_static("frame-ancestors 'none'"),
                options: Some(HeaderValue::from_static("DENY")),
            }),
            referrer_policy: Some(HeaderValue::from_static("same-origin")),
            permissions_policy: None,
        };
        let pairs =
            upstream.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let mut headers: HeaderMap = pairs.collect();
        browser.tell(&mut headers, false);
        let mut lines: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap_or("?"))).collect();
        lines.sort();
        lines.join("\n")
    }

    const SNIFF: &str = "x-content-type-options: nosniff";
    const REFERRER: &str = "referrer-policy: same-origin";

    #[test]
    fn a_page_that_says_nothing_is_told_of() {
        assert_eq!(
            told(&[]),
            format!("content-security-policy: frame-ancestors 'none'\n{REFERRER}\n{SNIFF}\nx-frame-options: DENY")
        );
    }

    #[test]
    fn what_a_page_says_of_itself_stands() {
        assert_eq!(
            told(&[("x-frame-options", "SAMEORIGIN"), ("referrer-policy", "origin")]),
            format!("referrer-policy: origin\n{SNIFF}\nx-frame-options: SAMEORIGIN")
        );
        for policy in [
            "frame-ancestors https://a.test",
            "default-src 'self' ; Frame-Ancestors\t'self'",
            "img-src *,frame-ancestors *",
        ] {
            let own = told(&[("content-security-policy", policy)]);
            assert_eq!(own, format!("content-security-policy: {policy}\n{REFERRER}\n{SNIFF}"), "{policy}");
        }
    }

    #[test]
    fn a_policy_that_says_nothing_of_frames_is_left_as_it_is_and_helped() {
        for policy in ["default-src 'self'", "", "report-uri /frame-ancestors", "x-frame-ancestors 'self'"] {
            let own = told(&[("content-security-policy", policy)]);
            let line = format!("content-security-policy: {policy}\n{REFERRER}\n{SNIFF}\nx-frame-options: DENY");
            assert_eq!(own, line, "{policy}");
        }
    }
}
