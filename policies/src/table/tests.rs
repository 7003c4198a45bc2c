//! Whose request it is: specificity, hosts, methods, overlaps, and that no spelling slips past a protected path.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use proptest::prelude::*;

use super::*;
use crate::{HostPattern, normalise};

fn route(name: &str, hosts: &[&str], methods: &[&str], paths: &[&str]) -> Route {
    let mut route = Route::new(name, "demo", paths.iter().map(|path| PathPattern::parse(path).unwrap()).collect());
    route.hosts = hosts.iter().map(|host| HostPattern::parse(host).unwrap()).collect();
    if !methods.is_empty() {
        route.methods = Methods::parse(methods.iter().copied()).unwrap();
    }
    route
}

fn found<'a>(table: &'a RouteTable, host: &str, method: &str, path: &str) -> &'a str {
    match table.find(host, method, path) {
        Ok(route) => &route.name,
        Err(NoMatch::NotFound) => "404",
        Err(NoMatch::MethodNotAllowed { .. }) => "405",
    }
}

#[test]
fn the_most_specific_pattern_owns_the_path() {
    let table = RouteTable::build(vec![
        route("root", &[], &[], &["/"]),
        route("all", &[], &[], &["/files/*"]),
        route("one", &[], &[], &["/files/{name}"]),
        route("index", &[], &[], &["/files/index"]),
        route("parts", &[], &[], &["/files/{name}/parts/*"]),
        route("deep", &[], &[], &["/files/index/parts/7"]),
        route("exact", &[], &[], &["/files"]),
        route("delim", &[], &[], &["/v1/models:run", "/@me"]),
    ])
    .unwrap();
    for (path, owner) in [
        ("/", "root"),
        ("/files", "exact"),
        ("/files/", "exact"),
        ("/files/a", "one"),
        ("/files/a/", "one"),
        ("/files/index", "index"),
        ("/files/a/b", "all"),
        ("/files/a/b/", "all"),
        ("/files/index/other/", "all"),
        ("/@me/", "delim"),
        ("/files/a/parts", "parts"),
        ("/files/a/parts/7/x", "parts"),
        ("/files/index/parts/7", "deep"),
        // Steps back from `index` to `{name}`, and from both to `*`.
        ("/files/index/parts/8", "parts"),
        ("/files/index/other", "all"),
        ("/filesx", "404"),
        ("/file", "404"),
        ("/nothing/here", "404"),
        ("/v1/models:run", "delim"),
        ("/v1/models%3Arun", "delim"),
        ("/%40me", "delim"),
        ("/v1/models%20run", "404"),
        ("", "404"),
        ("files", "404"),
    ] {
        assert_eq!(found(&table, "any.host", "GET", path), owner, "{path}");
    }
}

#[test]
fn a_method_its_owner_does_not_take_never_falls_back_to_a_weaker_route() {
    let table = RouteTable::build(vec![
        route("weak", &[], &[], &["/*"]),
        route("read", &[], &["GET", "HEAD"], &["/admin/*"]),
        route("write", &[], &["POST"], &["/admin/*"]),
    ])
    .unwrap();
    assert_eq!(found(&table, "h", "GET", "/admin/users"), "read");
    assert_eq!(found(&table, "h", "POST", "/admin"), "write");
    assert_eq!(found(&table, "h", "DELETE", "/other"), "weak");
    let allow = Methods::parse(["GET", "HEAD", "POST"]).unwrap();
    assert_eq!(table.find("h", "DELETE", "/admin/users").unwrap_err(), NoMatch::MethodNotAllowed { allow });
    for method in ["TRACE", "TRACK", "CONNECT", "get", "BREW", ""] {
        assert_eq!(found(&table, "h", method, "/other"), "405", "{method}");
    }
}

#[test]
fn an_exact_host_comes_before_a_suffix_before_every_host() {
    let table = RouteTable::build(vec![
        route("any", &[], &[], &["/*"]),
        route("below", &["*.example.com"], &[], &["/a/*"]),
        route("deeper", &["*.eu.example.com"], &[], &["/a/*"]),
        route("exact", &["api.example.com", "[::1]"], &["GET"], &["/a/*"]),
    ])
    .unwrap();
    for (host, path, owner) in [
        ("api.example.com", "/a", "exact"),
        ("API.Example.COM:8080", "/a", "exact"),
        ("api.example.com.", "/a", "exact"),
        ("[::1]:80", "/a", "exact"),
        ("www.example.com", "/a", "below"),
        ("a.b.EXAMPLE.com.:1", "/a", "below"),
        ("x.eu.example.com", "/a", "deeper"),
        ("eu.example.com", "/a", "below"),
        ("example.com", "/a", "any"),
        ("badexample.com", "/a", "any"),
        ("api.example.com.evil.org", "/a", "any"),
        ("", "/a", "any"),
        // The host's own table knows nothing of the path.
        ("api.example.com", "/b", "any"),
    ] {
        assert_eq!(found(&table, host, "GET", path), owner, "{host}");
    }
    // It does know this path, and not this method.
    assert_eq!(found(&table, "api.example.com", "POST", "/a"), "405");
}

#[test]
fn two_routes_that_claim_one_request_overlap() {
    let overlap =
        |first, second| RouteTable::build(vec![route("other", &[], &[], &["/other"]), first, second]).map(|_| ());
    let refused = Err(Overlap { first: 1, second: 2 });
    assert_eq!(overlap(route("a", &[], &[], &["/x"]), route("b", &[], &[], &["/y", "/x/"])), refused);
    assert_eq!(overlap(route("a", &[], &[], &["/x/{a}/*"]), route("b", &[], &["GET"], &["/x/{b}/*"])), refused);
    assert_eq!(overlap(route("a", &["h.io", "*.io"], &[], &["/x"]), route("b", &["*.IO"], &[], &["/x"])), refused);
    assert_eq!(overlap(route("a", &[], &[], &["/x:y"]), route("b", &[], &[], &["/x%3Ay"])), refused);
    assert_eq!(overlap(route("a", &[], &["GET"], &["/x"]), route("b", &[], &["POST"], &["/x"])), Ok(()));
    assert_eq!(overlap(route("a", &[], &[], &["/x"]), route("b", &[], &[], &["/x/*", "/{x}"])), Ok(()));
    assert_eq!(overlap(route("a", &["h.io"], &[], &["/x"]), route("b", &[], &[], &["/x", "/x/"])), Ok(()));
}

#[test]
fn a_route_knows_its_place() {
    let table = RouteTable::build(vec![route("a", &[], &[], &["/a"]), route("b", &[], &[], &["/b"])]).unwrap();
    assert_eq!(table.find("h", "GET", "/b").unwrap().id, 1);
    assert_eq!(table.routes().iter().map(|route| &*route.name).collect::<Vec<_>>(), ["a", "b"]);
}

// === no spelling of a protected path matches a less protected route ===

/// Everything is public but what is listed after it.
fn guarded() -> RouteTable {
    RouteTable::build(vec![
        route("public", &[], &[], &["/*", "/{a}/{b}", "/demo/public/*"]),
        route("admin", &[], &[], &["/admin/*"]),
        route("keys", &[], &["GET"], &["/users/{id}/keys"]),
        route("action", &[], &[], &["/v1/models:run", "/@me/*"]),
        route("demo-admin", &["*.example.com"], &[], &["/demo/admin/*"]),
    ])
    .unwrap()
}

const PROTECTED: [&str; 8] = [
    "/admin",
    "/admin/users",
    "/admin/caf%C3%A9",
    "/users/7/keys",
    "/v1/models:run",
    "/@me",
    "/@me/a+b",
    "/demo/admin/x",
];

/// One character of a path, however an attacker may write it.
fn spelt(character: char) -> BoxedStrategy<String> {
    let code = u32::from(character);
    let plain = character.to_string();
    // A `%` of ours begins an escape already.
    if character == '%' {
        return Just(plain).boxed();
    }
    let digits = format!("{code:02x}");
    let escaped = digits.bytes().fold(String::new(), |escaped, digit| format!("{escaped}%{digit:02x}"));
    let ways = vec![
        format!("%{code:02X}"),
        format!("%{digits}"),
        format!("%25{digits}"),
        format!("%25{escaped}"),
        format!("%2525{digits}"),
        format!("%u00{digits}"),
        format!("%c0%{:02x}", 0x80 | (code & 0x3f)),
    ];
    prop_oneof![6 => Just(plain), 4 => proptest::sample::select(ways)].boxed()
}

/// Separators that some backend takes for one slash.
fn separator() -> impl Strategy<Value = String> {
    let ways = vec![
        "//",
        "/./",
        "/x/../",
        "/.//",
        "\\",
        "/\\",
        "%2f",
        "%2F",
        "%5c",
        "/%2e/",
        "/x/%2e%2e/",
        "/x/.%2E/",
        "/;/",
        ";a=b/",
        "/..;/",
        "/x/..%2f",
        "/%20/../",
        "%252f",
        "/%252e/",
        "/%00/",
        "/x/..;/",
        "%c0%af",
        "/%",
    ];
    prop_oneof![20 => Just("/".to_owned()), 1 => proptest::sample::select(ways).prop_map(str::to_owned)]
}

/// What may be put behind a path and be ignored.
fn trailer() -> impl Strategy<Value = &'static str> {
    let ways = vec![
        "/", "//", "/.", "/./", "/x/..", ";", ";a=b", "%3b", "#", "#x", "%23", "%3f", "%3Fa", "%00", "%0a", "\\",
        "%2f", "%5C", "/%2e", "%", "%2",
    ];
    prop_oneof![3 => Just(""), 1 => proptest::sample::select(ways)]
}

fn spelling_of(path: &'static str) -> impl Strategy<Value = String> {
    let parts: Vec<BoxedStrategy<String>> =
        path.chars().map(|character| if character == '/' { separator().boxed() } else { spelt(character) }).collect();
    (parts, trailer()).prop_map(|(parts, trailer)| parts.concat() + trailer)
}

fn any_spelling() -> impl Strategy<Value = (&'static str, String)> {
    proptest::sample::select(&PROTECTED[..]).prop_flat_map(|path| (Just(path), spelling_of(path)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn no_spelling_of_a_protected_path_matches_a_less_protected_route((path, spelling) in any_spelling()) {
        let table = guarded();
        if let Ok(canonical) = normalise(&spelling) {
            for method in ["GET", "POST"] {
                let owner = found(&table, "www.example.com", method, path);
                prop_assert_ne!(owner, "public");
                prop_assert_eq!(found(&table, "www.example.com", method, &canonical), owner, "{} as {}", path, spelling);
            }
        }
    }

    #[test]
    fn a_plain_respelling_is_let_through_to_the_same_route(upper: u32, lower: u32, slash: bool) {
        let table = guarded();
        for path in PROTECTED {
            let respelt = path.chars().enumerate().map(|(at, character)| match character {
                '/' | '%' => character.to_string(),
                _ if upper >> (at % 32) & 1 == 1 => format!("%{:02X}", u32::from(character)),
                _ if lower >> (at % 32) & 1 == 1 => format!("%{:02x}", u32::from(character)),
                _ => character.to_string(),
            });
            let respelt = if path.contains('%') { path.to_lowercase() } else { respelt.collect::<String>() };
            let respelt = respelt + if slash { "/" } else { "" };
            let canonical = normalise(&respelt).unwrap();
            prop_assert_eq!(found(&table, "a.example.com", "GET", &canonical), found(&table, "a.example.com", "GET", path), "{}", respelt);
        }
    }

    #[test]
    fn a_host_is_the_same_in_any_case_with_any_port(upper: u32, port: Option<u16>, dot: bool) {
        let table = RouteTable::build(vec![route("any", &[], &[], &["/*"]), route("own", &["*.example.com"], &[], &["/*"])]).unwrap();
        let case = |(at, character): (usize, char)| if upper >> at & 1 == 1 { character.to_ascii_uppercase() } else { character };
        let host: String = "api.example.com".chars().enumerate().map(case).collect();
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let dot = if dot { "." } else { "" };
        prop_assert_eq!(found(&table, &format!("{host}{dot}{port}"), "GET", "/"), "own");
    }
}
