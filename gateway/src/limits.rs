//! What the machine gives this process: file descriptors, and memory that must not be used up.
//!
//! Connections are capped below half of the descriptors, since each may need another one to a server. Of memory the kernel
//! takes back by killing; before it does, requests are shed.

use std::{fs, future::Future, sync::Arc, sync::atomic::Ordering, time::Duration};

use prometheus::IntGauge;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{config::Server, metrics::Metrics, readiness::Readiness};

/// How often memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// An allocation of this size gets allocator pages of its own.
const OF_ITS_OWN: usize = 1024 * 1024;
/// Shedding ends when resident memory is this many percent of the limit, so that it does not begin and end with each request.
const ENOUGH: u64 = 95;
/// Of what there is, when the operator says nothing.
const SHARE: u64 = 85;

/// Requests in flight.
pub(crate) struct AtOnce {
    pub(crate) in_all: i64,
    pub(crate) of_address: usize,
}

/// File descriptors that this process may have, after asking for as many as it may ask for.
pub(crate) fn descriptors() -> usize {
    let limit = getrlimit(Resource::Nofile);
    // Who may not raise it keeps what there is.
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let now = if raised.is_ok() { limit.maximum } else { limit.current };
    now.map_or(usize::MAX, |now| usize::try_from(now).unwrap_or(usize::MAX))
}

/// Clients' connections that there may be at once, at most `wanted`, and at most so many percent of the descriptors.
pub(crate) fn connections_at_once(wanted: usize, percent: usize) -> usize {
    wanted.min(part(descriptors(), percent))
}

/// So many percent; of [`usize::MAX`] too, which is what there is where there is no limit.
fn part(of: usize, percent: usize) -> usize {
    of / 100 * percent + of % 100 * percent / 100
}

/// Requests that may be in flight at once. Nearly half of the descriptors are for clients' connections; of the others
/// some are for the database, the listeners and files, and an idle connection gives its own up to whoever needs one.
pub(crate) fn requests_at_once(server: &Server) -> AtOnce {
    let most = server.max_requests.min(descriptors() / 8 * 3);
    AtOnce { in_all: i64::try_from(most).unwrap_or(i64::MAX), of_address: server.max_requests_per_address }
}

/// Sheds requests while memory is short, for as long as the process lives.
pub(crate) fn watch_memory(
    server: &Server,
    readiness: &Arc<Readiness>,
    metrics: &Metrics,
) -> impl Future<Output = ()> + use<> {
    let limit = if server.memory_limit > 0 { server.memory_limit } else { available() / 100 * SHARE };
    shed_above(limit, Arc::clone(readiness), metrics.short_of_memory.clone())
}

async fn shed_above(limit: u64, readiness: Arc<Readiness>, told: IntGauge) {
    if limit == 0 {
        return tracing::warn!("nobody says how much memory there is; requests are not shed when it runs out");
    }
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    loop {
        ticks.tick().await;
        give_back();
        let Some(resident) = resident() else { continue };
        let was_short = readiness.short_of_memory.load(Ordering::Relaxed);
        let is_short = is_short(resident, limit, was_short);
        if is_short != was_short {
            readiness.short_of_memory.store(is_short, Ordering::Relaxed);
            told.set(i64::from(is_short));
            tracing::warn!(resident, limit, is_short, "memory");
        }
    }
}

fn is_short(resident: u64, limit: u64, was_short: bool) -> bool {
    resident > if was_short { limit / 100 * ENOUGH } else { limit }
}

/// Lets the allocator give back what was free for long. mimalloc does that only when somebody frees a page, and when nothing happens
/// nobody does: 20 MB that one login had hashed in stayed for good.
fn give_back() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(OF_ITS_OWN)));
}

/// What this process may use: what its control group says, else what the machine has.
fn available() -> u64 {
    let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let group =
        ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"].into_iter().find_map(number);
    group.into_iter().chain(total()).min().unwrap_or(0)
}

fn total() -> Option<u64> {
    bytes_of("/proc/meminfo", "MemTotal:")
}

fn resident() -> Option<u64> {
    bytes_of("/proc/self/status", "VmRSS:")
}

/// What a file of the kernel's says in KiB.
fn bytes_of(file: &str, what: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(what))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_descriptors_is_never_more_than_that() {
        assert_eq!([(64, 49), (1024, 45), (100, 1), (99, 1)].map(|(of, percent)| part(of, percent)), [31, 460, 1, 0]);
        assert!(part(usize::MAX, 49) < usize::MAX / 2);
    }

    #[test]
    fn shedding_begins_above_the_limit_and_ends_five_percent_below() {
        let short = |resident, was_short| is_short(resident, 1000, was_short);
        assert_eq!([1001, 1000, 951].map(|resident| short(resident, false)), [true, false, false]);
        assert_eq!([1001, 1000, 951, 950].map(|resident| short(resident, true)), [true, true, true, false]);
    }

    #[tokio::test]
    async fn when_there_is_memory_again_requests_are_shed_no_more() {
        let (readiness, told) = (Arc::new(Readiness::default()), IntGauge::new("short", "short").expect("a gauge"));
        readiness.short_of_memory.store(true, Ordering::Relaxed);
        told.set(1);
        tokio::spawn(shed_above(u64::MAX, Arc::clone(&readiness), told.clone()));
        let is_over = async {
            while readiness.short_of_memory.load(Ordering::Relaxed) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), is_over).await.expect("it ends");
        assert_eq!(told.get(), 0);
    }

    #[test]
    fn the_machine_says_what_it_has() {
        assert!(descriptors() >= 64);
        let resident = resident().expect("a number");
        assert!(resident > 1024 * 1024, "{resident}");
        assert!(available() > resident, "{}", available());
    }
}
