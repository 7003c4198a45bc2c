//! Cases that hold, and what is said of those that do not.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::*;
use crate::{Auth, PathPattern, Permissions, Rewrite, Roles, Route, RouteTable, Tier, Tiers};

/// `/open/*` for everybody, forwarded as `/*`; `/closed` for administrators.
fn policy() -> Policy {
    let open = Route {
        auth: Auth::None,
        rewrite: Rewrite::parse([("/open", "/")]).unwrap(),
        ..Route::new("open", "demo", vec![PathPattern::parse("/open/*").unwrap()])
    };
    let mut closed = Route::new("closed", "demo", vec![PathPattern::parse("/closed").unwrap()]);
    closed.demand.roles.push("admin".into());
    Policy {
        routes: RouteTable::build(vec![open, closed]).unwrap(),
        roles: Roles::new([("admin".into(), Permissions::parse(["*"]).unwrap())]),
        tiers: Tiers::new([Tier { name: "free".into(), ..Tier::default() }]),
    }
}

fn case(request: &str, answer: &str) -> Case {
    let (method, path) = request.split_once(' ').unwrap();
    Case {
        name: "a sentence".into(),
        place: "cases.toml:3:11".into(),
        caller: None,
        method: method.into(),
        host: "localhost".into(),
        path: path.into(),
        answer: Answer::parse(answer).unwrap(),
        route: None,
        forwards: None,
    }
}

fn by(role: &str, scopes: Option<&str>) -> Caller {
    Caller {
        owns: false,
        role: role.into(),
        tier: "free".into(),
        scopes: scopes.map(|scope| [scope.into()].into()),
        acr: None,
        auth_age: std::time::Duration::ZERO,
    }
}

#[test]
fn a_caller_has_shown_what_its_role_needs_unless_the_case_says_less() {
    let guarded = Policy { roles: policy().roles.guarded(crate::roles::Guarded::Every), ..policy() };
    let less = Caller { acr: Some(identity::Assurance::Single), ..by("admin", None) };
    let cases = [
        Case { caller: Some(by("admin", None)), ..case("GET /closed", "permit") },
        Case { caller: Some(less), ..case("GET /closed", "insufficient_user_authentication") },
    ];
    assert_eq!(run(&guarded, &cases), []);
}

#[test]
fn a_case_that_holds_is_not_spoken_of() {
    let cases = [
        case("GET /open/x", "permit"),
        Case { route: Some("open".into()), forwards: Some("/x".into()), ..case("GET /open/%78", "permit") },
        case("GET /open/../x", "malformed"),
        case("GET /x", "no_route"),
        case("TRACE /open", "method_not_allowed"),
        case("GET /closed", "missing_credential"),
        Case { caller: Some(by("user", None)), ..case("GET /closed", "forbidden") },
        Case { caller: Some(by("admin", Some("a:b"))), ..case("GET /closed", "forbidden") },
        Case { caller: Some(by("admin", None)), ..case("GET /closed", "permit") },
    ];
    assert_eq!(run(&policy(), &cases), []);
}

#[test]
fn a_case_that_does_not_hold_says_where_what_and_why() {
    let cases = [
        case("GET /open/x", "forbidden"),
        case("GET /open//x", "permit"),
        Case { caller: Some(by("user", None)), ..case("GET /closed", "permit") },
        Case { caller: Some(by("admin", Some("a:b"))), ..case("GET /closed", "no_route") },
        Case { route: Some("closed".into()), ..case("GET /open", "permit") },
        Case { forwards: Some("/open".into()), ..case("GET /open", "permit") },
        case("TRACE /open", "permit"),
    ];
    let failures = run(&policy(), &cases);
    insta::assert_snapshot!(failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"), @r#"
    cases.toml:3:11: "a sentence": GET /open/x on localhost by a stranger: expected forbidden; got permit by route open
    cases.toml:3:11: "a sentence": GET /open//x on localhost by a stranger: expected permit; got malformed (The request is ambiguous or malformed: the path holds an empty segment)
    cases.toml:3:11: "a sentence": GET /closed on localhost by role user, tier free: expected permit; got forbidden (This needs role admin)
    cases.toml:3:11: "a sentence": GET /closed on localhost by role admin, tier free, scopes a:b: expected no_route; got forbidden (This needs role admin and a credential without scopes)
    cases.toml:3:11: "a sentence": GET /open on localhost by a stranger: expected permit by route closed; got permit by route open
    cases.toml:3:11: "a sentence": GET /open on localhost by a stranger: expected permit, forwarded as /open; got permit, forwarded as /
    cases.toml:3:11: "a sentence": TRACE /open on localhost by a stranger: expected permit; got method_not_allowed (This path takes GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS)
    "#);
}

#[test]
fn an_answer_is_one_that_rules_alone_can_give() {
    for word in Answer::words() {
        assert_eq!(Answer::parse(word).unwrap().to_string(), word);
        assert!(word == "permit" || Refusal::CODES.contains(&word), "{word} is no code");
    }
    assert_eq!(Answer::parse("rate_limited"), None);
}
