//! How the table looks when it is small, and when it is too wide. The shipped one is in `tests/shipped.rs`.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::*;
use crate::{Auth, HostPattern, PathPattern, Permissions, Roles, RouteTable, StepUp, Tier, Tiers};

fn policy(roles: &[&str], tiers: &[&str]) -> Policy {
    let path = |text| PathPattern::parse(text).unwrap();
    let open = Route { auth: Auth::None, ..Route::new("open", "demo", vec![path("/open/*"), path("/also")]) };
    let mut closed = Route::new("closed", "demo", vec![path("/closed")]);
    closed.methods = Methods::parse(["GET"]).unwrap();
    closed.hosts = vec![HostPattern::parse("a.example").unwrap(), HostPattern::parse("*.b.example").unwrap()];
    closed.demand.roles.push(roles[0].into());
    let mut paid = Route::new("paid", "demo", vec![path("/paid")]);
    paid.demand.tiers.push("pro".into());
    let routes = if tiers.contains(&"pro") { vec![open, closed, paid] } else { vec![open, closed] };
    Policy {
        routes: RouteTable::build(routes).unwrap(),
        roles: Roles::new(roles.iter().map(|name| ((*name).into(), Permissions::default()))),
        tiers: Tiers::new(tiers.iter().map(|name| Tier { name: (*name).into(), ..Tier::default() })),
    }
}

#[test]
fn tiers_that_make_no_difference_share_a_column() {
    insta::assert_snapshot!(table(&policy(&["admin", "user"], &["free", "gold", "pro"])), @r#"
    role                             stranger  admin  admin  user  user
    tiers                                      free   pro    free  pro
                                               gold          gold
    open    any  /open/*             yes       yes    yes    yes   yes
                 /also
    closed  GET  a.example/closed    401       yes    yes    403   403
                 *.b.example/closed
    paid    any  /paid               401       403    yes    403   yes
    "#);
}

#[test]
fn what_it_takes_beside_the_role_is_told_where_somebody_may() {
    let path = |text: &str| PathPattern::parse(text).unwrap();
    let step_up = |name: &str, acr, seconds: Option<u64>| {
        let mut route = Route::new(name, "demo", vec![path(&format!("/{name}"))]);
        route.demand.step_up = Some(StepUp { acr, max_age: seconds.map(Duration::from_secs) });
        route
    };
    let mut closed = step_up("closed", Some(Assurance::Multi), None);
    closed.demand.roles.push("admin".into());
    let routes = vec![
        step_up("passkeys", Some(Assurance::PhishingResistant), None),
        step_up("both", Some(Assurance::Multi), Some(60)),
        step_up("lately", None, Some(60)),
        Route { auth: Auth::Mtls, ..Route::new("machines", "demo", vec![path("/machines")]) },
        closed,
    ];
    let policy = Policy { routes: RouteTable::build(routes).unwrap(), ..policy(&["admin", "user"], &["free"]) };
    insta::assert_snapshot!(table(&policy), @r#"
    role                      stranger  admin  user
    passkeys  any  /passkeys  401       phr    phr
    both      any  /both      401       mfa    mfa
    lately    any  /lately    401       fresh  fresh
    machines  any  /machines  401       cert   cert
    closed    any  /closed    401       mfa    403

    mfa: with a second factor; phr: with a passkey; fresh: whoever has shown lately who they are; cert: by a client certificate
    "#);
}

#[test]
fn where_no_tier_makes_a_difference_none_is_named() {
    insta::assert_snapshot!(table(&policy(&["admin", "user"], &["free", "gold"])), @r#"
    role                             stranger  admin  user
    open    any  /open/*             yes       yes    yes
                 /also
    closed  GET  a.example/closed    401       yes    403
                 *.b.example/closed
    "#);
}

#[test]
fn columns_that_do_not_fit_follow_below() {
    let roles: Vec<_> = (0..12).map(|index| format!("a-role-with-a-long-name-{index:02}")).collect();
    let roles: Vec<_> = roles.iter().map(String::as_str).collect();
    let table = table(&policy(&roles, &["free"]));
    assert!(table.lines().all(|line| line.len() <= WIDTH), "{table}");
    assert_eq!(table.split("\n\n").count(), 3, "{table}");
    for role in roles {
        assert_eq!(table.matches(role).count(), 1, "{role}");
    }
    assert_eq!(table.matches("open ").count(), 3);
}

#[test]
fn a_policy_without_routes_has_a_table_without_rows() {
    assert_eq!(table(&Policy::default()), "role   stranger\n");
}
