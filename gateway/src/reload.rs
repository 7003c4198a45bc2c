//! A new configuration under way: read, tried on its own cases, and swapped in whole, or refused whole.
//!
//! Three things ask for it: a change in the folder, SIGHUP, and `POST /admin/config/reload`. Requests in flight finish
//! under the rules they began with; sections that need a restart are reported and otherwise ignored.

mod watched;

use std::{path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use store::{Audit, AuditEvent, Store};
use tokio::{
    signal::unix::Signal,
    sync::{Mutex, mpsc},
    time::MissedTickBehavior,
};

use self::watched::Watched;
use crate::{
    config::{Config, ConfigFolder, Issuers, Server, Settings, Texts, parse},
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
    /// Of the files that the process started with: [`Config::digest`].
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
    /// See [`Config::digest`].
    pub(crate) digest: Option<String>,
}

/// What a reload did not put in force, and all that is wrong with it.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) errors: Vec<String>,
    /// See [`Config::digest`].
    pub(crate) digest: Option<String>,
}

// === impl Reloader ===

impl Reloader {
    /// `began_with`: the [`Config::digest`] of what is in force.
    pub(crate) fn new(
        (folder, began_with): (ConfigFolder, Option<String>),
        office: PathBuf,
        rules: Arc<ArcSwap<Snapshot>>,
        metrics: Metrics,
        settings: &Settings,
    ) -> Self {
        Self { folder, began_with, office, rules, metrics, store: None, started_with: Mutex::new(settings.clone()) }
    }

    /// Tells the store too what new organisations begin with.
    pub(crate) fn seeding(self, store: Store) -> Self {
        Self { store: Some(store), ..self }
    }

    /// Reads the folder and puts it in force; every error, if there is one, and then the old one stays.
    pub(crate) async fn reload(&self) -> Result<Applied, Refused> {
        let started_with = self.started_with.lock().await;
        let texts = self.folder.read();
        let outcome = self.put_in_force(&started_with, &texts).await;
        let outcome = outcome.map_err(|errors| Refused { errors, digest: texts.digest() });
        match &outcome {
            Ok(applied) => {
                self.metrics.reloads.with_label_values(&["applied"]).inc();
                tracing::info!(generation = applied.generation, needs_restart = ?applied.needs_restart, "configuration applied");
            }
            Err(refused) => {
                self.metrics.reloads.with_label_values(&["refused"]).inc();
                for error in &refused.errors {
                    tracing::error!(%error, "configuration refused; the old one stays");
                }
            }
        }
        outcome
    }

    async fn put_in_force(&self, started_with: &Settings, texts: &Texts) -> Result<Applied, Vec<String>> {
        let config =
            parse(&self.folder, texts).map_err(|wrong| wrong.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        let needs_restart = restart_sections(started_with, &config.settings);
        let config = Config { settings: in_force(started_with, config.settings), ..config };
        // Before anything is made: what a pool learns it shares with the one that stays if this is refused.
        config.try_cases()?;
        let (seed, digest) = (config.seed.clone(), config.digest.clone());
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
        Ok(Applied { generation, needs_restart, digest })
    }

    /// Reloads whenever the folder changes or SIGHUP comes, for as long as the process lives.
    pub(crate) async fn watch(self: Arc<Self>, mut hangup: Signal, audit: Arc<Audit>) {
        let (notice, mut changes) = mpsc::channel(1);
        let mut watched = match &self.folder {
            ConfigFolder::Embedded => None,
            ConfigFolder::Path(path) => Some(Watched::new(path, notice)),
        };
        tell(&audit, of_configuration("start", self.began_with.clone())).await;
        // The database or names may have been waited for since the files were read, and nobody listened.
        let mut is_late = self.folder.read().digest() != self.began_with;
        let mut ticks = tokio::time::interval(REPLACED_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = hangup.recv() => {}
                Some(()) = changes.recv(), if watched.is_some() => {}
                _ = ticks.tick(), if watched.is_some() => {
                    if !is_late && !watched.as_mut().is_some_and(|watched| watched.is_replaced() || watched.hears_again()) {
                        continue;
                    }
                }
            }
            is_late = false;
            tokio::time::sleep(SETTLE).await;
            // What came meanwhile is part of the same change; what comes from here on is another one.
            while changes.try_recv().is_ok() {}
            if let Some(watched) = &mut watched {
                watched.begin();
            }
            // Why it is refused is in the log.
            let (outcome, digest) = match self.reload().await {
                Ok(applied) => ("ok", applied.digest),
                Err(refused) => ("config_refused", refused.digest),
            };
            let event = AuditEvent { outcome: outcome.to_owned(), ..of_configuration("reload_config", digest) };
            tell(&audit, event).await;
        }
    }
}

async fn tell(audit: &Arc<Audit>, event: AuditEvent) {
    if let Err(error) = audit.add(event).await {
        tracing::error!(%error, "an event is missing in the audit trail");
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
        max_connections_percent: "server.max_connections_percent",
        max_connections_per_address: "server.max_connections_per_address",
        max_requests: "server.max_requests",
        max_requests_per_address: "server.max_requests_per_address",
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
