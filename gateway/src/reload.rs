//! A new configuration under way: read, tried on its own cases, and swapped in whole, or refused whole.
//!
//! Three things ask for it: a change in the folder, SIGHUP, and `POST /admin/config/reload`. Requests in flight finish
//! under the rules they began with; sections that need a restart are reported and otherwise ignored.

use std::{path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use notify::{RecursiveMode, Watcher};
use policies::cases;
use store::{Audit, Store};
use tokio::{
    signal::unix::Signal,
    sync::{Mutex, mpsc},
};

use crate::{
    config::{ConfigFolder, Settings, load},
    foundation::of_command,
    metrics::Metrics,
    snapshot::Snapshot,
};

/// Editors and orchestrators write several files in a row; what arrives within this time is one change.
const SETTLE: Duration = Duration::from_millis(200);

/// Puts configurations in force, one after another.
pub(crate) struct Reloader {
    folder: ConfigFolder,
    office: PathBuf,
    rules: Arc<ArcSwap<Snapshot>>,
    metrics: Metrics,
    /// Told what new organisations begin with.
    store: Option<Store>,
    /// The settings that the process started with; what needs a restart is compared with them. The lock lets one reload
    /// happen at a time.
    started_with: Mutex<Settings>,
}

/// What a reload did.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) generation: u64,
    /// Sections that changed and take effect at the next start only.
    pub(crate) needs_restart: Vec<&'static str>,
}

// === impl Reloader ===

impl Reloader {
    pub(crate) fn new(
        folder: ConfigFolder,
        office: PathBuf,
        rules: Arc<ArcSwap<Snapshot>>,
        metrics: Metrics,
        settings: Settings,
    ) -> Self {
        Self { folder, office, rules, metrics, store: None, started_with: Mutex::new(settings) }
    }

    /// Tells the store too what new organisations begin with.
    pub(crate) fn seeding(self, store: Store) -> Self {
        Self { store: Some(store), ..self }
    }

    /// Reads the folder and puts it in force; every error, if there is one, and then the old one stays.
    pub(crate) async fn reload(&self) -> Result<Applied, Vec<String>> {
        let outcome = self.try_reload().await;
        match &outcome {
            Ok(applied) => {
                self.metrics.reloads.with_label_values(&["applied"]).inc();
                tracing::info!(generation = applied.generation, needs_restart = ?applied.needs_restart, "configuration applied");
            }
            Err(errors) => {
                self.metrics.reloads.with_label_values(&["refused"]).inc();
                for error in errors {
                    tracing::error!(%error, "configuration refused; the old one stays");
                }
            }
        }
        outcome
    }

    async fn try_reload(&self) -> Result<Applied, Vec<String>> {
        let started_with = self.started_with.lock().await;
        let config = load(&self.folder).map_err(|wrong| wrong.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        let needs_restart = restart_sections(&started_with, &config.settings);
        let (cases, seed) = (config.cases.clone(), config.seed.clone());
        let generation = self.rules.load().generation + 1;
        let before = self.rules.load_full();
        let recorder = Arc::clone(&before.recorder);
        let snapshot = Snapshot::make(generation, config, &self.office, &self.metrics, recorder, Some(&before))
            .await
            .map_err(|error| vec![error.to_string()])?;
        let failures = cases::run(&snapshot.policy, &cases);
        if !failures.is_empty() {
            return Err(failures.iter().map(ToString::to_string).collect());
        }
        let snapshot = Arc::new(snapshot);
        self.metrics.in_force(snapshot.policy.routes.routes());
        self.rules.store(Arc::clone(&snapshot));
        before.retire(&snapshot, &self.metrics);
        snapshot.begin();
        if let Some(store) = &self.store {
            store.seed_new_tenants(seed);
        }
        self.metrics.config_generation.set(i64::try_from(generation).unwrap_or(i64::MAX));
        Ok(Applied { generation, needs_restart })
    }

    /// Reloads whenever the folder changes or SIGHUP comes, for as long as the process lives.
    pub(crate) async fn watch(self: Arc<Self>, mut hangup: Signal, audit: Arc<Audit>) {
        let (notice, mut changes) = mpsc::channel(1);
        let watcher = match &self.folder {
            ConfigFolder::Embedded => None,
            ConfigFolder::Path(path) => watch_folder(path, notice)
                .inspect_err(|error| tracing::error!(%error, "the configuration folder cannot be watched"))
                .ok(),
        };
        loop {
            tokio::select! {
                _ = hangup.recv() => {}
                Some(()) = changes.recv(), if watcher.is_some() => {
                    tokio::time::sleep(SETTLE).await;
                    // What came meanwhile is part of the same change.
                    while changes.try_recv().is_ok() {}
                }
            }
            // The outcome is in the log and the metrics.
            if self.reload().await.is_ok()
                && let Err(error) = audit.add(of_command("reload_config", None)).await
            {
                tracing::error!(%error, "an event is missing in the audit trail");
            }
        }
    }
}

/// Watches the folder and not its files: orchestrators and editors replace them by renaming.
fn watch_folder(path: &std::path::Path, changed: mpsc::Sender<()>) -> notify::Result<notify::RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !event.kind.is_access()) {
            // A change that is waiting already stands for this one too.
            let _ = changed.try_send(());
        }
    })?;
    watcher.watch(path, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

/// The sections marked (restart) that differ.
fn restart_sections(before: &Settings, after: &Settings) -> Vec<&'static str> {
    let differ = [
        ("listen", before.listen != after.listen),
        ("server.worker_threads", before.server.worker_threads != after.server.worker_threads),
        ("server.limiter_capacity", before.server.limiter_capacity != after.server.limiter_capacity),
        ("server.refusals", before.server.refusals != after.server.refusals),
        ("server.drain", before.server.drain != after.server.drain),
        ("store", before.store != after.store),
        ("cache", before.cache != after.cache),
        ("retention", before.retention != after.retention),
        ("shared", before.shared != after.shared),
        ("tokens", before.tokens != after.tokens),
        ("issuers", before.issuers != after.issuers),
        ("login_providers", before.login_providers != after.login_providers),
        ("accounts", before.accounts != after.accounts),
        ("lockout", before.lockout != after.lockout),
        ("mail", before.mail != after.mail),
        ("pages", before.pages != after.pages),
        ("passwords", before.passwords != after.passwords),
        ("secrets", before.master_key != after.master_key),
        ("log", before.log != after.log),
        ("usage", before.usage != after.usage),
        ("billing", before.billing != after.billing),
    ];
    differ.into_iter().filter(|(_, differs)| *differs).map(|(section, _)| section).collect()
}
