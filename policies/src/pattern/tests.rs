//! Which patterns can be written, and what is said about those that cannot.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::*;

#[test]
fn a_path_pattern_is_read_segment_by_segment() {
    let pattern = PathPattern::parse("/users/{id}/keys/*").unwrap();
    let literal = |text: &str| Segment::Literal(text.into());
    assert_eq!(*pattern.segments, [literal("users"), Segment::Any, literal("keys")]);
    assert!(pattern.is_open);
    assert_eq!((&*pattern.to_string(), pattern.as_str()), ("/users/{id}/keys/*", "/users/{id}/keys/*"));
    for (text, segments, is_open) in
        [("/", 0, false), ("/*", 0, true), ("/a/", 1, false), ("/v1:run", 1, false), ("/caf%C3%A9", 1, false)]
    {
        let pattern = PathPattern::parse(text).unwrap();
        assert_eq!((pattern.segments.len(), pattern.is_open), (segments, is_open), "{text}");
    }
}

#[test]
fn a_pattern_that_no_request_can_match_is_refused() {
    use PathPatternError as E;
    for (text, error) in [
        ("", E::Path(PathError::Relative)),
        ("users", E::Path(PathError::Relative)),
        ("{id}", E::Path(PathError::Relative)),
        ("//", E::Path(PathError::EmptySegment)),
        ("//*", E::Path(PathError::EmptySegment)),
        ("/a//b", E::Path(PathError::EmptySegment)),
        ("/a//", E::Path(PathError::EmptySegment)),
        ("/a/../b", E::Path(PathError::DotSegment)),
        ("/a/.", E::Path(PathError::DotSegment)),
        ("/a;b", E::Path(PathError::Parameter)),
        ("/a?b", E::Path(PathError::NotAllowed)),
        ("/é", E::Path(PathError::NotAllowed)),
        ("*", E::Wildcard),
        ("/a*", E::Wildcard),
        ("/*/a", E::Wildcard),
        ("/**", E::Wildcard),
        ("/a/{id}.json", E::Parameter),
        ("/a/{}", E::Parameter),
        ("/a/{i d}", E::Parameter),
        ("/a/{id", E::Parameter),
        ("/a/{id}/b/{id}", E::Twice("id".into())),
        ("/{a}/{b}/{a}/*", E::Twice("a".into())),
        ("/%61", E::Spelling("/a".into())),
        ("/caf%c3%a9", E::Spelling("/caf%C3%A9".into())),
    ] {
        assert_eq!(PathPattern::parse(text), Err(error), "{text}");
    }
}

#[test]
fn a_host_pattern_is_a_name_an_address_or_everything_below_a_name() {
    for (text, host) in [
        ("API.example.com", Host::Exact("api.example.com".into())),
        ("*.Example.com", Host::Below(".example.com".into())),
        ("localhost", Host::Exact("localhost".into())),
        ("10.0.0.1", Host::Exact("10.0.0.1".into())),
        ("[::1]", Host::Exact("[::1]".into())),
        ("my_service", Host::Exact("my_service".into())),
    ] {
        assert_eq!(HostPattern::parse(text), Ok(HostPattern(host)), "{text}");
    }
    assert_eq!(HostPattern::parse("*.Example.com").unwrap().to_string(), "*.example.com");
}

#[test]
fn a_host_pattern_that_no_host_can_match_is_refused() {
    use HostPatternError as E;
    assert_eq!(HostPattern::parse("*"), Err(E::AnyHost));
    for text in ["example.com:8080", "https://example.com", "example.com/", "example.com.", "*.[::1]"] {
        assert_eq!(HostPattern::parse(text), Err(E::NotAlone(text.into())));
    }
    for text in ["a.*.com", "*a.com", "**.com", "*.*.com"] {
        assert_eq!(HostPattern::parse(text), Err(E::Wildcard(text.into())));
    }
    for text in ["", "a..b", ".a", "-a", "a-", "münchen.de", "a b", "[::g]x", &"a".repeat(64)] {
        let error = HostPattern::parse(text).unwrap_err();
        assert!(matches!(error, E::Name(_) | E::NotAlone(_)), "{text}: {error}");
    }
}

#[test]
fn a_hosts_port_and_trailing_dot_do_not_matter() {
    for (host, bare) in [
        ("a.b", "a.b"),
        ("a.b:80", "a.b"),
        ("a.b.:80", "a.b"),
        ("a.b.", "a.b"),
        ("[::1]:80", "[::1]"),
        ("[::1]", "[::1]"),
        ("[::1", "[::1"),
        ("", ""),
        (":80", ""),
        (".", ""),
    ] {
        assert_eq!(bare_host(host), bare);
    }
}
