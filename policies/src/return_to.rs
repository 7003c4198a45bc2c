//! Where somebody goes on after logging in: a place on this very host, or nowhere that anybody else has chosen.
//!
//! What stands behind `return_to=` is written by whoever made the link (CWE-601). It is believed if browsers can read it in one way only, and
//! that way stays on this host: one spelling of a path, as [`crate::path`] has it, and a query without anything that a browser would fold.

use crate::path;

/// Bytes at most; what is longer is no place that somebody was sent away from.
const MOST: usize = 2048;

/// A place on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReturnTo(Box<str>);

// === impl ReturnTo ===

impl ReturnTo {
    /// Reads a path with its query, perhaps; `None` if it could lead anywhere else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (path, query) = text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query)));
        // Two slashes, a backslash, a control character, a scheme: each is refused by the one spelling that a path has.
        let path = path::normalise(path).ok()?;
        // Printable ASCII: browsers cut tabs and line ends out, and take `\` for `/`.
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\\#\"<>".contains(&byte);
        if !query.unwrap_or_default().bytes().all(is_plain) || text.len() > MOST {
            return None;
        }
        let whole = query.map_or_else(|| path.to_string(), |query| format!("{path}?{query}"));
        Some(Self(whole.into()))
    }

    /// For `Location`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As the value of a parameter in a query.
    #[must_use]
    pub fn encoded(&self) -> String {
        use std::fmt::Write as _;
        self.0.bytes().fold(String::with_capacity(self.0.len()), |mut encoded, byte| {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                    encoded.push(char::from(byte));
                }
                _ => drop(write!(encoded, "%{byte:02X}")),
            }
            encoded
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_place_on_this_host_is_kept() {
        for (text, kept) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/", "/a/"),
            ("/a?b=c&d=//e", "/a?b=c&d=//e"),
            ("/a?next=https://evil.test/", "/a?next=https://evil.test/"),
            ("/%41%c3%a9", "/A%C3%A9"),
            ("/a?", "/a?"),
        ] {
            assert_eq!(ReturnTo::parse(text).as_ref().map(ReturnTo::as_str), Some(kept), "{text}");
        }
        assert_eq!(ReturnTo::parse("/a b?c").as_ref(), None);
        let encoded = ReturnTo::parse("/a?b=c&d=%20").map(|back| back.encoded());
        assert_eq!(encoded.as_deref(), Some("/a%3Fb%3Dc%26d%3D%2520"));
    }

    #[test]
    fn what_could_lead_elsewhere_leads_nowhere() {
        for trick in [
            "",
            "//evil.test",
            "///evil.test",
            "////evil.test/a",
            "/\\evil.test",
            "\\\\evil.test",
            "\\/evil.test",
            "/\\/evil.test",
            "/\tevil.test",
            "/\t/evil.test",
            "\t//evil.test",
            " //evil.test",
            " /a",
            "/\n/evil.test",
            "/\r\nLocation: https://evil.test",
            "/a\r\nSet-Cookie: x=y",
            "/\0/evil.test",
            "/a\0",
            "https://evil.test",
            "https:evil.test",
            "https:/evil.test",
            "HTTPS://evil.test",
            "http:///evil.test",
            "javascript:alert(1)",
            "JaVaScRiPt:alert(1)",
            "data:text/html,x",
            "vbscript:x",
            "evil.test",
            "@evil.test",
            ".evil.test",
            "?x",
            "#x",
            "/.//evil.test",
            "/..//evil.test",
            "/./evil",
            "/a/../b",
            "/a/..",
            "/%2e%2e/b",
            "/%2f/evil.test",
            "/%2F%2Fevil.test",
            "/%5cevil.test",
            "/%5C%5Cevil.test",
            "/%09/evil.test",
            "/%0d%0aLocation:%20x",
            "/%00",
            "/a//evil.test",
            "/;@evil.test",
            "/a#//evil.test",
            "/a?b\\c",
            "/a?b\tc",
            "/a?b c",
            "/a?\"><script>",
            "/\u{2028}/evil.test",
            "/\u{ff0f}evil.test",
            "\u{ff0f}\u{ff0f}evil.test",
            "/\u{e9}",
            "/%zz",
            "/%252f%252fevil.test",
        ] {
            assert_eq!(ReturnTo::parse(trick), None, "{trick:?}");
        }
        let long = |length: usize| ReturnTo::parse(&format!("/{}", "a".repeat(length - 1)));
        assert!(long(MOST).is_some() && long(MOST + 1).is_none());
    }

    proptest! {
        #[test]
        fn whatever_is_kept_is_one_place_on_this_host(text in "[/\\\\a?#@:%.25fF\t ]{0,12}") {
            if let Some(kept) = ReturnTo::parse(&text) {
                let kept = kept.as_str();
                prop_assert!(kept.starts_with('/') && !kept.starts_with("//"));
                prop_assert!(kept.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\' && byte != b'#'));
            }
        }
    }
}
