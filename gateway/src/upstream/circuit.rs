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

use super::scout::{Errand, Scout};
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
    /// May a request go on? With an errand it is the one that finds out, and somebody has to say how it went, or
    /// [`Self::give_back`].
    pub(super) fn enter(&self, now: impl FnOnce() -> u64) -> Result<Option<Errand>, Duration> {
        let open_until = self.open_until.load(Relaxed);
        if open_until == 0 {
            return Ok(None);
        }
        let now = now();
        if now < open_until {
            return Err(Duration::from_millis(open_until - now));
        }
        self.scout.leave(now).map(Some)
    }

    /// The one that finds out waits for something that has this time-out.
    pub(super) fn stay(&self, errand: &mut Errand, now: u64, time_out: Duration) {
        self.scout.stay(errand, now, time_out);
    }

    pub(super) fn is_open(&self) -> bool {
        self.open_until.load(Relaxed) != 0
    }

    /// The one that was to find out found out nothing, since its client left; the next one may.
    pub(super) fn give_back(&self, errand: &Errand) {
        self.scout.give_up(errand);
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
    pub(super) fn failed(&self, probe: Option<&Errand>, settings: CircuitSettings, now: impl FnOnce() -> u64) -> Turn {
        let failures = self.failures.fetch_add(1, Relaxed).saturating_add(1);
        let until = |now: u64| now + settings.open.as_millis() as u64;
        // One that took so long that another has followed, or has found out meanwhile, failed as any request does.
        if probe.is_some_and(|errand| self.scout.is_on(errand)) && self.is_open() {
            self.open_until.store(until(now()), Relaxed);
            self.scout.is_back();
            return Turn::None;
        }
        if failures < settings.failures {
            return Turn::None;
        }
        match self.open_until.compare_exchange(0, until(now()), Relaxed, Relaxed) {
            Ok(_) => {
                // One may have left for the last time that it was open at the very moment when that ended.
                self.scout.is_back();
                Turn::Opened
            }
            Err(_) => Turn::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: CircuitSettings = CircuitSettings { failures: 3, open: Duration::from_millis(100) };

    /// One that has been open since 1.
    fn open() -> Circuit {
        let circuit = Circuit::default();
        for _ in 0..3 {
            circuit.failed(None, SETTINGS, || 1);
        }
        circuit
    }

    /// Lets one find out.
    fn probe(circuit: &Circuit, now: u64) -> Errand {
        circuit.enter(|| now).expect("nobody finds out").expect("it is open")
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_closes_when_one_request_has_shown_that_it_may() {
        let circuit = Circuit::default();
        let fail = |probe, now| circuit.failed(probe, SETTINGS, || now);
        assert_eq!((fail(None, 1), fail(None, 2)), (Turn::None, Turn::None));
        // A success between them begins the row anew.
        assert_eq!(circuit.succeeded(), Turn::None);
        assert_eq!((fail(None, 3), fail(None, 4), fail(None, 5)), (Turn::None, Turn::None, Turn::Opened));
        assert_eq!(circuit.enter(|| 10), Err(Duration::from_millis(95)));
        // Its time is over: one is let through, and one only.
        let first = probe(&circuit, 105);
        assert!(circuit.enter(|| 106).is_err());
        // That one fails: open again.
        assert_eq!(fail(Some(&first), 110), Turn::None);
        assert_eq!(circuit.enter(|| 200), Err(Duration::from_millis(10)));
        // The next one's client leaves: another finds out.
        circuit.give_back(&probe(&circuit, 210));
        probe(&circuit, 211);
        assert_eq!(circuit.succeeded(), Turn::Closed);
        assert_eq!(circuit.enter(|| 212), Ok(None));
    }

    #[test]
    fn a_request_that_takes_long_to_find_out_keeps_nobody_else_from_it() {
        let circuit = open();
        let first = probe(&circuit, 101);
        assert_eq!(circuit.enter(|| 1_100), Err(Duration::from_millis(1)));
        // Its client owes the body, and for as long as it likes.
        probe(&circuit, 1_101);
        assert!(circuit.enter(|| 1_102).is_err());
        assert_eq!(circuit.succeeded(), Turn::Closed);
        // What it hears at last is one failure among others.
        assert_eq!(circuit.failed(Some(&first), SETTINGS, || 60_000), Turn::None);
        assert_eq!(circuit.enter(|| 60_001), Ok(None));
    }

    #[test]
    fn one_that_waits_for_the_upstream_is_waited_for_as_long_as_that_may_take() {
        let circuit = open();
        let mut first = probe(&circuit, 101);
        circuit.stay(&mut first, 200, Duration::from_mins(1));
        // Whoever comes meanwhile may ask again soon: it may be answered at any moment.
        assert_eq!(circuit.enter(|| 300), Err(Duration::from_secs(1)));
        assert_eq!(
            circuit.enter(|| 60_200),
            Err(Duration::from_secs(1)),
            "it has a second to tell that it waited in vain"
        );
        assert_eq!(circuit.failed(Some(&first), SETTINGS, || 60_201), Turn::None);
        assert_eq!(circuit.enter(|| 60_202), Err(Duration::from_millis(99)), "open again");
    }

    #[test]
    fn one_that_another_has_followed_changes_nothing_when_it_fails_or_its_client_leaves() {
        let circuit = open();
        let mut first = probe(&circuit, 101);
        let mut second = probe(&circuit, 1_101);
        circuit.stay(&mut second, 1_200, Duration::from_mins(1));
        // It is sent only now, and is not who everybody waits for.
        circuit.stay(&mut first, 1_300, Duration::from_hours(1));
        circuit.give_back(&first);
        assert!(circuit.enter(|| 2_000).is_err(), "the second finds out");
        assert_eq!(circuit.failed(Some(&first), SETTINGS, || 61_000), Turn::None);
        circuit.give_back(&second);
        probe(&circuit, 61_001);
    }

    #[test]
    fn an_answer_that_was_still_under_way_closes_it_too() {
        let circuit = open();
        assert!(circuit.enter(|| 2).is_err());
        assert_eq!(circuit.succeeded(), Turn::Closed);
        assert_eq!(circuit.enter(|| 3), Ok(None));
    }

    #[test]
    fn who_left_as_it_closed_keeps_nobody_from_finding_out_when_it_opens_again() {
        let circuit = open();
        circuit.open_until.store(0, Relaxed);
        let mut late = circuit.scout.leave(101).expect("nobody finds out");
        circuit.stay(&mut late, 101, Duration::from_mins(1));
        assert_eq!(circuit.failed(None, SETTINGS, || 200), Turn::Opened);
        probe(&circuit, 300);
    }
}
