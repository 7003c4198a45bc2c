//! Takes what requests have handed over, adds it up, and writes it into the spool.
//!
//! Two threads, so that a slow disk holds nothing up: one writes at every interval, after which a process that is killed loses nothing
//! of it; the other asks the disk to keep what is written, after which a machine that loses its power does not either.
//!
//! When the disk takes nothing, everything is kept here and added up until it does.

use std::{
    fs::File,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use super::{
    Counted, Usage,
    spool::Spool,
    sums::{Kind, Sums},
};
use crate::{config::UsageSettings, metrics::UsageMetrics};

pub(super) struct Writer {
    usage: Arc<Usage>,
    spool: Spool,
    flush: Duration,
    carry: Duration,
    metrics: UsageMetrics,
    /// What is taken from each thread; empty in between.
    hands: Vec<Vec<Counted>>,
    /// What is not known to be written.
    sums: Sums,
}

// === impl Writer ===

impl Writer {
    pub(super) fn new(usage: Arc<Usage>, spool: Spool, settings: &UsageSettings, metrics: UsageMetrics) -> Self {
        let (flush, carry) = (settings.flush, settings.carry);
        Self { usage, spool, flush, carry, metrics, hands: Vec::new(), sums: Sums::new() }
    }

    /// Writes until everything is closed, and then what is left.
    pub(super) fn write(mut self) {
        let (to_sync, files) = mpsc::channel::<Arc<File>>();
        let metrics = self.metrics.clone();
        let syncing = thread::spawn(move || sync(&files, &metrics));
        loop {
            let (began, is_last) = (Instant::now(), self.usage.is_closing());
            if let Some(file) = self.write_once() {
                // It ends after us.
                drop(to_sync.send(file));
            }
            self.spool.close_if_due(self.carry);
            if is_last {
                break;
            }
            thread::park_timeout(self.flush.saturating_sub(began.elapsed()));
        }
        drop(to_sync);
        self.spool.close();
        drop(syncing.join());
    }

    /// One interval's work; gives the file if something was written.
    fn write_once(&mut self) -> Option<Arc<File>> {
        self.add_up();
        if self.sums.is_empty() {
            return None;
        }
        match self.spool.add(&self.sums) {
            Ok(file) => {
                self.sums.clear();
                self.metrics.stuck.set(0);
                Some(file)
            }
            Err(error) => {
                if self.metrics.stuck.get() == 0 {
                    tracing::error!(%error, "usage cannot be written into its spool; it is kept in memory and tried again");
                }
                self.metrics.stuck.set(1);
                self.metrics.failures.with_label_values(&["write"]).inc();
                None
            }
        }
    }

    fn add_up(&mut self) {
        self.usage.take(&mut self.hands);
        for one in self.hands.iter_mut().flat_map(|hand| hand.drain(..)) {
            if let Some(faults) = one.metered.as_ref().map(|metered| metered.faults).filter(|faults| *faults > 0) {
                self.metrics.malformed.inc_by(faults.into());
                tracing::warn!(route = %one.route.name, faults, "a backend reports usage that cannot be counted");
            }
            let (kind, sum) = Kind::of(one);
            self.sums.entry(kind).or_default().add(sum);
        }
    }
}

/// Asks the disk to keep what was written. What was written several times meanwhile is synced once.
fn sync(files: &mpsc::Receiver<Arc<File>>, metrics: &UsageMetrics) {
    let mut next = files.recv().ok();
    while let Some(file) = next {
        next = files.try_iter().find(|other| !Arc::ptr_eq(other, &file));
        if let Err(error) = file.sync_data() {
            // What is carried to SQL is read from memory all the same; only a power cut before that would lose it.
            metrics.failures.with_label_values(&["sync"]).inc();
            tracing::error!(%error, "the disk does not keep what was used");
        }
        // The carrier may have it from now on, if it is finished.
        drop(file);
        next = next.or_else(|| files.recv().ok());
    }
}
