//! The circuit of an upstream: after too many failures in a row it is left alone, so that requests fail at once instead of
//! waiting one by one, and a service that struggles gets room to recover.
//!
//! ```text
//! closed ── failures in a row ──► open ── its time is over ──► half-open: one request is let through
//!   ▲                               ▲                             │
//!   └─────── any success ───────────┴────────── it fails ─────────┘
//! ```
//! Without locks: a closed circuit costs a request one load.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::scout::Scout;
use crate::config::CircuitSettings;

/// The state of one circuit. Times are milliseconds of [`super::now`].
#[derive(Default)]
pub(super) struct Circuit {
    failures: AtomicU32,
    /// 0: closed.
    open_until: AtomicU64,
    scout: Scout,
}

/// What became of a circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Opened,
    Closed,
    None,
}

// === impl Circuit ===

impl Circuit {
    /// May a request go on? `Ok(true)`: as the one that finds out, and somebody has to say how it went, or
    /// [`Self::give_back`].
    pub(super) fn enter(&self, now: impl FnOnce() -> u64) -> Result<bool, Duration> {
        let open_until = self.open_until.load(Relaxed);
        if open_until == 0 {
            return Ok(false);
        }
        let now = now();
        if now < open_until {
            return Err(Duration::from_millis(open_until - now));
        }
        self.scout.leave(now).map(|()| true)
    }

    pub(super) fn is_open(&self) -> bool {
        self.open_until.load(Relaxed) != 0
    }

    /// The one that was to find out found out nothing, since its client left; the next one may.
    pub(super) fn give_back(&self) {
        self.scout.is_back();
    }

    /// The upstream answers; it does not matter whom.
    pub(super) fn succeeded(&self) -> Turn {
        // Looked at first: a store for every answer would pass the cache line from core to core.
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
        }
        if self.open_until.load(Relaxed) != 0 && self.open_until.swap(0, Relaxed) != 0 {
            self.scout.is_back();
            return Turn::Closed;
        }
        Turn::None
    }

    /// An attempt failed, as the probe or not.
    pub(super) fn failed(&self, probe: bool, settings: CircuitSettings, now: impl FnOnce() -> u64) -> Turn {
        let failures = self.failures.fetch_add(1, Relaxed).saturating_add(1);
        let until = |now: u64| now + settings.open.as_millis() as u64;
        // One that took so long that another has found out meanwhile failed as any request does.
        if probe && self.is_open() {
            self.open_until.store(until(now()), Relaxed);
            self.scout.is_back();
            return Turn::None;
        }
        if failures < settings.failures {
            return Turn::None;
        }
        match self.open_until.compare_exchange(0, until(now()), Relaxed, Relaxed) {
            Ok(_) => Turn::Opened,
            Err(_) => Turn::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: CircuitSettings = CircuitSettings { failures: 3, open: Duration::from_millis(100) };

    #[test]
    fn it_opens_after_failures_in_a_row_and_closes_when_one_request_has_shown_that_it_may() {
        let circuit = Circuit::default();
        let fail = |probe, now| circuit.failed(probe, SETTINGS, || now);
        assert_eq!((fail(false, 1), fail(false, 2)), (Turn::None, Turn::None));
        // A success between them begins the row anew.
        assert_eq!(circuit.succeeded(), Turn::None);
        assert_eq!((fail(false, 3), fail(false, 4), fail(false, 5)), (Turn::None, Turn::None, Turn::Opened));
        assert_eq!(circuit.enter(|| 10), Err(Duration::from_millis(95)));
        // Its time is over: one is let through, and one only.
        assert_eq!(circuit.enter(|| 105), Ok(true));
        assert!(circuit.enter(|| 106).is_err());
        // That one fails: open again.
        assert_eq!(fail(true, 110), Turn::None);
        assert_eq!(circuit.enter(|| 200), Err(Duration::from_millis(10)));
        assert_eq!(circuit.enter(|| 210), Ok(true));
        // The next one's client leaves: another finds out.
        circuit.give_back();
        assert_eq!(circuit.enter(|| 211), Ok(true));
        assert_eq!(circuit.succeeded(), Turn::Closed);
        assert_eq!(circuit.enter(|| 212), Ok(false));
    }

    #[test]
    fn a_request_that_takes_long_to_find_out_keeps_nobody_else_from_it() {
        let circuit = Circuit::default();
        for _ in 0..3 {
            circuit.failed(false, SETTINGS, || 1);
        }
        assert_eq!(circuit.enter(|| 101), Ok(true));
        assert_eq!(circuit.enter(|| 1_100), Err(Duration::from_millis(1)));
        // Its client owes the body, and for as long as it likes.
        assert_eq!(circuit.enter(|| 1_101), Ok(true));
        assert!(circuit.enter(|| 1_102).is_err());
        assert_eq!(circuit.succeeded(), Turn::Closed);
        // What it hears at last is one failure among others.
        assert_eq!(circuit.failed(true, SETTINGS, || 60_000), Turn::None);
        assert_eq!(circuit.enter(|| 60_001), Ok(false));
    }

    #[test]
    fn an_answer_that_was_still_under_way_closes_it_too() {
        let circuit = Circuit::default();
        for _ in 0..3 {
            circuit.failed(false, SETTINGS, || 1);
        }
        assert!(circuit.enter(|| 2).is_err());
        assert_eq!(circuit.succeeded(), Turn::Closed);
        assert_eq!(circuit.enter(|| 3), Ok(false));
    }
}
