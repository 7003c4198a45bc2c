//! Methods and rewriting.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::*;

#[test]
fn trace_track_and_connect_can_never_be_exposed() {
    for method in ["TRACE", "TRACK", "CONNECT"] {
        assert!(!Methods::ALL.contains(method));
        assert_eq!(Methods::parse(["GET", method]), Err(MethodError::Forbidden(method.into())));
    }
    for method in ["get", "BREW", "", "GET "] {
        assert!(!Methods::ALL.contains(method));
        assert_eq!(Methods::parse([method]), Err(MethodError::Unknown(method.into())));
    }
}

#[test]
fn methods_are_a_set() {
    assert!(Methods::NONE.is_empty() && !Methods::ALL.is_empty());
    assert_eq!(Methods::ALL.union(Methods::parse(["GET"]).unwrap()), Methods::ALL);
    assert_eq!(Methods::SAFE, Methods::parse(["OPTIONS", "HEAD", "GET"]).unwrap());
    let some = Methods::parse(["POST", "GET", "GET"]).unwrap();
    assert_eq!(some.to_string(), "GET, POST");
    assert!(some.contains("GET") && some.contains("POST") && !some.contains("HEAD"));
    assert_eq!(Methods::ALL.to_string(), "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    assert!(Methods::parse([]).unwrap().is_empty() && !some.intersects(Methods::parse(["PUT"]).unwrap()));
}

#[test]
fn the_longest_prefix_that_ends_at_a_segment_is_rewritten() {
    let pairs = [
        ("/api", "/v1"),
        ("/api/auth", "/auth"),
        ("/api/auth/old/", "/"),
        ("/v:x", "/colon"),
        ("/api/v2/auth", "/auth"),
    ];
    let rewrite = Rewrite::parse(pairs).unwrap();
    for (path, forwarded) in [
        ("/api/auth/login", "/auth/login"),
        ("/api/auth", "/auth"),
        ("/api/auth/", "/auth/"),
        ("/api/authority", "/v1/authority"),
        ("/api/v2/auth/me", "/auth/me"),
        ("/api/auth/old", "/"),
        ("/api/auth/old/x", "/x"),
        ("/apiary", "/apiary"),
        ("/other", "/other"),
        ("/v%3Ax/a%20b", "/colon/a%20b"),
    ] {
        assert_eq!(rewrite.apply(path), forwarded, "{path}");
    }
    assert!(
        matches!(rewrite.apply("/other"), Cow::Borrowed(_))
            && matches!(rewrite.apply("/api/auth/old/x"), Cow::Borrowed(_))
    );
}

#[test]
fn the_root_as_a_prefix_prepends() {
    let rewrite = Rewrite::parse([("/", "/v1/")]).unwrap();
    assert_eq!(rewrite.apply("/x/"), "/v1/x/");
    assert_eq!(rewrite.apply("/"), "/v1/");
    assert_eq!(Rewrite::parse([("/", "/")]).unwrap().apply("/x"), "/x");
}

#[test]
fn a_rewrite_to_what_is_no_path_is_refused() {
    let bad = |from, to| Rewrite::parse([(from, to)]).unwrap_err();
    assert_eq!(bad("/a", "/b/../c"), RewriteError::Path { path: "/b/../c".into(), reason: PathError::DotSegment });
    assert_eq!(bad("a", "/b"), RewriteError::Path { path: "a".into(), reason: PathError::Relative });
    assert_eq!(bad("/a", "//b"), RewriteError::Path { path: "//b".into(), reason: PathError::EmptySegment });
    assert_eq!(bad("/%61", "/b"), RewriteError::Spelling("/a".into()));
    assert_eq!(Rewrite::parse([("/a", "/b"), ("/a/", "/c")]), Err(RewriteError::Twice("/a".into())));
}

#[test]
fn a_route_is_closed_until_it_says_otherwise() {
    let route = Route::new("r", "demo", vec![PathPattern::parse("/x").unwrap()]);
    assert_eq!(route.auth, Auth::Required);
    assert!(route.tier_limits && !route.forward_credential && route.demand.is_empty());
    assert_eq!(route.forward_path("/x"), "/x");
}
