//! The one request that finds out whether an upstream or a server is back, while the others are kept from it.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// How long it finds out alone while it waits for nothing that has a time-out: its client may owe it the body for hours, and the next is
/// then sent too. And how much longer than any time-out it is alone, to tell what came of it before another is sent.
const ALONE: Duration = Duration::from_secs(1);

/// Until when one finds out alone, in milliseconds of [`super::now`]; 0 when none does.
#[derive(Default)]
pub(super) struct Scout(AtomicU64);

/// What a request has that is to find out: until when it does so alone. While that is what its [`Scout`] says too, no other has followed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Errand(u64);

// === impl Scout ===

impl Scout {
    pub(super) fn may_leave(&self, now: u64) -> bool {
        now >= self.0.load(Relaxed)
    }

    /// A request is to find out.
    ///
    /// # Errors
    ///
    /// When to ask again: another one finds out alone. If it hears from the server that is soon, however long it may wait for it.
    pub(super) fn leave(&self, now: u64) -> Result<Errand, Duration> {
        let alone = self.0.load(Relaxed);
        if now < alone {
            return Err(Duration::from_millis(alone - now).min(ALONE));
        }
        let until = after(now, Duration::ZERO);
        match self.0.compare_exchange(alone, until, Relaxed, Relaxed) {
            Ok(_) => Ok(Errand(until)),
            Err(_) => Err(ALONE),
        }
    }

    /// From now on it waits for something that has this time-out, unless another one has followed.
    pub(super) fn stay(&self, errand: &mut Errand, now: u64, time_out: Duration) {
        let until = after(now, time_out);
        if self.0.compare_exchange(errand.0, until, Relaxed, Relaxed).is_ok() {
            errand.0 = until;
        }
    }

    /// Does everybody wait for this one?
    pub(super) fn is_on(&self, errand: &Errand) -> bool {
        self.0.load(Relaxed) == errand.0
    }

    /// Its client left before it could find out: another one may, unless one does.
    pub(super) fn give_up(&self, errand: &Errand) {
        // An error: another one has followed.
        let _ = self.0.compare_exchange(errand.0, 0, Relaxed, Relaxed);
    }

    /// It is known, whoever found out.
    pub(super) fn is_back(&self) {
        self.0.store(0, Relaxed);
    }
}

fn after(now: u64, time_out: Duration) -> u64 {
    now + (time_out + ALONE).as_millis() as u64
}
