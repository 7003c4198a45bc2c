//! Takes what requests have handed over, adds it up, and writes it into the spool.
//!
//! Two threads, so that a slow disk holds nothing up: one writes at every interval, after which a process that is killed loses nothing
//! of it; the other asks the disk to keep what is written, after which a machine that loses its power does not either.
//!
//! When the disk takes nothing, what requests have used is kept here and added up until it does. What a service has reported is not kept: it
//! hears so.

use std::{
    fs::File,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use super::{
    Counted, Usage,
    reports::Kept,
    spool::Spool,
    sums::{Kind, Sums},
};
use crate::{config::UsageSettings, metrics::UsageMetrics};

/// What was written, and who waits for the disk to keep it.
struct Written {
    file: Arc<File>,
    waiting: Vec<Kept>,
}

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
    #[expect(clippy::disallowed_methods, reason = "whoever closes what there is to write unparks it")]
    pub(super) fn write(mut self) {
        let (to_sync, written) = mpsc::channel::<Written>();
        let metrics = self.metrics.clone();
        let syncing = thread::spawn(move || sync(&written, &metrics));
        loop {
            let (began, is_last) = (Instant::now(), self.usage.is_closing());
            if let Some(written) = self.write_once() {
                // It ends after us.
                drop(to_sync.send(written));
            }
            self.spool.close_if_due(self.carry);
            if is_last {
                break;
            }
            thread::park_timeout(self.flush.saturating_sub(began.elapsed()));
        }
        self.usage.reports.close();
        drop(to_sync);
        self.spool.close();
        drop(syncing.join());
    }

    /// One interval's work; gives the file if something was written.
    fn write_once(&mut self) -> Option<Written> {
        self.add_up();
        let (reports, waiting) = self.usage.reports.take();
        if self.sums.is_empty() && reports.is_empty() {
            return None;
        }
        match self.spool.add(&self.sums, &reports) {
            Ok(file) => {
                self.sums.clear();
                self.metrics.stuck.set(0);
                Some(Written { file, waiting })
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

/// Asks the disk to keep what was written, and tells who waits for it. What was written several times meanwhile is synced once.
fn sync(written: &mpsc::Receiver<Written>, metrics: &UsageMetrics) {
    while let Ok(first) = written.recv() {
        let mut next = [first].into_iter().chain(written.try_iter()).peekable();
        while let Some(Written { file, mut waiting }) = next.next() {
            while let Some(more) = next.next_if(|more| Arc::ptr_eq(&more.file, &file)) {
                waiting.extend(more.waiting);
            }
            match file.sync_data() {
                Ok(()) => {
                    for kept in waiting {
                        // Who has gone meanwhile need not hear it.
                        let _ = kept.send(());
                    }
                }
                Err(error) => {
                    // What is carried to SQL is read from memory all the same; only a power cut before that would lose it.
                    metrics.failures.with_label_values(&["sync"]).inc();
                    tracing::error!(%error, "the disk does not keep what was used");
                }
            }
            // The carrier may have it from now on, if it is finished.
            drop(file);
        }
    }
}
