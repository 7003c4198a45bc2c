//! Instructions of what every request is judged by; counted by `scripts/check-instructions`.
#![expect(missing_docs, reason = "the macros make items that have none")]

use std::{hint::black_box, sync::Arc, time::Duration};

use gungraun::{library_benchmark, library_benchmark_group, main};
use identity::{AccountId, Grant, Principal, SessionId};
use policies::{
    Policy, Quota, RouteTable, Spend, Window,
    config::{Source, Sources, load},
    decide,
    header::{Folding, Reserved},
    path,
};
use uuid::Uuid;

/// What is shipped: 13 routes.
#[expect(clippy::expect_used, reason = "there is nothing to count without a policy")]
fn shipped() -> Policy {
    let source = |name, text| Source { name, text: Ok(text) };
    let sources = Sources {
        routes: source("routes.toml", include_str!("../../config/routes.toml")),
        roles: source("roles.toml", include_str!("../../config/roles.toml")),
        tiers: source("tiers.toml", include_str!("../../config/tiers.toml")),
        cases: source("cases.toml", include_str!("../../config/cases.toml")),
    };
    load(&sources, None).expect("what is shipped is right").policy
}

fn caller() -> (Policy, Arc<Principal>) {
    let principal = Principal {
        account: AccountId::new(Uuid::from_u128(1)),
        role: "user".into(),
        tier: "free".into(),
        tenant: None,
        tenant_role: None,
        actor: None,
        is_service: false,
        grant: Grant::Session(SessionId::new(Uuid::from_u128(2))),
        scopes: None,
        networks: None,
        authentication: None,
        generation: 0,
    };
    (shipped(), Arc::new(principal))
}

fn table() -> RouteTable {
    shipped().routes
}

#[expect(clippy::expect_used, reason = "there is nothing to count without it")]
fn reserved() -> Reserved {
    Reserved::new([], Folding::Drop).expect("no names are good names")
}

#[library_benchmark]
#[bench::plain("/demo/agents/7/run")]
#[bench::escaped("/demo/%61gents/7/./run")]
fn normalised(raw: &str) -> usize {
    black_box(path::normalise(raw)).map_or(0, |path| path.len())
}

#[library_benchmark(setup = table)]
#[bench::found()]
fn route(table: RouteTable) -> RouteTable {
    assert!(black_box(table.find("api.example", "GET", "/demo/developer/x")).is_ok());
    table
}

#[library_benchmark(setup = caller)]
#[bench::permitted()]
fn decided((policy, principal): (Policy, Arc<Principal>)) -> (Policy, bool) {
    let permitted = policy
        .routes
        .find("api.example", "GET", "/demo/x")
        .is_ok_and(|route| black_box(decide(&policy, route, Some(principal), 0)).is_ok());
    assert!(permitted);
    (policy, permitted)
}

#[library_benchmark]
#[bench::spent(Window::default())]
fn window(mut window: Window) -> Window {
    let quota = Quota { units: 100, window: Duration::from_mins(1) };
    let admitted = (0..90)
        .all(|second| matches!(black_box(window.spend(quota, Duration::from_secs(second), 1)), Spend::Admitted { .. }));
    assert!(admitted);
    window
}

#[library_benchmark(setup = reserved)]
#[bench::eight()]
fn stripped(reserved: Reserved) -> Reserved {
    for name in
        ["host", "accept", "user-agent", "accept-encoding", "x-user-id", "x_user_id", "cookie", "x-forwarded-for"]
    {
        let _ = black_box(reserved.verdict(name));
    }
    reserved
}

library_benchmark_group!(name = hot, benchmarks = [normalised, route, decided, window, stripped]);
main!(library_benchmark_groups = hot);
