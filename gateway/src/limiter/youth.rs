//! How long Redis has counted. Of a limit whose window is longer nothing is lent (`docs/decisions/0007`), and `on_outage` decides:
//! whoever sees requests refused then should find out why, and until when.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use policies::{
    Quota,
    lease::{Ask, Terms},
};
use tokio::time::Instant;

use crate::{metrics::LeaseMetrics, readiness::Readiness};

/// Marks of one memory are made one after another, and what is told of one takes a moment: ends so near each other are one.
const SAME: Duration = Duration::from_secs(2);

/// What is known of a memory that is younger than the longest window.
pub(super) struct Youth {
    longest: Terms,
    /// When it will have counted for the longest window.
    until: Mutex<Option<Instant>>,
    readiness: Arc<Readiness>,
    metrics: LeaseMetrics,
}

// === impl Youth ===

impl Youth {
    /// Of limits whose longest window is this.
    pub(super) fn new(longest: Duration, readiness: &Arc<Readiness>, metrics: &LeaseMetrics) -> Self {
        let longest = Terms::of(Quota { units: 1, window: longest });
        Self { longest, until: Mutex::default(), readiness: Arc::clone(readiness), metrics: metrics.clone() }
    }

    /// What tells the age of a memory and writes nothing but its mark.
    pub(super) fn question(&self) -> (Terms, Ask) {
        (self.longest, Ask::default())
    }

    /// A memory has not counted for the window of these terms yet, and will have in so many microseconds.
    pub(super) fn learn(&self, terms: Terms, absent: u64) {
        let whole = |terms: Terms| terms.slice() + terms.keep();
        let left = Duration::from_micros((absent + whole(self.longest)).saturating_sub(whole(terms)));
        let (now, mut until) = (Instant::now(), self.until.lock());
        if left.is_zero() || until.is_some_and(|until| now + left < until + SAME) {
            return;
        }
        *until = Some(now + left);
        self.show(left);
        tracing::warn!(
            until = %(store::clock::now() + left),
            "Redis does not know what was spent before; limits over a longer time than it has counted are under on_outage"
        );
    }

    /// Brings up to date what is shown.
    pub(super) fn look(&self) {
        let mut until = self.until.lock();
        let Some(end) = *until else { return };
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            *until = None;
            tracing::info!("Redis has counted for the window of every limit");
        }
        self.show(left);
    }

    fn show(&self, left: Duration) {
        self.metrics.young.set(i64::try_from(left.as_millis().div_ceil(1000)).unwrap_or(i64::MAX));
        self.readiness.limits_young.store(!left.is_zero(), Ordering::Relaxed);
    }
}
