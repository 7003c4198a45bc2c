//! How the table looks when it is small, and when it is too wide. The shipped one is in `tests/shipped.rs`.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::*;
use crate::{Auth, HostPattern, PathPattern, Permissions, Roles, RouteTable, Tier, Tiers};

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
                                     stranger  admin  admin  user  user
                                               free   pro    free  pro
                                               gold          gold
    open    any  /open/*             yes       yes    yes    yes   yes
                 /also
    closed  GET  a.example/closed    401       yes    yes    403   403
                 *.b.example/closed
    paid    any  /paid               401       403    yes    403   yes
    "#);
}

#[test]
fn where_no_tier_makes_a_difference_none_is_named() {
    insta::assert_snapshot!(table(&policy(&["admin", "user"], &["free", "gold"])), @r#"
                                     stranger  admin  user
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
    assert_eq!(table(&Policy::default()), "  stranger\n");
}
