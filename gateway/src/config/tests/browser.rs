//! What browsers are told.

use super::*;

#[test]
fn what_browsers_would_not_understand_is_refused_with_what_they_would() {
    let frames = |to: &str| said("frame_ancestors = \"'none'\"", &format!("frame_ancestors = \"{to}\""));
    let place =
        "gateway.toml:269:19: write \"'none'\", or \"'self'\" and origins such as https://app.example.com; or \"off\"";
    for wrong in ["none", "'none' 'self'", "", "https://a.test; script-src *", "https://a.test, x", "'unsafe-inline'"] {
        assert_eq!(frames(wrong), place, "{wrong}");
    }
    for good in ["'self'", "off", "https://a.test https://*.b.test:8443", "*"] {
        assert_eq!(frames(good), "", "{good}");
    }
    insta::assert_snapshot!(frames("'self'\\nSet-Cookie: x=y"), @r#"gateway.toml:269:19: a field's value is one line of ASCII; or "off""#);
    insta::assert_snapshot!(said("\"max-age=31536000\"", "\"1 year\""), @r#"gateway.toml:267:29: write "max-age=SECONDS", perhaps with "; includeSubDomains" and "; preload"; or "off""#);
    assert_eq!(said("\"max-age=31536000\"", "\"max-age=63072000; includeSubDomains; preload\""), "");
    insta::assert_snapshot!(said("content_type_options = \"nosniff\"", "content_type_options = \"sniff\""), @r#"gateway.toml:268:24: there is one value, "nosniff"; or "off""#);
    insta::assert_snapshot!(said("\"strict-origin-when-cross-origin\"", "\"never\""), @r#"gateway.toml:270:19: choose from no-referrer, no-referrer-when-downgrade, same-origin, origin, strict-origin, origin-when-cross-origin, strict-origin-when-cross-origin and unsafe-url; or "off""#);
    insta::assert_snapshot!(said("\"camera=(), geolocation=(), microphone=()\"", "\"camera 'none'\""), @r#"gateway.toml:271:22: write features such as "camera=(), fullscreen=(self)"; or "off""#);
}
