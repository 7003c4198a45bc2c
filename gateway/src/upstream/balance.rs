//! Who gets the next request. Reads what is known of the servers and changes nothing but the turn; no lock, no allocation.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use policies::Permit;

use super::{scout::Errand, server::Server};
use crate::config::Balance;

/// Chooses among the servers that may be used and are not in `failed`, and enters there: with an errand as the one request that
/// finds out whether an ejected server is back.
pub(super) fn choose<'a>(
    balance: Balance,
    servers: &'a [Arc<Server>],
    turn: &AtomicUsize,
    key: impl FnOnce() -> u64,
    failed: &[u64],
) -> Option<(&'a Arc<Server>, Option<Errand>)> {
    let is_open = |server: &&Arc<Server>| !failed.contains(&server.vitals.id) && server.vitals.is_open();
    // A request that is tried again takes no further turn: with two servers every request would begin at the same one.
    let turn = || if failed.is_empty() { turn.fetch_add(1, Relaxed) } else { turn.load(Relaxed) };
    match balance {
        Balance::RoundRobin => in_turn(servers, turn()).filter(is_open).find_map(entered),
        Balance::LeastConnections => {
            // In turn, so that the first of equals is not always the same.
            let turn = turn();
            best(|| in_turn(servers, turn).filter(is_open).min_by_key(|server| server.vitals.in_flight()))
        }
        Balance::ConsistentHash => {
            let key = key();
            best(|| servers.iter().filter(is_open).max_by_key(|server| mix(key ^ server.hash)))
        }
    }
}

/// What stands for a caller: its account, or its address.
pub(super) fn key(permit: &Permit, client: IpAddr) -> u64 {
    let bits = match (permit.principal(), client.to_canonical()) {
        (Some(principal), _) => principal.account.uuid().as_u128(),
        (None, IpAddr::V4(v4)) => v4.to_bits().into(),
        (None, IpAddr::V6(v6)) => v6.to_bits(),
    };
    mix(bits as u64) ^ (bits >> 64) as u64
}

/// The name of a server as a number: the same on every node and in every version (FNV-1a, then mixed).
pub(super) fn hash(name: &str) -> u64 {
    mix(name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)))
}

/// The finaliser of `SplitMix64` (Steele et al. 2014): every bit of the input changes every bit of the output.
const fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

fn in_turn(servers: &[Arc<Server>], turn: usize) -> impl Iterator<Item = &Arc<Server>> {
    let (after, before) = servers.split_at(turn % servers.len().max(1));
    before.iter().chain(after)
}

fn entered(server: &Arc<Server>) -> Option<(&Arc<Server>, Option<Errand>)> {
    Some((server, server.vitals.enter().ok()?))
}

/// Enters at the best; if another request was faster there, that one is closed now, and the next best is asked for.
fn best<'a>(find: impl Fn() -> Option<&'a Arc<Server>>) -> Option<(&'a Arc<Server>, Option<Errand>)> {
    loop {
        let server = find()?;
        if let Some(entered) = entered(server) {
            return Some(entered);
        }
    }
}
