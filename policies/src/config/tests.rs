//! Every way in which the four files can be wrong, each with its place and text.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::{Amount, Auth, Kind, Methods, Per, cases};

const ROLES: &str = "
[role.admin]
permissions = [\"*\"]
[role.user]
permissions = [\"account:manage\", \"agents:*\"]
";
const TIERS: &str = "
[tier.free]
limits = [{ per = \"user\", requests = \"100/minute\", concurrent = 20 }]
[tier.pro]
features = [\"swarm-agents\"]
quotas = { storage_gb = 200, workbenches = \"unlimited\" }
price = \"99 USD/month\"
";

fn read(routes: &str, roles: &str, tiers: &str, cases: &str) -> Result<Loaded, String> {
    let names = BTreeSet::from(["admin-api".to_owned(), "demo".to_owned()]);
    read_knowing(&Upstreams { names, ..Upstreams::default() }, routes, roles, tiers, cases)
}

fn read_knowing(upstreams: &Upstreams, routes: &str, roles: &str, tiers: &str, cases: &str) -> Result<Loaded, String> {
    let sources = Sources {
        routes: Source { name: "routes.toml", text: routes },
        roles: Source { name: "roles.toml", text: roles },
        tiers: Source { name: "tiers.toml", text: tiers },
        cases: Source { name: "cases.toml", text: cases },
    };
    let told = |wrong: Vec<Diagnostic>| wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    load(&sources, Some(upstreams)).map_err(told)
}

fn wrong_routes(routes: &str) -> String {
    read(routes, ROLES, TIERS, "").unwrap_err()
}

/// What is wrong with one route that is otherwise good; its header is line 1, `more` begins at line 5.
fn wrong_route(more: &str) -> String {
    wrong_routes(&format!("[[route]]\nname = \"a\"\npaths = [\"/a/*\"]\nupstream = \"demo\"\n{more}\n"))
}

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
    assert!(route.websocket);
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
    assert!(route.limits.is_empty() && route.max_body.is_none());
}

#[test]
fn a_tier_is_what_is_written() {
    let policy = read("", ROLES, TIERS, "").unwrap().policy;
    let pro = policy.tiers.get("pro").unwrap();
    assert_eq!((pro.quotas["storage_gb"], pro.quotas["workbenches"]), (Amount::Finite(200), Amount::Unlimited));
    assert_eq!(pro.price.as_ref().unwrap().to_string(), "99.00 USD/month");
    assert!(pro.limits.is_empty() && pro.features.contains("swarm-agents"));
    assert_eq!(policy.tiers.get("free").unwrap().limits.len(), 2);
}

#[test]
fn a_misspelt_key_is_reported_and_the_rest_is_still_looked_at() {
    insta::assert_snapshot!(wrong_route("metods = [\"GET\"]\nroles = [\"amdin\"]"), @r#"
    routes.toml:5:1: unknown key `metods`; did you mean `methods`?
    routes.toml:6:10: there is no role `amdin`; did you mean `admin`?
    "#);
}

#[test]
fn names_that_other_files_do_not_know_are_reported() {
    let routes = r#"
[[route]]
name = "a"
paths = ["/a"]
upstream = "dmeo"
roles = ["user", "usr"]
permissions = ["acount:manage", "agents:fly"]
tiers = ["gold"]
features = ["swarm-agent"]
"#;
    insta::assert_snapshot!(wrong_routes(routes), @r#"
    routes.toml:5:12: there is no upstream `dmeo`; did you mean `demo`?
    routes.toml:6:18: there is no role `usr`; did you mean `user`?
    routes.toml:7:16: no role in roles.toml names the permission `acount:manage` (`*` alone does not count); did you mean `account:manage`?
    routes.toml:8:10: there is no tier `gold`
    routes.toml:9:13: there is no tier with the feature `swarm-agent`; did you mean `swarm-agents`?
    "#);
}

#[test]
fn a_permission_that_only_the_star_grants_is_taken_for_a_misspelling() {
    insta::assert_snapshot!(wrong_route("permissions = [\"billing:close\"]"), @"routes.toml:5:16: no role in roles.toml names the permission `billing:close` (`*` alone does not count)");
    let roles = ROLES.replace("[\"*\"]", "[\"*\", \"billing:close\"]");
    let routes = "[[route]]\nname = \"a\"\npaths = [\"/a\"]\nupstream = \"demo\"\npermissions = [\"billing:close\"]\n";
    assert!(read(routes, &roles, TIERS, "").is_ok());
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
fn rates_that_cannot_be_are_reported() {
    let limits = r#"limits = [
    { per = "ip", requests = "-5/minute" },
    { per = "ip", requests = ["0/minute", "5/month", "5 per minute", "5/fortnight", 5] },
    { per = "user", concurrent = 0 },
    { per = "user", concurrent = -1 },
    { per = "user" },
    { per = "users", requests = "5/minute" },
    { requests = "5/minute" },
    { per = "key", requests = ["5/minute", "6/60s"] },
    { per = "user", concurrent = 7, max_overshoot = -1 },
]"#;
    insta::assert_snapshot!(wrong_route(limits), @r#"
    routes.toml:6:30: a quota cannot be negative: "-5"
    routes.toml:7:31: a quota of 0 would refuse everybody; demand a role or a tier instead, or leave the route out
    routes.toml:7:43: a quota per calendar month is not supported yet; the longest window is "31d"
    routes.toml:7:54: a quota is written as "100/minute", "5/30s" or "unlimited"; "5 per minute" has no window
    routes.toml:7:70: "fortnight" is not a window: write second, minute, hour, day, or a length such as 30s, 5m, 2h, 1d (at most 31d)
    routes.toml:7:85: invalid type: integer `5`, expected a string
    routes.toml:8:34: not a whole number of requests from 1 to 4294967295
    routes.toml:9:34: not a whole number of requests from 1 to 4294967295
    routes.toml:10:5: nothing is limited: write `requests` or `concurrent`
    routes.toml:11:13: unknown value `users`; did you mean `user`?
    routes.toml:12:5: `per` is missing
    routes.toml:13:44: there is another limit of the same kind and length per key
    routes.toml:14:53: only `requests` can be overshot
    routes.toml:14:53: not a whole number of requests from 0 to 4294967295
    "#);
}

#[test]
fn demands_that_strangers_are_to_meet_are_reported() {
    insta::assert_snapshot!(wrong_route("auth = \"none\"\nroles = [\"user\"]\npermissions = [\"agents:read\"]"), @r#"
    routes.toml:6:9: with auth = "none" nobody is known, and nobody can meet a demand
    routes.toml:7:15: with auth = "none" nobody is known, and nobody can meet a demand
    "#);
    insta::assert_snapshot!(wrong_route("auth = \"optional\"\ntiers = [\"pro\"]\nfeatures = [\"swarm-agents\"]"), @r#"
    routes.toml:6:9: with auth = "optional" strangers come in, who cannot meet a demand
    routes.toml:7:12: with auth = "optional" strangers come in, who cannot meet a demand
    "#);
    insta::assert_snapshot!(wrong_route("auth = \"non\""), @"routes.toml:5:8: unknown value `non`; did you mean `none`?");
    insta::assert_snapshot!(wrong_route("auth = \"none\"\nlimits = [{ per = \"user\", concurrent = 1 }]"), @r#"routes.toml:6:11: with auth = "none" nobody is known; write per = "ip""#);
}

#[test]
fn a_demand_of_nothing_is_reported_because_it_reads_like_a_demand() {
    insta::assert_snapshot!(wrong_route("roles = []\ntiers = []\nfeatures = []\npermissions = []"), @r#"
    routes.toml:5:9: an empty list demands nothing and would let everybody in; leave it out
    routes.toml:6:9: an empty list demands nothing and would let everybody in; leave it out
    routes.toml:7:12: an empty list demands nothing and would let everybody in; leave it out
    routes.toml:8:15: an empty list demands nothing and would let everybody in; leave it out
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
    routes.toml:5:34: "long" is not a length of time: a whole number and ms, s, m, h or d, such as "250ms" or "30s"
    "#);
    insta::assert_snapshot!(cors("origins = [], methods = [\"LIST\"]"), @r#"routes.toml:5:35: "LIST" is not a method: choose from GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS (in capitals)"#);
    insta::assert_snapshot!(cors("headers = []"), @"routes.toml:5:8: `origins` is missing");
}

#[test]
fn timeouts_that_cannot_be_are_reported() {
    insta::assert_snapshot!(wrong_route("timeouts = { connect = \"0s\", response = \"5 minutes\", idel = \"5s\" }"), @r#"
    routes.toml:5:24: a timeout of nothing would end every request
    routes.toml:5:41: "5 minutes" is not a length of time: a whole number and ms, s, m, h or d, such as "250ms" or "30s"
    routes.toml:5:54: unknown key `idel`; did you mean `idle`?
    "#);
}

#[test]
fn names_that_would_not_do_as_labels_are_reported() {
    let routes = "[[route]]\nname = \"Überweisung 1\"\npaths = [\"/a\"]\nupstream = \"demo\"\n";
    let roles = "[role.\"\"]\npermissions = []\n[role.user]\npermissions = [\"account:manage\", \"agents:*\"]\n";
    let tiers = format!("{TIERS}[tier.Gold]\nfeatures = [\"Swarm Agents\"]\nquotas = {{ \"GB\" = 1 }}\n");
    insta::assert_snapshot!(read(routes, roles, &tiers, "").unwrap_err(), @r#"
    routes.toml:2:8: `Überweisung 1` is not a name: 1 to 64 of a-z, 0-9, `-` and `_`
    roles.toml:1:7: `` is not a name: 1 to 64 of a-z, 0-9, `-` and `_`
    tiers.toml:8:7: `Gold` is not a name: 1 to 64 of a-z, 0-9, `-` and `_`
    tiers.toml:9:13: `Swarm Agents` is not a name: 1 to 64 of a-z, 0-9, `-` and `_`
    tiers.toml:10:12: `GB` is not a name: 1 to 64 of a-z, 0-9, `-` and `_`
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
fn roles_and_tiers_that_cannot_be_are_reported() {
    let roles = r#"
[role.admin]
permissions = ["*"]
[role.user]
permissions = ["Agents:read", "agents:*:x", "agents:*", ""]
permission = []
[role.none]
"#;
    let tiers = r#"
[tier.free]
price = "29 dollars"
limits = [{ per = "user", requests = "100/minut" }]
quotas = { storage_gb = -1, workbenches = "many", seats = 1.5 }
[tier.pro]
limit = []
features = "swarm-agents"
"#;
    insta::assert_snapshot!(read("", roles, tiers, "").unwrap_err(), @r#"
    roles.toml:5:16: "Agents:read" is not a permission: words of a-z, 0-9, `_` and `-`, joined by `:`, such as "agents:publish"
    roles.toml:5:31: "agents:*:x": `*` stands alone ("*") or for everything below a word ("agents:*")
    roles.toml:5:57: "" is not a permission: words of a-z, 0-9, `_` and `-`, joined by `:`, such as "agents:publish"
    roles.toml:6:1: unknown key `permission`; did you mean `permissions`?
    roles.toml:7:1: `permissions` is missing
    tiers.toml:3:9: "29 dollars" is not a price: write it as "29 USD/month" or "299.90 EUR/year"
    tiers.toml:4:38: "minut" is not a window: write second, minute, hour, day, or a length such as 30s, 5m, 2h, 1d (at most 31d)
    tiers.toml:5:25: "-1" is not an amount: a whole number, or "unlimited"
    tiers.toml:5:43: "many" is not an amount: a whole number, or "unlimited"
    tiers.toml:5:59: invalid type: floating point `1.5`, expected a whole number or "unlimited"
    tiers.toml:7:1: unknown key `limit`; did you mean `limits`?
    tiers.toml:8:12: invalid type: string "swarm-agents", expected a sequence
    "#);
}

#[test]
fn cases_that_cannot_be_are_reported() {
    let routes = "[[route]]\nname = \"a\"\npaths = [\"/a/*\"]\nupstream = \"demo\"\n";
    let cases = r#"
[[case]]
name = "one"
caller = { role = "usr", tier = "fre", scopes = ["Agents:*"] }
request = "/a"
answer = "permitted"
route = "b"
[[case]]
name = "two"
request = ["GET /a", "GET", ""]
answer = "rate_limited"
[[case]]
name = "three"
request = []
answer = "permit"
[[case]]
name = "four"
request = "GET /a"
answer = "forbidden"
route = "a"
[[case]]
name = "five"
request = 5
"#;
    insta::assert_snapshot!(read(routes, ROLES, TIERS, cases).unwrap_err(), @r#"
    cases.toml:4:19: there is no role `usr`; did you mean `user`?
    cases.toml:4:33: there is no tier `fre`; did you mean `free`?
    cases.toml:4:50: "Agents:*" is not a permission: words of a-z, 0-9, `_` and `-`, joined by `:`, such as "agents:publish"
    cases.toml:5:11: a request is a method and a path, such as "GET /health"
    cases.toml:6:10: a case cannot be answered `permitted`; answers are permit, malformed, no_route, method_not_allowed, missing_credential, forbidden, insufficient_user_authentication, not_found; did you mean `permit`?
    cases.toml:7:9: there is no route `b`
    cases.toml:10:22: a request is a method and a path, such as "GET /health"
    cases.toml:10:29: a request is a method and a path, such as "GET /health"
    cases.toml:11:10: a case cannot be answered `rate_limited`; answers are permit, malformed, no_route, method_not_allowed, missing_credential, forbidden, insufficient_user_authentication, not_found
    cases.toml:14:11: without a request nothing is tried
    cases.toml:20:9: a request that is refused reaches no route and is not forwarded
    cases.toml:21:1: `answer` is missing
    cases.toml:23:11: invalid type: integer `5`, expected a string or a list of strings
    "#);
}

#[test]
fn a_request_without_a_method_or_without_a_path_is_no_request() {
    let cases = "[[case]]\nname = \"one\"\nrequest = [\" /a\", \"GET \", \"GET /a\"]\nanswer = \"no_route\"\n";
    insta::assert_snapshot!(read("", ROLES, TIERS, cases).unwrap_err(), @r#"
    cases.toml:3:12: a request is a method and a path, such as "GET /health"
    cases.toml:3:19: a request is a method and a path, such as "GET /health"
    "#);
}

#[test]
fn a_broken_case_is_reported_with_its_place() {
    let routes = "[[route]]\nname = \"a\"\npaths = [\"/a/*\"]\nupstream = \"demo\"\n";
    let cases = "[[case]]\nname = \"strangers come in\"\nrequest = [\n  \"GET /b\",\n  \"GET /a/x\",\n]\nanswer = \"no_route\"\n";
    let Loaded { policy, cases } = read(routes, ROLES, TIERS, cases).unwrap();
    let failures = cases::run(&policy, &cases);
    insta::assert_snapshot!(failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"), @r#"cases.toml:5:3: "strangers come in": GET /a/x on localhost by a stranger: expected no_route; got missing_credential (Send `Authorization: Bearer <access token or API key>` or `X-API-Key: <API key>`)"#);
}

#[test]
fn errors_of_all_files_are_reported_at_once() {
    let routes = "[[rout]]\nname = \"a\"\n";
    insta::assert_snapshot!(read(routes, "[roles.a]\n", "x = 1\n", "[[case]]\n").unwrap_err(), @r#"
    routes.toml:1:3: unknown section `rout`; did you mean `route`?
    roles.toml:1:2: unknown section `roles`; did you mean `role`?
    tiers.toml:1:1: unknown key `x`; known are tier
    cases.toml:1:1: `name` is missing
    cases.toml:1:1: `request` is missing
    cases.toml:1:1: `answer` is missing
    "#);
}

#[test]
fn a_file_that_cannot_be_read_is_no_reason_to_complain_about_others() {
    let routes = r#"
[[route]]
name = "a"
paths = ["/a"]
upstream = "demo"
roles = ["user"]
permissions = ["agents:read"]
tiers = ["free"]
features = ["swarm-agents"]
"#;
    let cases = "[[case]]\nname = \"one\"\ncaller = { role = \"user\", tier = \"free\" }\nrequest = \"GET /a\"\nanswer = \"permit\"\nroute = \"a\"\n";
    insta::assert_snapshot!(read(routes, "[role.user\n", "[tier.free\n", cases).unwrap_err(), @r#"
    roles.toml:1:11: unclosed table, expected `]`
    tiers.toml:1:11: unclosed table, expected `]`
    "#);
    insta::assert_snapshot!(read("[[route]\n", ROLES, TIERS, cases).unwrap_err(), @"routes.toml:1:9: unclosed array table, expected `]`");
    // Nor is a section of it.
    let roles = "[role.user]\npermissions = 5\n";
    let tiers = "[tier.free]\nfeatures = 5\n";
    insta::assert_snapshot!(read(routes, roles, tiers, cases).unwrap_err(), @"
    roles.toml:2:15: invalid type: integer `5`, expected a sequence
    tiers.toml:2:12: invalid type: integer `5`, expected a sequence
    ");
}

#[test]
fn upstreams_that_cannot_be_known_are_not_complained_about() {
    let text = "[[route]]\nname = \"a\"\npaths = [\"/a\"]\nupstream = \"anything\"\n";
    let source = |name, text| Source { name, text };
    let sources = Sources {
        routes: source("routes.toml", text),
        roles: source("roles.toml", ""),
        tiers: source("tiers.toml", ""),
        cases: source("cases.toml", ""),
    };
    assert!(load(&sources, None).is_ok());
    assert!(load(&sources, Some(&Upstreams::default())).is_err());
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

#[test]
fn a_route_may_demand_that_its_caller_was_seen_lately_and_cases_can_say_so() {
    let route =
        "[[route]]\nname = \"a\"\npaths = [\"/a\"]\nupstream = \"demo\"\nacr = \"mfa\"\nmax_auth_age = \"5m\"\n";
    let case = |caller: &str, answer: &str| {
        let caller = format!("{{ role = \"user\", tier = \"free\"{caller} }}");
        format!("[[case]]\nname = \"one\"\ncaller = {caller}\nrequest = \"GET /a\"\nanswer = \"{answer}\"\n")
    };
    let refused = "insufficient_user_authentication";
    for (caller, answer) in [
        (", acr = \"mfa\"", "permit"),
        (", acr = \"mfa\", auth_age = \"5m\"", "permit"),
        (", acr = \"mfa\", auth_age = \"301s\"", refused),
        ("", refused),
        (", scopes = [\"agents:read\"]", refused),
    ] {
        for wrong in ["permit", refused] {
            let Loaded { policy, cases } = read(route, ROLES, TIERS, &case(caller, wrong)).unwrap();
            assert_eq!(cases::run(&policy, &cases).is_empty(), wrong == answer, "{caller}: {wrong}");
        }
    }
    let Loaded { policy, cases } = read(route, ROLES, TIERS, &case(", auth_age = \"1m\"", "permit")).unwrap();
    insta::assert_snapshot!(cases::run(&policy, &cases)[0], @r#"cases.toml:4:11: "one": GET /a on localhost by role user, tier free, seen 60 s ago: expected permit; got insufficient_user_authentication (This needs a session with a second factor, whose owner has shown who they are within 300 seconds)"#);
    let by_key = case(", scopes = [\"agents:read\"], acr = \"mfa\"", "permit");
    insta::assert_snapshot!(read(route, ROLES, TIERS, &by_key).unwrap_err(), @"cases.toml:3:74: an API key has no owner who has shown who they are");
    for auth in ["optional", "none", "mtls"] {
        assert!(read(&format!("{route}auth = \"{auth}\"\n"), ROLES, TIERS, "").is_err(), "{auth}");
    }
    let wrong = format!("{}auth = \"none\"\n", route.replace("5m", "0s"));
    insta::assert_snapshot!(read(&wrong, ROLES, TIERS, "").unwrap_err(), @r#"
    routes.toml:5:7: with auth = "none" nobody is known, and nobody can meet a demand
    routes.toml:6:16: nobody can have shown anything at this very moment
    "#);
}

#[test]
fn what_a_path_names_may_have_to_be_the_callers() {
    let route = |paths: &str, more: &str| {
        format!(
            "[[route]]\nname = \"a\"\npaths = [{paths}]\nupstream = \"demo\"\nowner = \"agent_instance:{{id}}\"\n{more}"
        )
    };
    let good = route("\"/a/{id}\", \"/b/{id}/*\"", "owner_admins = true\n");
    let loaded = read(&good, ROLES, TIERS, "").unwrap();
    let owner = loaded.policy.routes.routes()[0].demand.owner.clone().unwrap();
    assert_eq!((owner.kind, owner.place, owner.admins), (crate::ResourceKind::AgentInstance, 1, true));
    let id = "0190a5a0-0000-7000-8000-000000000000";
    assert_eq!(owner.named_in(&format!("/b/{id}/x")).map(|id| id.to_string()).as_deref(), Some(id));
    for nameless in ["/b/7", "/b", "/b/0190a5a0000070008000000000000000", "/b/{0190a5a0-0000-7000-8000-000000000000}"] {
        assert_eq!(owner.named_in(nameless), None, "{nameless}");
    }
    let wrong = |paths: &str, more: &str| read(&route(paths, more), ROLES, TIERS, "").unwrap_err();
    insta::assert_snapshot!(wrong("\"/a/{id}\", \"/b\"", ""), @"routes.toml:3:21: `owner` needs the parameter {id}, which this path has not");
    insta::assert_snapshot!(wrong("\"/a/{id}\", \"/b/x/{id}\"", ""), @"routes.toml:3:21: {id} stands at another place here than in the route's first path");
    insta::assert_snapshot!(wrong("\"/a/{id}\"", "auth = \"none\"\n"), @r#"routes.toml:5:9: only with auth = "required" there is an account that could own something"#);
    let other = |owner: &str| read(&good.replace("agent_instance:{id}", owner), ROLES, TIERS, "").unwrap_err();
    insta::assert_snapshot!(other("agents:{id}"), @"routes.toml:5:9: there is nothing called `agents` that is owned; known are agent, agent_instance");
    insta::assert_snapshot!(other("agent:id"), @r#"routes.toml:5:9: what is owned is a kind and a parameter of the path, such as "agent_instance:{id}""#);
    insta::assert_snapshot!(wrong_route("owner_admins = true"), @"routes.toml:5:16: without `owner` nothing is demanded from which administrators could be free");
}

#[test]
fn a_route_shows_a_key_at_a_provider() {
    let routes = "[[route]]\nname = \"a\"\npaths = [\"/a\"]\nupstream = \"demo\"\n\
                  inject_credential = { service = \"openai\", header = \"Authorization\", format = \"Bearer {key}\" }\n";
    let policy = read(routes, ROLES, TIERS, "").unwrap().policy;
    let injection = policy.routes.routes()[0].inject_credential.as_deref().unwrap();
    assert_eq!(
        (&*injection.service, injection.header(), injection.around()),
        ("openai", "authorization", ("Bearer ", ""))
    );
}

#[test]
fn a_key_that_cannot_be_shown_so_is_reported() {
    let all = [
        "inject_credential = { service = \"Open AI\", header = \"Authorization\" }",
        "inject_credential = { service = \"openai\", header = \"X-User-Id\" }",
        "inject_credential = { service = \"openai\", header = \"Connection\" }",
        "inject_credential = { service = \"openai\", header = \"a b\" }",
        "inject_credential = { service = \"openai\", header = \"Authorization\", format = \"Bearer\" }",
        "inject_credential = { service = \"openai\", headers = \"Authorization\" }",
        "auth = \"none\"\ninject_credential = { service = \"openai\", header = \"Authorization\" }",
        "auth = \"mtls\"\ninject_credential = { service = \"openai\", header = \"Authorization\" }",
        "forward_credential = true\ninject_credential = { service = \"openai\", header = \"Authorization\" }",
    ];
    insta::assert_snapshot!(all.map(wrong_route).join("\n"), @r#"
    routes.toml:5:33: a service is 1 to 64 of a-z, 0-9, `_` and `-`, such as "openai"
    routes.toml:5:52: this header says who the caller is or how the request travels, and cannot carry a provider's key
    routes.toml:5:52: this header says who the caller is or how the request travels, and cannot carry a provider's key
    routes.toml:5:52: a header's name is letters, digits and `-`, such as "Authorization" or "X-Goog-Api-Key"
    routes.toml:5:78: write `{key}` once where the key belongs, such as "Bearer {key}"; the rest is visible ASCII that does not end in spaces
    routes.toml:5:21: `header` is missing
    routes.toml:5:43: unknown key `headers`; did you mean `header`?
    routes.toml:6:21: only whoever is known has keys at providers: auth = "required"
    routes.toml:6:21: holders of client certificates have no keys at providers: auth = "required"
    routes.toml:6:21: with forward_credential = true a provider would be shown the caller's credential as well
    "#);
}

#[test]
fn a_provider_is_told_only_what_is_said_and_never_in_clear() {
    let set = |name: &str| BTreeSet::from([name.to_owned()]);
    let names = ["talks", "clear", "good"].map(str::to_owned).into();
    let upstreams = Upstreams { names, without_headers: set("talks"), in_clear: set("clear"), ..Upstreams::default() };
    let route = |upstream: &str, more: &str| {
        let text = format!("[[route]]\nname = \"a\"\npaths = [\"/a\"]\nupstream = \"{upstream}\"\n{more}");
        read_knowing(&upstreams, &text, ROLES, TIERS, "")
    };
    let injects = "inject_credential = { service = \"openai\", header = \"Authorization\" }\n";
    assert!(route("good", injects).is_ok() && route("talks", "").is_ok() && route("clear", "").is_ok());
    insta::assert_snapshot!(["talks", "clear"].map(|upstream| route(upstream, injects).unwrap_err()).join("\n"), @r#"
    routes.toml:5:21: `talks` would be sent every caller's id, address and a signed assertion: say in [upstreams.talks] what it may know, such as headers = ["x-request-id"]
    routes.toml:5:21: keys at providers would travel to `clear` in clear: give it a `tls` table, or servers on this machine
    "#);
}
