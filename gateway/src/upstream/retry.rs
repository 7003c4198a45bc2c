//! Trying again: what one request has tried, and the budget that keeps retries from doubling the load on a service that
//! struggles.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Instant,
};

use smallvec::SmallVec;

use super::Attempt;
use crate::config::{RetrySettings, UpstreamSettings};

/// What one request has tried so far.
pub(crate) struct Tries {
    pub(super) began: Instant,
    pub(super) made: usize,
    /// The servers that failed it.
    pub(super) failed: SmallVec<[u64; UpstreamSettings::MOST_TRIES]>,
    /// Has it to be asked by HTTP/1.1?
    pub(crate) by_http1: bool,
}

/// Tokens for retries, in thousandths: each request adds `percent` hundredths of one, each second adds `per_second`, and at
/// most ten seconds' worth (ten seconds of `per_second`, at least [`LEAST_ROOM`]) is kept. So that over any time no more
/// retries happen than room + percent of the requests + `per_second` for each second.
pub(super) struct Budget {
    percent: u32,
    per_second: u32,
    room: u64,
    tokens: AtomicU64,
    /// Milliseconds of [`super::now`] when `per_second` was last added.
    filled: AtomicU64,
}

const TOKEN: u64 = 1000;
/// Tokens kept even where `per_second` is small.
const LEAST_ROOM: u64 = 10;
/// Seconds of `per_second` that are kept.
const KEPT_SECONDS: u64 = 10;

// === impl Tries ===

impl Tries {
    /// Of a request that began then.
    pub(crate) fn since(began: Instant) -> Self {
        Self { began, made: 0, failed: SmallVec::new(), by_http1: false }
    }

    /// The server of this attempt is not tried again.
    pub(crate) fn without(&mut self, attempt: &Attempt) {
        self.failed.push(attempt.server.vitals.id);
    }
}

// === impl Budget ===

impl Budget {
    pub(super) fn new(settings: RetrySettings) -> Self {
        let room = TOKEN * (u64::from(settings.per_second) * KEPT_SECONDS).max(LEAST_ROOM);
        // What `per_second` alone allows is there from the beginning.
        let tokens = AtomicU64::new(TOKEN * u64::from(settings.per_second));
        Self {
            percent: settings.percent,
            per_second: settings.per_second,
            room,
            tokens,
            filled: AtomicU64::new(super::now()),
        }
    }

    /// One request more. A full budget, which is the rule, costs one load.
    pub(super) fn deposit(&self) {
        if self.tokens.load(Relaxed) < self.room {
            self.add(u64::from(self.percent) * TOKEN / 100);
        }
    }

    /// Takes the token for one retry, if there is one.
    pub(super) fn withdraw(&self, now: u64) -> bool {
        let filled = self.filled.load(Relaxed);
        let due = now.saturating_sub(filled) * u64::from(self.per_second) * TOKEN / 1000;
        // Whoever moves the time adds what was due until then.
        if due > 0 && self.filled.compare_exchange(filled, now, Relaxed, Relaxed).is_ok() {
            self.add(due);
        }
        self.tokens.fetch_update(Relaxed, Relaxed, |tokens| tokens.checked_sub(TOKEN)).is_ok()
    }

    fn add(&self, tokens: u64) {
        // Never fails: there is always a new value.
        let _ = self.tokens.fetch_update(Relaxed, Relaxed, |held| Some((held + tokens).min(self.room)));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_more_retries_than_the_budget_says(
            percent in 0_u32..=100,
            per_second in 0_u32..=20,
            steps in prop::collection::vec((any::<bool>(), 0_u64..200), 0..2000),
        ) {
            let budget = Budget::new(RetrySettings { tries: 3, percent, per_second });
            let began = budget.filled.load(Relaxed);
            let (mut now, mut requests, mut retries) = (began, 0, 0);
            for (is_request, wait) in steps {
                now += wait;
                if is_request {
                    budget.deposit();
                    requests += 1;
                }
                retries += u64::from(budget.withdraw(now));
                let passed = now - began;
                let most = u64::from(per_second) + requests * u64::from(percent) / 100 + passed * u64::from(per_second) / 1000 + 1;
                prop_assert!(retries <= most, "{retries} retries, {most} allowed");
            }
        }
    }

    #[test]
    fn what_is_not_spent_is_kept_up_to_a_bound() {
        let budget = Budget::new(RetrySettings { tries: 3, percent: 20, per_second: 0 });
        assert!(!budget.withdraw(super::super::now()));
        for _ in 0..1000 {
            budget.deposit();
        }
        let now = super::super::now();
        assert_eq!((0..1000).filter(|_| budget.withdraw(now)).count(), 10);
    }
}
