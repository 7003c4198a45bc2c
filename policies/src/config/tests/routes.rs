//! What a route says, and what it cannot say.

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::{Auth, Kind, Methods, Per};

#[test]
fn a_route_is_what_is_written() {
    let routes = r#"
        [[route]]
        name = "orders"
        hosts = ["api.example.com"]
        methods = ["GET", "PATCH"]
        paths = ["/api/orders/{id}", "/orders/*"]
        upstream = "demo"
        roles = ["user", "admin"]
        permissions = ["agents:publish"]
        tiers = ["pro"]
        features = ["swarm-agents"]
        rewrite = { "/api" = "/" }
        limits = [{ per = "ip", requests = ["20/second", "500/minute"] }, { per = "key", concurrent = 5 }]
        tier_limits = false
        in_disabled_tenant = true
        forward_credential = true
        max_body_bytes = 0
        timeouts = { response = "5m", first_byte = "10m", total = "1h" }
        websocket = true
        websocket_idle = "2h"
        expiry_grace = "0s"
        cors = { origins = ["https://app.example.com"], credentials = true }
    "#;
    let policy = read(routes, ROLES, TIERS, "").unwrap().policy;
    let route = policy.routes.find("api.example.com", "GET", "/api/orders/7").unwrap();
    assert_eq!((&*route.name, &*route.upstream, route.auth), ("orders", "demo", Auth::Required));
    assert!(policy.routes.find("www.example.com", "GET", "/api/orders/7").is_err());
    assert_eq!(route.methods, Methods::parse(["PATCH", "GET"]).unwrap());
    assert_eq!((&*route.demand.roles[0], &*route.demand.tiers[0]), ("user", "pro"));
    assert_eq!((route.demand.permissions[0].as_str(), &*route.demand.features[0]), ("agents:publish", "swarm-agents"));
    assert_eq!(route.forward_path("/api/orders/7"), "/orders/7");
    let limits = route.limits.iter().map(|limit| &*limit.name).collect::<Vec<_>>();
    assert_eq!(limits, ["orders-ip-second", "orders-ip-minute", "orders-key-concurrent"]);
    assert_eq!((route.limits[2].per, route.limits[2].kind), (Per::Key, Kind::Concurrent(5)));
    assert_eq!((route.tier_limits, route.forward_credential, route.max_body), (false, true, Some(0)));
    assert_eq!((route.timeouts.connect, route.timeouts.response), (None, Some(Duration::from_mins(5))));
    assert_eq!(route.timeouts.first_byte, Some(Duration::from_mins(10)));
    assert_eq!(route.timeouts.total, Some(Duration::from_hours(1)));
    assert!(route.websocket && route.in_disabled_tenant);
    assert_eq!((route.websocket_idle, route.expiry_grace), (Duration::from_hours(2), Duration::ZERO));
    let cors = route.cors.as_ref().unwrap();
    assert!(cors.preflight("https://app.example.com", "PATCH", None).is_ok());
    assert!(cors.preflight("https://app.example.com", "DELETE", None).is_err());
}

#[test]
fn what_a_route_leaves_out_has_the_safest_default() {
    let routes = "[[route]]\nname = \"a\"\npaths = [\"/a\"]\nupstream = \"demo\"\n";
    let policy = read(routes, ROLES, TIERS, "").unwrap().policy;
    let route = &policy.routes.routes()[0];
    assert_eq!((route.auth, route.methods, route.tier_limits), (Auth::Required, Methods::ALL, true));
    assert!(!route.forward_credential && route.cors.is_none() && route.demand.is_empty() && route.hosts.is_empty());
    assert!(route.limits.is_empty() && route.max_body.is_none() && !route.in_disabled_tenant);
}

#[test]
fn paths_methods_and_hosts_that_cannot_be_are_reported() {
    let routes = r#"
[[route]]
name = "a"
hosts = ["*", "https://x", "ok.example.com"]
methods = ["GET", "get", "TRACE"]
paths = ["a", "/a//b", "/a/*/b", "/%61", "/a/../b", "/{a", "/ok", "/é"]
upstream = "demo"
[[route]]
name = "b"
hosts = []
methods = []
paths = []
upstream = "demo"
"#;
    insta::assert_snapshot!(wrong_routes(routes), @r#"
    routes.toml:4:10: leave `hosts` out to accept every host
    routes.toml:4:15: "https://x": write the name alone, without scheme, port, path or trailing dot
    routes.toml:5:19: "get" is not a method: choose from GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS (in capitals)
    routes.toml:5:26: TRACE is always refused and cannot be exposed
    routes.toml:6:10: "a" is no path to expose: no request can match it: the path must begin with `/`
    routes.toml:6:15: "/a//b" is no path to expose: no request can match it: the path holds an empty segment
    routes.toml:6:24: "/a/*/b" is no path to expose: `*` stands alone as the last segment, such as "/files/*"; for one segment write "{name}"
    routes.toml:6:34: "/%61" is no path to expose: requests are read in another spelling; write "/a"
    routes.toml:6:42: "/a/../b" is no path to expose: no request can match it: the path holds a `.` or `..` segment
    routes.toml:6:53: "/{a" is no path to expose: a parameter is a whole segment of letters, digits and `_` in braces, such as "/users/{id}"
    routes.toml:6:67: "/é" is no path to expose: no request can match it: the path holds a character that must be percent-encoded
    routes.toml:10:9: leave `hosts` out to answer on every host
    routes.toml:11:11: leave `methods` out to take all of them
    routes.toml:12:9: a route without paths exposes nothing
    "#);
}

#[test]
fn rewrites_that_cannot_be_or_never_happen_are_reported() {
    let rewrite = r#"rewrite = { "/a/x" = "/b/../c", "a" = "/b", "/a/%61" = "/c", "/b" = "/c", "/a/{id}" = "/", "/a/b/c" = "/%62" }"#;
    insta::assert_snapshot!(wrong_route(rewrite), @r#"
    routes.toml:5:22: "/b/../c" cannot be a path: the path holds a `.` or `..` segment
    routes.toml:5:33: "a" cannot be a path: the path must begin with `/`
    routes.toml:5:45: paths are read and written in another spelling; write "/a/a"
    routes.toml:5:62: no path of this route begins with `/b`
    routes.toml:5:75: "/a/{id}" cannot be a path: the path holds a character that must be percent-encoded
    routes.toml:5:103: paths are read and written in another spelling; write "/b"
    "#);
    insta::assert_snapshot!(wrong_route("rewrite = { \"/a\" = \"/\", \"/a/\" = \"/b\" }"), @r#"routes.toml:5:13: "/a" is rewritten twice"#);
}

#[test]
fn a_rewrite_may_name_what_a_parameter_or_a_star_stands_for() {
    let route = "[[route]]\nname = \"a\"\npaths = [\"/t/{tenant}/api/*\"]\nupstream = \"demo\"\n";
    let policy =
        read(&format!("{route}rewrite = {{ \"/t/acme/api/v2\" = \"/acme\" }}"), ROLES, TIERS, "").unwrap().policy;
    assert_eq!(policy.routes.routes()[0].forward_path("/t/acme/api/v2/x"), "/acme/x");
}

#[test]
fn cross_origin_rules_that_cannot_be_are_reported() {
    let cors = |rules: &str| wrong_route(&format!("cors = {{ {rules} }}"));
    insta::assert_snapshot!(cors("origins = [\"*\"], credentials = true"), @"routes.toml:5:41: `*` cannot be combined with credentials; list the origins");
    insta::assert_snapshot!(cors("origins = [\"https://a.example\", \"a.example\"], headers = [\"ok\"]"), @r#"routes.toml:5:42: "a.example" is not an origin: write scheme, host and perhaps port in lower case, such as "https://app.example.com""#);
    insta::assert_snapshot!(cors("origins = [\"https://a.example\"], headers = [\"o k\"], methods = [\"GET\"]"), @r#"routes.toml:5:54: "o k" is not a header name"#);
    insta::assert_snapshot!(cors("origins = [], max_age = \"long\""), @r#"
    routes.toml:5:20: without origins nothing is allowed; leave the cors table out instead
    routes.toml:5:34: "long" is not a length of time: a whole number and ms, s, m, h or d, such as "250ms" or "30s", and a hundred years at most
    "#);
    insta::assert_snapshot!(cors("origins = [], methods = [\"LIST\"]"), @r#"routes.toml:5:35: "LIST" is not a method: choose from GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS (in capitals)"#);
    insta::assert_snapshot!(cors("headers = []"), @"routes.toml:5:8: `origins` is missing");
}

#[test]
fn timeouts_that_cannot_be_are_reported() {
    insta::assert_snapshot!(wrong_route("timeouts = { connect = \"0s\", response = \"5 minutes\", idel = \"5s\" }"), @r#"
    routes.toml:5:24: a timeout of nothing would end every request
    routes.toml:5:41: "5 minutes" is not a length of time: a whole number and ms, s, m, h or d, such as "250ms" or "30s", and a hundred years at most
    routes.toml:5:54: unknown key `idel`; did you mean `idle`?
    "#);
}

#[test]
fn two_routes_of_one_name_are_reported() {
    let routes = r#"
[[route]]
name = "a"
paths = ["/a"]
upstream = "demo"
[[route]]
name = "a"
paths = ["/b"]
upstream = "demo"
"#;
    insta::assert_snapshot!(wrong_routes(routes), @"routes.toml:7:8: another route is named `a`, at routes.toml:3:8");
}

#[test]
fn every_overlap_is_reported_with_both_places() {
    let routes = r#"
[[route]]
name = "a"
methods = ["GET", "POST"]
paths = ["/x/{id}", "/y/*"]
upstream = "demo"
[[route]]
name = "b"
methods = ["POST", "PUT"]
paths = ["/z", "/x/{name}/"]
upstream = "demo"
[[route]]
name = "c"
paths = ["/y/*"]
upstream = "demo"
[[route]]
name = "d"
methods = ["DELETE"]
paths = ["/y/*"]
upstream = "demo"
[[route]]
name = "e"
hosts = ["x.example.com", "a.example.com"]
paths = ["/e", "/f", "/e/"]
upstream = "demo"
[[route]]
name = "f"
hosts = ["A.example.com"]
paths = ["/f"]
upstream = "demo"
"#;
    insta::assert_snapshot!(wrong_routes(routes), @r#"
    routes.toml:10:16: routes `b` and `a` (routes.toml:5:10) overlap: both take POST here
    routes.toml:14:10: routes `c` and `a` (routes.toml:5:21) overlap: both take GET, POST here
    routes.toml:24:22: `/e/` is listed twice
    routes.toml:29:10: routes `f` and `e` (routes.toml:24:16) overlap: both take GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS here
    "#);
}

#[test]
fn a_route_for_client_certificates_needs_an_authority_that_signs_them() {
    let read = |without_client_ca: bool| {
        let names = BTreeSet::from(["demo".to_owned()]);
        let upstreams = Upstreams { names, without_client_ca, ..Upstreams::default() };
        let text = "[[route]]\nname = \"a\"\npaths = [\"/a\"]\nupstream = \"demo\"\nauth = \"mtls\"\n";
        read_knowing(&upstreams, text, ROLES, TIERS, "")
    };
    insta::assert_snapshot!(read(true).unwrap_err(), @r#"routes.toml:2:8: auth = "mtls" lets nobody in: [tls] of gateway.toml names no client_ca"#);
    assert!(read(false).is_ok());
}

#[test]
fn what_is_said_of_websockets_needs_them() {
    insta::assert_snapshot!(wrong_route("websocket_idle = \"1h\""), @"routes.toml:5:18: a route without websocket = true has no WebSockets to close");
    insta::assert_snapshot!(wrong_route("websocket = false\nwebsocket_idle = \"1h\""), @"routes.toml:6:18: a route without websocket = true has no WebSockets to close");
}

#[test]
fn a_websocket_to_a_pool_that_speaks_http_2_only_is_refused() {
    let calls = || BTreeSet::from(["calls".to_owned()]);
    let names = [calls(), BTreeSet::from(["demo".to_owned()])].into_iter().flatten().collect();
    let upstreams = Upstreams { names, without_websocket: calls(), ..Upstreams::default() };
    let route = |upstream: &str, websocket: bool| {
        let text =
            format!("[[route]]\nname = \"a\"\npaths = [\"/a\"]\nupstream = \"{upstream}\"\nwebsocket = {websocket}\n");
        read_knowing(&upstreams, &text, ROLES, TIERS, "")
    };
    insta::assert_snapshot!(route("calls", true).unwrap_err(), @"routes.toml:5:13: `calls` speaks HTTP/2 only; a WebSocket needs HTTP/1.1");
    assert!(route("calls", false).is_ok() && route("demo", true).is_ok());
}
