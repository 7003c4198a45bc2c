//! Carries finished segments of the spool to SQL, and deletes each once what it says is committed.
//!
//! Between the commit and the deletion the process may die: whoever comes next carries the segment again, and its batches, which have
//! the segment's id and a number, count nothing. While SQL is away everything stays where it is.
//!
//! What of a segment SQL will never take is one tenant's trouble and must not be another's: the segment is carried once more, tenant by
//! tenant, and set aside only then, for what is left of it.

use std::{
    fs, io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use store::{Store, StoreError};
use tokio::time::{MissedTickBehavior, interval};

use super::spool::{Finished, segments};
use crate::metrics::UsageMetrics;

#[derive(Clone)]
pub(crate) struct Carrier {
    folder: PathBuf,
    store: Store,
    every: Duration,
    backlog: Arc<AtomicUsize>,
    metrics: UsageMetrics,
}

/// What became of a batch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Taken {
    Yes,
    /// SQL is away.
    NotNow,
    Never,
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
        let mut is_refused = false;
        for batch in finished.batches() {
            let (used, now) = (batch.used, store::clock::now());
            let counted = match batch.part_of {
                None => self.store.count_batch(batch.id, used, now).await,
                Some(whole) => self.store.count_part(batch.id, whole, used, now).await,
            };
            match self.taken(counted.map(|is_new| if is_new { used.len() } else { 0 }), used.len()) {
                Taken::NotNow => return false,
                taken => is_refused |= taken == Taken::Never,
            }
        }
        for events in finished.reports() {
            let counted = self.store.count_usage(events, store::clock::now()).await;
            match self.taken(counted.map(|fresh| fresh.len()), events.len()) {
                Taken::NotNow => return false,
                taken => is_refused |= taken == Taken::Never,
            }
        }
        let (path, aside) = (finished.path.clone(), is_refused.then(|| self.aside(&finished)));
        let put_away = move || match aside {
            None => fs::remove_file(path),
            Some(aside) => fs::rename(path, aside),
        };
        let _ = self.at_the_disk(|| put_away().or_else(gone)).await;
        // Only now may another process have it.
        drop(finished);
        true
    }

    /// Notes how many of `all` were new.
    fn taken(&self, new: Result<usize, StoreError>, all: usize) -> Taken {
        match new {
            Ok(new) => {
                self.metrics.carried.inc_by(new as u64);
                self.metrics.repeated.inc_by((all - new) as u64);
                Taken::Yes
            }
            Err(StoreError::Unavailable(error) | StoreError::Forbidden(error)) => {
                self.metrics.failures.with_label_values(&["carry"]).inc();
                tracing::warn!(%error, "usage cannot be carried to the database; it stays in the spool");
                Taken::NotNow
            }
            Err(error) => {
                tracing::warn!(%error, "the database refuses usage");
                Taken::Never
            }
        }
    }

    /// Where a segment is kept of which SQL has refused something. Tried again it would fail again, and nothing behind it would ever be
    /// carried: what is refused of a single tenant's is kept for whoever can mend it.
    fn aside(&self, finished: &Finished) -> PathBuf {
        let segment = finished.path.display();
        if finished.is_apart {
            self.metrics.failures.with_label_values(&["refused"]).inc();
            tracing::error!(%segment, "the database refuses a segment of usage; it is set aside");
        } else {
            tracing::warn!(%segment, "the database refuses something of a segment of usage; it is carried tenant by tenant");
        }
        finished.refused()
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
fn gone(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}
