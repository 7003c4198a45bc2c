//! The section `[browser]`: what every answer tells browsers.

use http::HeaderValue;
use policies::config::{Placed, Value};

use super::Reader;
use crate::config::{Browser, Framing, raw};

type Check = fn(&str) -> Result<(), &'static str>;

const REFERRER_POLICIES: [&str; 8] = [
    "no-referrer",
    "no-referrer-when-downgrade",
    "same-origin",
    "origin",
    "strict-origin",
    "origin-when-cross-origin",
    "strict-origin-when-cross-origin",
    "unsafe-url",
];

impl Reader<'_, '_> {
    pub(super) fn browser(&mut self) -> Browser {
        let raw: raw::Browser = self.document.section("browser").unwrap_or_default();
        Browser {
            strict_transport_security: self.field(
                raw.strict_transport_security.as_ref(),
                "max-age=31536000",
                transport,
            ),
            content_type_options: self
                .field(raw.content_type_options.as_ref(), "nosniff", |_| Err("there is one value, \"nosniff\"")),
            framing: self.framing(raw.frame_ancestors.as_ref()),
            // Browsers' own default, said for those that have another. "no-referrer" would be stricter and is not shipped:
            // it makes browsers send `Origin: null` with forms, which no check against forged requests can use.
            referrer_policy: self.field(raw.referrer_policy.as_ref(), "strict-origin-when-cross-origin", referrer),
            permissions_policy: self.field(
                raw.permissions_policy.as_ref(),
                "camera=(), geolocation=(), microphone=()",
                permissions,
            ),
        }
    }

    fn framing(&mut self, given: Option<&Placed<Value<String>>>) -> Option<Framing> {
        const SHIPPED: HeaderValue = HeaderValue::from_static("frame-ancestors 'none'");
        let sources = self.field(given, "'none'", sources)?;
        // Old browsers know these two words alone.
        let options = match sources.as_bytes() {
            b"'none'" => Some(HeaderValue::from_static("DENY")),
            b"'self'" => Some(HeaderValue::from_static("SAMEORIGIN")),
            _ => None,
        };
        if sources == "'none'" {
            return Some(Framing { policy: SHIPPED, options });
        }
        let policy = HeaderValue::try_from(format!("frame-ancestors {}", sources.to_str().unwrap_or_default()));
        policy.ok().map(|policy| Framing { policy, options })
    }

    /// The value of a field: what is given, or what is shipped, which is a constant.
    fn field(
        &mut self,
        given: Option<&Placed<Value<String>>>,
        shipped: &'static str,
        check: Check,
    ) -> Option<HeaderValue> {
        let text = self.text(given, shipped);
        if text == shipped {
            return Some(HeaderValue::from_static(shipped));
        }
        if text == "off" {
            return None;
        }
        let is_plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        let checked = if is_plain { check(&text) } else { Err("a field's value is one line of ASCII") };
        match checked {
            Ok(()) => HeaderValue::try_from(text).ok(),
            Err(reason) => {
                self.document.note(given.map_or(0..0, Placed::span), format!("{reason}; or \"off\""));
                None
            }
        }
    }
}

/// RFC 6797 §6.1.
fn transport(text: &str) -> Result<(), &'static str> {
    let mut directives = text.split(';').map(str::trim);
    let seconds = directives.next().and_then(|first| first.strip_prefix("max-age="));
    let is_number = seconds.is_some_and(|seconds| seconds.parse::<u32>().is_ok());
    if is_number && directives.all(|word| matches!(word, "includeSubDomains" | "preload")) {
        Ok(())
    } else {
        Err("write \"max-age=SECONDS\", perhaps with \"; includeSubDomains\" and \"; preload\"")
    }
}

/// CSP 3 §6.4.2. The whole becomes one directive, so it must not end it.
fn sources(text: &str) -> Result<(), &'static str> {
    let is_source = |word: &str| !word.contains([';', ',', '\'']) && word.contains([':', '.', '*']);
    let good =
        text == "'none'" || (!text.is_empty() && text.split(' ').all(|word| word == "'self'" || is_source(word)));
    if good { Ok(()) } else { Err("write \"'none'\", or \"'self'\" and origins such as https://app.example.com") }
}

/// Several may be given, the last one that a browser knows counts.
fn referrer(text: &str) -> Result<(), &'static str> {
    let known = |word: &str| REFERRER_POLICIES.contains(&word.trim());
    if text.split(',').all(known) {
        Ok(())
    } else {
        Err("choose from no-referrer, no-referrer-when-downgrade, same-origin, origin, strict-origin, \
             origin-when-cross-origin, strict-origin-when-cross-origin and unsafe-url")
    }
}

/// A dictionary (RFC 9651 §3.2), and not the older header's `camera 'none'`, of which browsers would ignore the whole.
fn permissions(text: &str) -> Result<(), &'static str> {
    let is_name = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    let is_member = |member: &str| {
        member.trim().split_once('=').is_some_and(|(name, list)| {
            is_name(name) && (matches!(list, "*" | "self") || (list.starts_with('(') && list.ends_with(')')))
        })
    };
    if text.split(',').all(is_member) { Ok(()) } else { Err("write features such as \"camera=(), fullscreen=(self)\"") }
}
