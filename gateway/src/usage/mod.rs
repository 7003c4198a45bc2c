//! What callers use: counted by the door for each request that it forwards, and by what backends say of their answers.
//!
//! ```text
//! request ──► Journey::record ──► hand-over ──► writer.rs, a thread ──► spool.rs ──► carrier.rs, a task ──► SQL
//!                                 (a vector)    adds up, every 50 ms    on the disk   in batches, each with an id
//! POST /usage ──► admin-api ──► reports.rs ─────┘ answered once it is on the disk
//! ```
//!
//! What a request costs the hot path: a lock that nobody else wants and a push of 32 bytes. Each thread has a vector of its own (with more
//! threads than vectors some share one), and the writer takes it away by a swap, so that the lock is as good as never waited for: no system call.
//! What is pushed are the request's own references to its caller and route, moved, so that no counter that all cores share is touched;
//! they are dropped, and everything is added up, on the writer's thread.
//!
//! Counted is what was forwarded for a known caller. What our own account service answers is not: it is the platform's, and metered nowhere
//! else either. What a backend reports of an answer (`meter.rs`) is counted with the request.

mod carrier;
pub(crate) mod meter;
mod reports;
mod spool;
mod sums;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    cell::Cell,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use admin_api::UsageSpool;
use parking_lot::Mutex;
use policies::Route;
use store::Store;

use self::{
    carrier::Carrier,
    meter::Metered,
    reports::Reports,
    spool::{Finished, Spool},
    writer::Writer,
};
use crate::{config::UsageSettings, directory::Known, metrics::UsageMetrics};

/// Vectors at most; a thread whose number is higher shares one.
const MOST_SHARDS: usize = 64;
/// How long a stop waits for SQL to take what is in the spool; what is left is carried by the next start, or by another process on this
/// data folder.
const LAST_CARRIAGE: Duration = Duration::from_secs(5);

/// One request that was forwarded, as it is handed over.
pub(crate) struct Counted {
    known: Arc<Known>,
    route: Arc<Route>,
    /// Unix seconds of its beginning.
    at: i64,
    metered: Option<Box<Metered>>,
}

/// On a line of its own in the processors' caches: threads do not slow each other down.
#[derive(Default)]
#[repr(align(128))]
struct Shard(Mutex<Vec<Counted>>);

/// Takes what is counted. Whoever clones the [`Arc`] around it counts into the same.
pub(crate) struct Usage {
    /// None: nothing is counted.
    shards: Box<[Shard]>,
    reports: Reports,
    closing: std::sync::atomic::AtomicBool,
    writer: Mutex<Option<thread::JoinHandle<()>>>,
}

/// Both ends of the counting: what takes, and what carries it on.
pub(crate) struct Counting {
    pub(crate) usage: Arc<Usage>,
    carrier: Option<Carrier>,
}

thread_local! {
    static SHARD: Cell<usize> = const { Cell::new(usize::MAX) };
}
static THREADS: AtomicUsize = AtomicUsize::new(0);

/// Removes what waits to be carried from a data folder, whose platform is another one from now on. Gives what is left of it, since a process
/// has it.
pub(crate) fn clear(settings: &UsageSettings, data: &Path) -> io::Result<Vec<PathBuf>> {
    let (folder, mut left) = (data.join(&settings.folder), Vec::new());
    if !folder.try_exists()? {
        return Ok(left);
    }
    for path in spool::segments(&folder)? {
        match Finished::open(path.clone())? {
            Some(finished) => fs::remove_file(&finished.path)?,
            None if path.try_exists()? => left.push(path),
            None => {}
        }
    }
    Ok(left)
}

// === impl Usage ===

impl Usage {
    /// Counts nothing.
    pub(crate) fn off() -> Arc<Self> {
        Arc::new(Self {
            shards: Box::default(),
            reports: Reports::default(),
            closing: false.into(),
            writer: Mutex::default(),
        })
    }

    /// Starts to count into a spool in the data folder, which the returned carrier empties.
    pub(crate) fn start(
        settings: &UsageSettings,
        data: &Path,
        store: &Store,
        metrics: &UsageMetrics,
    ) -> io::Result<Counting> {
        if !settings.enabled {
            return Ok(Counting { usage: Self::off(), carrier: None });
        }
        let folder = data.join(&settings.folder);
        let spool = Spool::open(&folder, metrics)?;
        let backlog = spool.backlog();
        let shards = thread::available_parallelism().map_or(1, usize::from).min(MOST_SHARDS);
        let shards = (0..shards).map(|_| Shard::default()).collect();
        let reports = Reports::open();
        let usage = Arc::new(Self { shards, reports, closing: false.into(), writer: Mutex::default() });
        let writer = Writer::new(Arc::clone(&usage), spool, settings, metrics.clone());
        *usage.writer.lock() = Some(thread::Builder::new().name("usage".to_owned()).spawn(move || writer.write())?);
        let carrier = Carrier::new(folder, store.clone(), settings.carry, backlog, metrics.clone());
        Ok(Counting { usage, carrier: Some(carrier) })
    }

    pub(crate) fn is_on(&self) -> bool {
        !self.shards.is_empty()
    }

    /// Counts one request. The hot path: see the head of this file.
    pub(crate) fn count(&self, known: Arc<Known>, route: Arc<Route>, at: i64, metered: Option<Box<Metered>>) {
        let own = SHARD.get();
        let own = if own == usize::MAX { number() } else { own };
        let Some(shard) = self.shards.get(own % self.shards.len().max(1)) else { return };
        shard.0.lock().push(Counted { known, route, at, metered });
    }

    /// Takes what was handed over since the last time, in exchange for empty vectors, which keep their room: in the long run none grows.
    fn take(&self, hands: &mut Vec<Vec<Counted>>) {
        hands.resize_with(self.shards.len(), Vec::new);
        for (shard, hand) in self.shards.iter().zip(hands) {
            std::mem::swap(&mut *shard.0.lock(), hand);
        }
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Writes what is left; nothing is counted any more.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Release);
        if let Some(writer) = self.writer.lock().take() {
            writer.thread().unpark();
            // A writer that panicked has lost what it held; there is nobody left to tell.
            drop(writer.join());
        }
    }
}

/// The number of this thread, drawn once.
#[cold]
fn number() -> usize {
    let number = THREADS.fetch_add(1, Ordering::Relaxed);
    SHARD.set(number);
    number
}

// === impl Counting ===

impl Counting {
    /// Carries to SQL what is in the spool, for as long as the process lives.
    pub(crate) async fn carry(self) {
        if let Some(carrier) = self.carrier {
            carrier.carry().await;
        }
    }

    /// Where what services report is kept, if anything is.
    pub(crate) fn spool(&self) -> Option<Arc<dyn UsageSpool>> {
        self.usage.is_on().then(|| Arc::clone(&self.usage) as _)
    }

    /// What a stop has to do: the spool is written to its end, and carried if SQL takes it soon.
    pub(crate) fn last(&self) -> LastOrders {
        LastOrders { usage: Arc::clone(&self.usage), carrier: self.carrier.clone() }
    }
}

/// The end of the counting.
pub(crate) struct LastOrders {
    usage: Arc<Usage>,
    carrier: Option<Carrier>,
}

impl LastOrders {
    /// Writes and carries what is left.
    pub(crate) async fn finish(self) {
        let usage = self.usage;
        drop(tokio::task::spawn_blocking(move || usage.close()).await);
        if let Some(carrier) = self.carrier
            && tokio::time::timeout(LAST_CARRIAGE, carrier.carry_once()).await.is_err()
        {
            tracing::warn!("the database did not take what was used in time; it stays in the spool");
        }
    }
}
