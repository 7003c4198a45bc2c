//! Keeps to the master keys that the file holds, so that they are rotated without a restart; says in the database which ones this gateway has; and
//! counts what does not open.
//!
//! Keys in a variable of the environment stay what they were at the start.

use std::{
    fs,
    future::Future,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use identity::{MasterKey, SealKeys, SecretText};
use store::Store;
use tokio::time::{Instant, MissedTickBehavior, interval};
use uuid::Uuid;

use crate::{
    cli::Failure,
    config::Settings,
    foundation::{failure, read_master_keys},
    looks::{Looks, looks},
    metrics::Metrics,
    readiness::Readiness,
};

/// How often the file is looked at; a rotation waits for this twice.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often a gateway says that it lives; silent for three times as long, it does not.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// How often everything that is sealed is opened once, and the pause between a few rows and the next: a million take some ten minutes.
const COUNT_EVERY: Duration = Duration::from_hours(1);
/// While something does not open: others may mend it. What this process changes itself is looked at after a moment.
const RECOUNT_EVERY: Duration = Duration::from_mins(1);
const AFTER_A_CHANGE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(100);

/// A process that has master keys, and keeps to those of the file.
pub(crate) struct Holder {
    /// `None`: they are in the environment.
    file: Option<PathBuf>,
    node: Uuid,
    store: Store,
    seal: Arc<SealKeys>,
}

/// Looks after the master keys of one gateway.
pub(crate) struct SealWatch {
    holder: Holder,
    readiness: Arc<Readiness>,
    metrics: Metrics,
}

// === impl Holder ===

impl Holder {
    pub(crate) fn new(settings: &Settings, data: &Path, (store, seal): (&Store, &Arc<SealKeys>)) -> Self {
        let source = &settings.master_key;
        Self {
            file: source.in_environment().is_none().then(|| data.join(&source.file)),
            node: Uuid::now_v7(),
            store: store.clone(),
            seal: Arc::clone(seal),
        }
    }

    /// Does what seals. A rotation that begins meanwhile waits for it as for a gateway; what one has written that was before is read first.
    pub(crate) async fn beside<T>(self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let (store, node) = (self.store.clone(), self.node);
        let told = store.tell_seal_keys(node, &self.seal.ids(), store::clock::now()).await;
        told.map_err(|error| failure(&error))?;
        if let Some(file) = &self.file {
            self.read(file, &mut None);
        }
        // A task of its own: work that waits for a file keeps its thread.
        let keeping = tokio::spawn(async move { self.keep_to_the_file().await });
        let done = work.await;
        keeping.abort();
        drop(keeping.await);
        if let Err(error) = store.forget_seal_keys(node).await {
            tracing::debug!(%error, "a rotation of the master key waits in vain for what is over");
        }
        done
    }

    async fn keep_to_the_file(&self) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut seen, mut told): (Option<Looks>, Option<(Instant, Vec<String>)>) = (None, None);
        loop {
            ticks.tick().await;
            if let Some(file) = &self.file {
                self.read(file, &mut seen);
            }
            let ids = self.seal.ids();
            if told.as_ref().is_some_and(|(at, before)| at.elapsed() < TELL_EVERY && *before == ids) {
                continue;
            }
            match self.store.tell_seal_keys(self.node, &ids, store::clock::now()).await {
                Ok(()) => told = Some((Instant::now(), ids)),
                Err(error) => tracing::debug!(%error, "which master keys are here could not be said"),
            }
        }
    }

    /// Takes up the keys of a file that has changed. One that cannot be read changes nothing: what is sealed has to open.
    fn read(&self, file: &Path, seen: &mut Option<Looks>) {
        let now = looks(file);
        if now.is_none() || now == *seen {
            return;
        }
        let read = fs::read_to_string(file).map_err(anyhow::Error::from);
        match read.and_then(|text| read_master_keys(file, &SecretText::from(text))) {
            Ok(mut keys) if keys.iter().map(MasterKey::id).ne(self.seal.ids()) => {
                let current = keys.remove(0);
                tracing::info!(seals_with = current.id(), others = keys.len(), "the master keys are others");
                self.seal.replace(current, keys);
            }
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "the master keys cannot be read; the old ones stay"),
        }
        *seen = now;
    }
}

// === impl SealWatch ===

impl SealWatch {
    pub(crate) fn new(
        settings: &Settings,
        data: &Path,
        stored: (&Store, &Arc<SealKeys>),
        readiness: &Arc<Readiness>,
        metrics: &Metrics,
    ) -> Self {
        let holder = Holder::new(settings, data, stored);
        Self { holder, readiness: Arc::clone(readiness), metrics: metrics.clone() }
    }

    /// For as long as the process lives.
    pub(crate) async fn watch(self) {
        tokio::join!(self.holder.keep_to_the_file(), self.count());
    }

    async fn count(&self) {
        let Holder { store, seal, .. } = &self.holder;
        let mut changes = store.nudges();
        loop {
            match store.unreadable(seal, PAUSE).await {
                Ok(unreadable) => self.tell(&unreadable),
                Err(error) => tracing::warn!(%error, "what does not open could not be counted"),
            }
            let is_degraded = self.readiness.unreadable.load(Ordering::Relaxed);
            let mended = async {
                let may_be = is_degraded && changes.changed().await.is_ok();
                if !may_be {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = tokio::time::sleep(if is_degraded { RECOUNT_EVERY } else { COUNT_EVERY }) => {}
                () = self.readiness.recount.notified() => {}
                () = mended => {}
            }
            tokio::time::sleep(AFTER_A_CHANGE).await;
        }
    }

    fn tell(&self, unreadable: &[(&'static str, u64)]) {
        let all: u64 = unreadable.iter().map(|(_, some)| some).sum();
        for (table, _) in unreadable {
            let some: u64 = unreadable.iter().filter(|(other, _)| other == table).map(|(_, some)| some).sum();
            let gauge = self.metrics.store.unreadable.with_label_values(&[table]);
            gauge.set(i64::try_from(some).unwrap_or(i64::MAX));
        }
        if all > 0 {
            tracing::error!(values = all, "sealed values do not open; is this the master key they were sealed with?");
        }
        self.readiness.unreadable.store(all > 0, Ordering::Relaxed);
    }
}
