//! Pools without a network: who is picked, who is left out, and what survives a reload.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod balance;
mod circuit;
mod peer;
mod reload;
mod resolve;
mod retry;

use std::{collections::BTreeSet, net::Ipv4Addr};

use policies::{Auth, PathPattern, Policy, Route, decide};

use super::*;
use crate::metrics::Metrics;

/// A pool of that many servers, all of them made up.
fn settings(servers: u8) -> UpstreamSettings {
    let server = |host| Endpoint::Address((Ipv4Addr::new(10, 0, 0, host), 80).into());
    UpstreamSettings { servers: (1..=servers).map(server).collect(), ..UpstreamSettings::shipped() }
}

async fn made(settings: &UpstreamSettings, before: Option<&Arc<Upstream>>) -> Arc<Upstream> {
    let metrics = Metrics::new().unwrap().upstreams.of("pool");
    Upstream::make("pool", settings, before, before.is_none(), metrics).await.unwrap()
}

fn permit() -> Permit {
    let route = Route { auth: Auth::None, ..Route::new("r", "pool", vec![PathPattern::parse("/x").unwrap()]) };
    decide(&Policy::default(), &Arc::new(route), None, 0).unwrap()
}

fn tries() -> Tries {
    Tries::since(Instant::now())
}

fn pick_for(pool: &Arc<Upstream>, client: u32) -> Result<Attempt, Refusal> {
    pool.pick(&permit(), IpAddr::V4(Ipv4Addr::from_bits(client)), &mut tries()).map(|(_, attempt)| attempt)
}

fn pick(pool: &Arc<Upstream>) -> Result<Attempt, Refusal> {
    pick_for(pool, 1)
}

fn name(attempt: &Attempt) -> String {
    attempt.server().to_string()
}

/// Makes requests to one server fail until it is left out.
fn fail(pool: &Arc<Upstream>, server: &str, times: usize) {
    let mut failed = 0;
    while failed < times {
        let mut attempt = pick(pool).unwrap();
        if name(&attempt) == server {
            attempt.failed(Failure::Connect);
            failed += 1;
        } else {
            attempt.succeeded();
        }
    }
}

fn picked(pool: &Arc<Upstream>) -> BTreeSet<String> {
    (0..20).map(|_| name(&pick(pool).unwrap())).collect()
}

const ONE: &str = "10.0.0.1:80";
const TWO: &str = "10.0.0.2:80";

/// Picks until that server has its turn.
fn until(pool: &Arc<Upstream>, server: &str) -> Attempt {
    let began = Instant::now();
    loop {
        if let Ok(attempt) = pick(pool)
            && name(&attempt) == server
        {
            return attempt;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "{server} never had its turn");
        std::thread::yield_now();
    }
}
