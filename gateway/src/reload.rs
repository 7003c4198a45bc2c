//! A new configuration under way: read, tried on its own cases, and swapped in whole, or refused whole.
//!
//! Three things ask for it: a change in the folder, SIGHUP, and `POST /admin/config/reload`. Requests in flight finish
//! under the rules they began with; sections that need a restart are reported and otherwise ignored.

use std::{
    collections::BTreeSet,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode, ModifyKind},
};
use store::{Audit, AuditEvent, Store};
use tokio::{
    signal::unix::Signal,
    sync::{Mutex, mpsc},
    time::MissedTickBehavior,
};

use crate::{
    config::{Config, ConfigFolder, Issuers, Server, Settings, files_of, load},
    foundation::of_configuration,
    metrics::Metrics,
    snapshot::Snapshot,
};

/// Editors and orchestrators write several files in a row; what arrives within this time is one change.
const SETTLE: Duration = Duration::from_millis(200);
/// How often it is looked whether another folder or file has been put in the place of one that is watched, by renaming or by a link
/// anywhere on the way to it: who watches a folder does not hear of that.
const REPLACED_EVERY: Duration = Duration::from_secs(1);

/// Puts configurations in force, one after another.
pub(crate) struct Reloader {
    folder: ConfigFolder,
    /// Of the files that the process started with.
    began_with: Option<String>,
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
        let began_with = folder.digest();
        Self { folder, began_with, office, rules, metrics, store: None, started_with: Mutex::new(settings) }
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

    /// Which configuration it is, as far as its files say: see [`ConfigFolder::digest`].
    pub(crate) fn digest(&self) -> Option<String> {
        self.folder.digest()
    }

    async fn try_reload(&self) -> Result<Applied, Vec<String>> {
        let started_with = self.started_with.lock().await;
        let config = load(&self.folder).map_err(|wrong| wrong.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        let needs_restart = restart_sections(&started_with, &config.settings);
        let config = Config { settings: in_force(&started_with, config.settings), ..config };
        // Before anything is made: what a pool learns it shares with the one that stays if this is refused.
        config.try_cases()?;
        let seed = config.seed.clone();
        let generation = self.rules.load().generation + 1;
        let before = self.rules.load_full();
        let recorder = Arc::clone(&before.recorder);
        let snapshot = Snapshot::make(generation, config, &self.office, &self.metrics, recorder, Some(&before))
            .await
            .map_err(|error| vec![error.to_string()])?;
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
        let mut watched = match &self.folder {
            ConfigFolder::Embedded => None,
            ConfigFolder::Path(path) => Some(Watched::new(path, notice)),
        };
        tell(&audit, of_configuration("start", self.began_with.clone())).await;
        let mut ticks = tokio::time::interval(REPLACED_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = hangup.recv() => {}
                Some(()) = changes.recv(), if watched.is_some() => {}
                _ = ticks.tick(), if watched.is_some() => match &watched {
                    Some(watched) if watched.is_replaced() => {}
                    _ => continue,
                },
            }
            tokio::time::sleep(SETTLE).await;
            // What came meanwhile is part of the same change; what comes from here on is another one.
            while changes.try_recv().is_ok() {}
            if let Some(watched) = &mut watched {
                watched.begin();
            }
            // Why it is refused is in the log.
            let outcome = self.reload().await.map_or("config_refused", |_| "ok").to_owned();
            let event = AuditEvent { outcome, ..of_configuration("reload_config", self.digest()) };
            tell(&audit, event).await;
        }
    }
}

async fn tell(audit: &Arc<Audit>, event: AuditEvent) {
    if let Err(error) = audit.add(event).await {
        tracing::error!(%error, "an event is missing in the audit trail");
    }
}

/// A folder that is watched, and files to which links in it lead: their folders, since orchestrators and editors replace files by renaming.
struct Watched<'a> {
    path: &'a Path,
    notice: mpsc::Sender<()>,
    /// The folder and its files, as they were.
    there: Vec<Option<There>>,
    watcher: Option<RecommendedWatcher>,
}

/// Where something is, wherever links lead, and which one that is, by device and number.
#[derive(PartialEq, Eq)]
struct There {
    path: PathBuf,
    number: (u64, u64),
}

// === impl Watched ===

impl<'a> Watched<'a> {
    fn new(path: &'a Path, notice: mpsc::Sender<()>) -> Self {
        let mut watched = Self { path, notice, there: Vec::new(), watcher: None };
        watched.begin();
        watched
    }

    /// Watches what is there now. What was watched before is let go only then: between them nothing is missed.
    fn begin(&mut self) {
        self.there = self.look();
        let paths = self.there.iter().flatten().map(|there| there.path.clone()).collect();
        let watcher = watch(paths, self.notice.clone());
        self.watcher =
            watcher.inspect_err(|error| tracing::error!(%error, "the configuration folder cannot be watched")).ok();
    }

    /// Is there another folder or file than what is watched? Between two there may be none for a moment.
    fn is_replaced(&self) -> bool {
        self.look().iter().zip(&self.there).any(|(now, before)| now.is_some() && now != before)
    }

    fn look(&self) -> Vec<Option<There>> {
        [self.path.to_owned()].into_iter().chain(files_of(self.path)).map(|path| There::at(&path)).collect()
    }
}

// === impl There ===

impl There {
    fn at(path: &Path) -> Option<Self> {
        let path = path.canonicalize().ok()?;
        let found = path.metadata().ok()?;
        Some(Self { path, number: (found.dev(), found.ino()) })
    }
}

/// Watches a folder, the first of these, with all that is in it, and of what is elsewhere these files alone.
fn watch(paths: Vec<PathBuf>, changed: mpsc::Sender<()>) -> notify::Result<RecommendedWatcher> {
    let folder = paths.first().cloned().ok_or_else(notify::Error::path_not_found)?;
    let linked: BTreeSet<PathBuf> = paths.iter().skip(1).filter_map(|file| Some(file.parent()?.to_owned())).collect();
    let is_ours = {
        let folder = folder.clone();
        move |path: &PathBuf| path.parent() == Some(folder.as_path()) || paths.contains(path)
    };
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // An event of no path: some were lost.
        let is_ours = |event: &notify::Event| event.paths.is_empty() || event.paths.iter().any(&is_ours);
        if event.is_ok_and(|event| is_whole(event.kind) && is_ours(&event)) {
            // A change that is waiting already stands for this one too.
            let _ = changed.try_send(());
        }
    })?;
    watcher.watch(&folder, RecursiveMode::NonRecursive)?;
    for linked in linked.iter().filter(|linked| **linked != folder) {
        if let Err(error) = watcher.watch(linked, RecursiveMode::NonRecursive) {
            tracing::error!(%error, "a folder that links of the configuration lead to cannot be watched");
        }
    }
    Ok(watcher)
}

/// Is there something to read? Half a file may be a valid one that demands less. On Linux it is told when who has written it closes it.
fn is_whole(change: EventKind) -> bool {
    match change {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        EventKind::Modify(ModifyKind::Data(_)) => !cfg!(target_os = "linux"),
        _ => true,
    }
}

/// What of a new file counts in a process that started with `started`: nothing of what is marked (restart), so that none of it
/// takes effect by halves.
fn in_force(started: &Settings, file: Settings) -> Settings {
    let Server { max_uri_bytes, max_body_bytes, keepalive, trusted_proxies, .. } = file.server;
    let Server { underscore_headers, reserved_headers, .. } = file.server;
    let server = Server {
        max_uri_bytes,
        max_body_bytes,
        keepalive,
        trusted_proxies,
        underscore_headers,
        reserved_headers,
        ..started.server.clone()
    };
    Settings {
        server,
        browser: file.browser,
        foreign_pages: file.foreign_pages,
        upstreams: file.upstreams,
        ..started.clone()
    }
}

/// Names the fields that differ. Whoever adds one has to say whether it matters here.
macro_rules! differing {
    ($before:expr, $after:expr, $Type:ident { $($field:ident: $name:literal,)* } but { $($other:ident,)* }) => {{
        let ($Type { $($field,)* $($other: _,)* }, after) = ($before, $after);
        [$(($name, *$field != after.$field),)*].into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name)
    }};
}

/// The sections marked (restart) that differ.
fn restart_sections(before: &Settings, after: &Settings) -> Vec<&'static str> {
    let mut after = after.clone();
    // Whom it concerns is a part of the policy, and in force at once.
    after.mfa.guarded = before.mfa.guarded.clone();
    if before.listen.by_command {
        (after.listen.http, after.listen.by_command) = (before.listen.http, true);
    }
    let sections = differing!(before, &after, Settings {
        listen: "listen",
        tls: "tls",
        store: "store",
        cache: "cache",
        retention: "retention",
        shared: "shared",
        tokens: "tokens",
        login_providers: "login_providers",
        accounts: "accounts",
        mfa: "mfa",
        lockout: "lockout",
        mail: "mail",
        pages: "pages",
        passwords: "passwords",
        master_key: "secrets",
        log: "log",
        usage: "usage",
        billing: "billing",
    } but { server, browser, foreign_pages, upstreams, issuers, });
    let issuers = differing!(&before.issuers, &after.issuers, Issuers {
        external: "issuers",
        legacy: "legacy_issuers",
    } but {});
    // Connections of HTTP/2 are idle for as long as the start says.
    let keepalive = (before.server.keepalive != after.server.keepalive).then_some("server.keepalive");
    // Which balancers announce whose connection it is, each connection has been told for good.
    let announcers = before.listen.proxy_protocol && before.server.trusted_proxies != after.server.trusted_proxies;
    let announcers = announcers.then_some("server.trusted_proxies");
    let server = server_fields(&before.server, &after.server).chain(keepalive).chain(announcers);
    sections.chain(issuers).chain(server).collect()
}

fn server_fields(before: &Server, after: &Server) -> impl Iterator<Item = &'static str> {
    differing!(before, after, Server {
        worker_threads: "server.worker_threads",
        max_header_bytes: "server.max_header_bytes",
        max_header_fields: "server.max_header_fields",
        header_timeout: "server.header_timeout",
        min_body_rate: "server.min_body_rate",
        write_timeout: "server.write_timeout",
        max_connections: "server.max_connections",
        max_connections_per_address: "server.max_connections_per_address",
        max_requests: "server.max_requests",
        max_requests_per_connection: "server.max_requests_per_connection",
        http2_max_streams: "server.http2_max_streams",
        http2_max_resets: "server.http2_max_resets",
        http2_max_control_frames: "server.http2_max_control_frames",
        memory_limit: "server.memory_limit",
        drain_delay: "server.drain_delay",
        drain: "server.drain",
        refusals: "server.refusals",
        limiter_capacity: "server.limiter_capacity",
    } but { max_uri_bytes, max_body_bytes, keepalive, trusted_proxies, underscore_headers, reserved_headers, })
}

#[cfg(all(test, target_os = "linux"))]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use std::{fs::File, io::Write};

    use super::*;

    /// What the system tells of the folder, up to the end of what is done in it.
    fn told(done: impl FnOnce(&Path)) -> Vec<EventKind> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("gateway.toml"), "begin").unwrap();
        let (sender, events) = std::sync::mpsc::channel();
        let mut watcher = notify::recommended_watcher(move |event| drop(sender.send(event))).unwrap();
        watcher.watch(folder.path(), RecursiveMode::NonRecursive).unwrap();
        done(folder.path());
        std::fs::create_dir(folder.path().join("end")).unwrap();
        let kinds = events.iter().map(|event: notify::Result<notify::Event>| event.unwrap());
        kinds
            .take_while(|event| !event.paths.iter().any(|path| path.ends_with("end")))
            .map(|event| event.kind)
            .collect()
    }

    #[test]
    fn a_file_is_whole_when_its_writer_closes_it_or_another_takes_its_place() {
        let half = told(|folder| {
            let mut file = File::options().write(true).truncate(true).open(folder.join("gateway.toml")).unwrap();
            file.write_all(b"half").unwrap();
            // Its writer goes on after the test.
            std::mem::forget(file);
        });
        assert!(!half.is_empty() && !half.iter().any(|kind| is_whole(*kind)), "{half:?}");
        let written = told(|folder| std::fs::write(folder.join("gateway.toml"), "whole").unwrap());
        assert_eq!(written.iter().filter(|kind| is_whole(**kind)).count(), 1, "{written:?}");
        let renamed = told(|folder| std::fs::rename(folder.join("gateway.toml"), folder.join("other.toml")).unwrap());
        assert!(renamed.iter().any(|kind| is_whole(*kind)), "{renamed:?}");
    }
}
