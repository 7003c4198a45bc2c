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
    age: Mutex<Age>,
    readiness: Arc<Readiness>,
    metrics: LeaseMetrics,
}

struct Age {
    longest: Duration,
    /// When it will have counted for the longest window.
    until: Option<Instant>,
}

// === impl Youth ===

impl Youth {
    /// Of limits whose longest window is this.
    pub(super) fn new(longest: Duration, readiness: &Arc<Readiness>, metrics: &LeaseMetrics) -> Self {
        let age = Mutex::new(Age { longest, until: None });
        Self { age, readiness: Arc::clone(readiness), metrics: metrics.clone() }
    }

    /// The longest window is this from now on. Says whether the age of the memory has to be asked for anew: one that was old enough may be
    /// too young for a longer window.
    pub(super) fn follow(&self, longest: Duration) -> bool {
        let mut age = self.age.lock();
        let before = std::mem::replace(&mut age.longest, longest);
        let Some(until) = &mut age.until else { return before < longest };
        *until = *until + whole(terms(longest)) - whole(terms(before));
        false
    }

    /// What tells the age of a memory and writes nothing but its mark.
    pub(super) fn question(&self) -> (Terms, Ask) {
        (terms(self.age.lock().longest), Ask::default())
    }

    /// A memory has not counted for the window of these terms yet, and will have in so many microseconds.
    pub(super) fn learn(&self, asked: Terms, absent: u64) {
        let (now, mut age) = (Instant::now(), self.age.lock());
        let left = (Duration::from_micros(absent) + whole(terms(age.longest))).saturating_sub(whole(asked));
        if left.is_zero() || age.until.is_some_and(|until| now + left < until + SAME) {
            return;
        }
        age.until = Some(now + left);
        self.show(left);
        tracing::warn!(
            until = %(store::clock::now() + left),
            "Redis does not know what was spent before; limits over a longer time than it has counted are under on_outage"
        );
    }

    /// Brings up to date what is shown.
    pub(super) fn look(&self) {
        let mut age = self.age.lock();
        let Some(until) = age.until else { return };
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            age.until = None;
            tracing::info!("Redis has counted for the window of every limit");
        }
        self.show(left);
    }

    fn show(&self, left: Duration) {
        self.metrics.young.set(i64::try_from(left.as_millis().div_ceil(1000)).unwrap_or(i64::MAX));
        self.readiness.limits_young.store(!left.is_zero(), Ordering::Relaxed);
    }
}

fn terms(longest: Duration) -> Terms {
    Terms::of(Quota { units: 1, window: longest })
}

/// How old a memory has to be, so that something is lent on these terms.
fn whole(terms: Terms) -> Duration {
    Duration::from_micros(terms.slice() + terms.keep())
}
