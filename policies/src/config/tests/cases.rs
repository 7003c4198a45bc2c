//! The fourth file: what is expected of the other three.

use super::*;
use crate::cases;

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
