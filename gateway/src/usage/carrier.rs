//! Carries finished segments of the spool to SQL, and deletes each once what it says is committed.
//!
//! Between the commit and the deletion the process may die: whoever comes next carries the segment again, and its batches, which have
//! the segment's id and a number, count nothing. While SQL is away everything stays where it is.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use store::{Store, StoreError};
use tokio::time::{MissedTickBehavior, interval};

use super::spool::{Finished, REFUSED, segments};
use crate::metrics::UsageMetrics;

/// Sums of one transaction.
const AT_ONCE: usize = 2000;

#[derive(Clone)]
pub(crate) struct Carrier {
    folder: PathBuf,
    store: Store,
    every: Duration,
    backlog: Arc<AtomicUsize>,
    metrics: UsageMetrics,
}

// === impl Carrier ===

impl Carrier {
    pub(super) fn new(
        folder: PathBuf,
        store: Store,
        every: Duration,
        backlog: Arc<AtomicUsize>,
        metrics: UsageMetrics,
    ) -> Self {
        Self { folder, store, every, backlog, metrics }
    }

    /// For as long as the process lives.
    pub(super) async fn carry(self) {
        let mut ticks = interval(self.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.carry_once().await;
        }
    }

    /// Whatever is there and nobody writes, for as long as SQL takes it.
    pub(super) async fn carry_once(&self) {
        let folder = self.folder.clone();
        let Some(paths) = self.at_the_disk(move || segments(&folder)).await else { return };
        let mut left = paths.len();
        for path in paths {
            self.waits(left);
            let Some(finished) = self.at_the_disk(move || Finished::open(path)).await else { continue };
            if let Some(finished) = finished {
                if finished.is_torn {
                    self.metrics.torn.inc();
                    tracing::warn!(segment = %finished.path.display(), "the end of a spool was cut off; it is dropped");
                }
                if !self.carry_segment(finished).await {
                    return;
                }
            }
            left -= 1;
        }
        self.waits(left);
    }

    fn waits(&self, segments: usize) {
        self.backlog.store(segments, Ordering::Relaxed);
        self.metrics.waiting.set(i64::try_from(segments).unwrap_or(i64::MAX));
    }

    /// Is SQL there to take the next one?
    async fn carry_segment(&self, finished: Finished) -> bool {
        for (number, used) in (0..).zip(finished.used.chunks(AT_ONCE)) {
            let counted = self.store.count_batch(finished.batch(number), used, store::clock::now()).await;
            if let Some(ended) =
                self.ended(counted.map(|is_new| if is_new { used.len() } else { 0 }), used.len(), &finished).await
            {
                return ended;
            }
        }
        for events in finished.events.chunks(AT_ONCE) {
            let counted = self.store.count_usage(events, store::clock::now()).await;
            if let Some(ended) = self.ended(counted.map(|fresh| fresh.len()), events.len(), &finished).await {
                return ended;
            }
        }
        let path = finished.path.clone();
        let _ = self.at_the_disk(move || removed(&path)).await;
        // Only now may another process have it.
        drop(finished);
        true
    }

    /// Notes how many of `all` were new. When they were not taken: is SQL there to take the next segment?
    async fn ended(&self, new: Result<usize, StoreError>, all: usize, finished: &Finished) -> Option<bool> {
        match new {
            Ok(new) => {
                self.metrics.carried.inc_by(new as u64);
                self.metrics.repeated.inc_by((all - new) as u64);
                None
            }
            Err(StoreError::Unavailable(error) | StoreError::Forbidden(error)) => {
                self.metrics.failures.with_label_values(&["carry"]).inc();
                tracing::warn!(%error, "usage cannot be carried to the database; it stays in the spool");
                Some(false)
            }
            Err(error) => {
                // Tried again it would fail again, and nothing behind it would ever be carried. It is kept for whoever can mend it.
                self.metrics.failures.with_label_values(&["refused"]).inc();
                tracing::error!(%error, segment = %finished.path.display(), "the database refuses a segment of usage; it is set aside");
                let path = finished.path.clone();
                let _ = self.at_the_disk(move || fs::rename(&path, path.with_extension(REFUSED))).await;
                Some(true)
            }
        }
    }

    /// Does what may take long off the threads of the run time.
    async fn at_the_disk<T: Send + 'static>(&self, work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Option<T> {
        match tokio::task::spawn_blocking(work).await {
            Ok(Ok(done)) => Some(done),
            Ok(Err(error)) => {
                self.metrics.failures.with_label_values(&["read"]).inc();
                tracing::error!(%error, "the spool of usage cannot be read");
                None
            }
            Err(_) => None,
        }
    }
}

/// Another process may have been quicker.
fn removed(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
