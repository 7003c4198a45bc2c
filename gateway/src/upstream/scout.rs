//! The one request that finds out whether an upstream or a server is back, while the others are kept from it.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// How long it finds out alone. Most do within moments; but its client may owe it the body for hours, and the next is then sent too.
const ALONE: Duration = Duration::from_secs(1);

/// Until when one finds out alone, in milliseconds of [`super::now`]; 0 when none does.
#[derive(Default)]
pub(super) struct Scout(AtomicU64);

// === impl Scout ===

impl Scout {
    pub(super) fn may_leave(&self, now: u64) -> bool {
        now >= self.0.load(Relaxed)
    }

    /// A request is to find out.
    ///
    /// # Errors
    ///
    /// How long another one finds out alone.
    pub(super) fn leave(&self, now: u64) -> Result<(), Duration> {
        let alone = self.0.load(Relaxed);
        if now < alone {
            return Err(Duration::from_millis(alone - now));
        }
        match self.0.compare_exchange(alone, now + ALONE.as_millis() as u64, Relaxed, Relaxed) {
            Ok(_) => Ok(()),
            Err(_) => Err(ALONE),
        }
    }

    /// It has found out, or its client left before it could.
    pub(super) fn is_back(&self) {
        self.0.store(0, Relaxed);
    }
}
