//! Wildcards, unknown roles and scopes.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::Arc;

use identity::{AccountId, Grant, KeyId};
use uuid::Uuid;

use super::*;

fn permission(text: &str) -> Permission {
    Permission::parse(text).unwrap()
}

fn roles() -> Roles {
    let role = |name: &str, held: &[&str]| (name.into(), Permissions::parse(held.iter().copied()).unwrap());
    Roles::new([role("admin", &["*"]), role("developer", &["agents:*", "metrics", "agents:*"])])
}

fn key_of(role: &str, scopes: Option<&[&str]>) -> Principal {
    let id = Uuid::from_u128(1);
    Principal {
        account: AccountId::new(id),
        role: Arc::from(role),
        tier: Arc::from("free"),
        tenant: None,
        tenant_role: None,
        actor: None,
        is_service: false,
        grant: Grant::Key(KeyId::new(id)),
        scopes: scopes.map(|scopes| scopes.iter().map(|scope| Box::from(*scope)).collect()),
        networks: None,
        authentication: None,
        generation: 0,
    }
}

#[test]
fn a_wildcard_covers_whole_words_only() {
    for (role, name, granted) in [
        ("admin", "anything:at:all", true),
        ("developer", "agents:publish", true),
        ("developer", "agents:publish:mine", true),
        ("developer", "agents", false),
        ("developer", "agentsx:publish", false),
        ("developer", "metrics", true),
        ("developer", "metrics:read", false),
        ("ghost", "metrics", false),
    ] {
        assert_eq!(roles().granted(role, &permission(name)), granted, "{role} {name}");
    }
}

#[test]
fn a_role_that_names_what_services_alone_may_is_no_persons() {
    let role = |name: &str, held: &[&str]| (name.into(), Permissions::parse(held.iter().copied()).unwrap());
    let roles = Roles::new([
        role("service", &["usage:report"]),
        role("bench", &["quota:reserve", "agents:read"]),
        role("analyst", &["usage:*"]),
        role("admin", &["*", "usage:report"]),
    ]);
    for (name, expected) in [("service", true), ("bench", true), ("analyst", false), ("admin", false), ("ghost", false)]
    {
        assert_eq!(roles.is_of_services(name), expected, "{name}");
    }
}

#[test]
fn what_is_no_permission_is_refused() {
    use PermissionError as E;
    for text in ["agents:*", "*", "a*"] {
        assert_eq!(Permission::parse(text), Err(E::Wildcard(text.into())));
    }
    for text in ["a", "a1:2b", "a_b", "swarm-agents:run_now"] {
        assert!(Permission::parse(text).is_ok(), "{text}");
    }
    for text in ["", ":", "a:", ":a", "A", "a b", "a/b", "é"] {
        assert_eq!(Permission::parse(text), Err(E::Malformed(text.into())));
        assert_eq!(Permissions::parse([text]), Err(E::Malformed(text.into())));
    }
    for text in ["a*", "*:a", "a:*:b", "**", "a:b*", "*:*"] {
        assert_eq!(Permissions::parse([text]), Err(E::MisplacedWildcard(text.into())));
    }
    assert_eq!(Permissions::parse([":*"]), Err(E::Malformed(":*".into())));
}

#[test]
fn what_a_caller_holds_is_its_role_narrowed_to_its_scopes() {
    let roles = roles();
    for (role, scopes, held) in [
        ("developer", None, &["agents:*", "metrics"][..]),
        ("developer", Some(&["agents:read", "users:*", "metrics"][..]), &["agents:read", "metrics"]),
        ("developer", Some(&["*"]), &["agents:*", "metrics"]),
        ("developer", Some(&[]), &[]),
        ("admin", Some(&["agents:*"]), &["agents:*"]),
        ("ghost", None, &[]),
        ("ghost", Some(&["*"]), &[]),
    ] {
        let caller = key_of(role, scopes);
        assert_eq!(roles.held_by(&caller), held, "{role} {scopes:?}");
        for name in ["agents:read", "agents:publish", "metrics", "users:list"] {
            let by_list = held.iter().any(|pattern| covers(pattern, name));
            assert_eq!(roles.holds(&caller, &permission(name)), by_list, "{role} {scopes:?} {name}");
        }
    }
}

#[test]
fn roles_are_listed_by_name() {
    assert_eq!(roles().names().collect::<Vec<_>>(), ["admin", "developer"]);
    assert!(roles().contains("admin") && !roles().contains("ghost"));
    assert_eq!(roles().get("developer").unwrap().iter().collect::<Vec<_>>(), ["agents:*", "metrics"]);
}
