//! The door: a reverse proxy that lets nobody through without a decision.
//!
//! ```text
//! client ──► proxy.rs: read → preflight → route → credential → authenticate → decide → spend → forward ──► upstream
//!               │ inbound           policies  identity     directory       policies  limiter   inject
//!               └─ any step may refuse: answer.rs, one problem+json per `Refusal`; journey.rs records every request
//! ```
//!
//! [`build`] is the only place where parts are wired together. What stands beside `proxy`, by what it is for:
//!
//! - before a request is one: `connection` (accept, TLS, strict reading), `handover`, `limits`, `panics`
//! - who somebody is: `directory`, `asked`, `certified`, `developer`, `cookies`, `login`, `jwks_client`
//! - how much somebody may: `limiter`; how long what lasts: `streams`
//! - what an upstream is told, and how: `inject`, `fields`, `assertions`, `upstream`; WebSockets: `websocket`, `tunnel`
//! - what a client is told: `answer`, `browser`, `navigation`, `grpc`
//! - what is in force: `config`, `snapshot`, `reload`, `looks`; what has changed: `feed`, `stamps`, `nudges`, `redis_line`
//! - what is written down: `journey`, `record`, `usage`, `billing`, `metrics`, `readiness`, `logging`; kept: `retention`, `seal_watch`
//! - put together: `foundation`, `office`, `door`, `serving`, `running`; the binary's commands: `cli`, `cmd`
//! - for tests and measurements alone: `properties`, `yardstick`

mod answer;
mod asked;
mod assertions;
mod billing;
mod browser;
mod certified;
pub mod cli;
mod cmd;
pub mod config;
mod connection;
mod cookies;
mod developer;
mod directory;
mod door;
mod feed;
mod fields;
mod foundation;
mod grpc;
mod handover;
mod inbound;
mod inject;
mod journey;
mod jwks_client;
mod limiter;
mod limits;
mod logging;
mod login;
mod looks;
mod metrics;
mod navigation;
mod nudges;
mod office;
mod panics;
#[cfg(any(test, feature = "properties"))]
pub mod properties;
mod proxy;
mod readiness;
mod record;
mod redis_line;
mod reload;
mod retention;
mod running;
mod seal_watch;
mod serving;
mod snapshot;
mod stamps;
mod streams;
mod tunnel;
mod upstream;
mod usage;
mod websocket;
#[cfg(feature = "yardstick")]
pub mod yardstick;

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use arc_swap::ArcSwap;
use identity::{CookieNames, LEEWAY, SealKeys, TokenRules, TokenType};
use pingora::connectors::TransportConnector;
use policies::roles::ADMIN;
use store::{Audit, Keyring, Store};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{oneshot, watch},
    task::JoinHandle,
};

pub use self::running::Running;
use crate::{
    assertions::Minter,
    billing::Billing,
    certified::Certified,
    cli::Failure,
    config::{Config, ConfigFolder, Settings},
    directory::{Directory, DirectorySettings, Outside, ProviderKeys},
    door::Door,
    feed::Feed,
    foundation::Foundation,
    handover::{Offer, Taken},
    limiter::{Leases, Limiter},
    login::Logins,
    metrics::Metrics,
    nudges::Nudges,
    readiness::Readiness,
    record::Recorder,
    reload::Reloader,
    seal_watch::SealWatch,
    serving::Sockets,
    snapshot::Snapshot,
    streams::Streams,
    usage::{Counting, Usage},
};

/// Wires every part together and begins to serve. `config` is what `folder` says and holds, perhaps with a listener of the
/// command line's choice. `take_over`: from the process that serves this data folder.
pub async fn build(folder: ConfigFolder, config: Config, data: &Path, take_over: bool) -> Result<Running, Failure> {
    let (settings, read) = (config.settings.clone(), (folder, config.digest.clone()));
    // Until it is listened to, SIGHUP ends the process, and the database may have to be waited for.
    let hangup = signal(SignalKind::hangup()).context("signals cannot be heard")?;
    let mut taken = if take_over { Taken::ask(data).await? } else { Taken::default() };
    let sockets = Sockets::bind(&settings, &mut taken)?;
    let (at, foundation) = (sockets.addresses(), Foundation::open(&settings, data).await?);
    foundation.store.seed_new_tenants(config.seed.clone());
    let metrics = Metrics::new().context("the metrics cannot be registered")?;
    let readiness = Arc::new(Readiness::default());
    let (recorder, counting) = recorder(&settings, data, &foundation.store, &metrics)?;
    let (limiter, leases) = limiter(&settings, config.policy.longest_window(), &readiness, &metrics).await;
    let keys = Arc::new(ArcSwap::from_pointee(foundation.keyring));
    let has_admin = foundation.store.has_account_with_role(ADMIN).await.context("the accounts cannot be read")?;
    let sealed = (&foundation.store, &foundation.seal, &foundation.audit);
    let directory = known(&settings, sealed, &keys, &limiter, (&metrics, &readiness))?;
    let logins = Arc::new(Logins::new(&settings.login_providers, &limiter, &metrics.jwks_fetches)?);
    let issuers: Vec<_> = directory.hear_issuers().into_iter().chain(logins.clients()).collect();
    let feed = Feed {
        store: foundation.store.clone(),
        directory: Arc::clone(&directory),
        keys: Arc::clone(&keys),
        seal: Arc::clone(&foundation.seal),
        readiness: Arc::clone(&readiness),
        metrics: metrics.clone(),
        max_stale: settings.cache.max_stale,
        keys_every: feed::KEYS_EVERY,
        last: foundation.last_change,
        told: Arc::default(),
    };
    let nudges = Nudges::new(&settings.shared, foundation.store.nudges(), &feed);
    let socket = office::Socket::bind(data)?;
    let rules = Arc::new(ArcSwap::from_pointee(first_rules(config, socket.path(), &metrics, &recorder).await?));
    let reloader = Reloader::new(read, socket.path().into(), Arc::clone(&rules), metrics.clone(), &settings);
    let reloader = Arc::new(reloader.seeding(foundation.store.clone()));
    let (stop, stopping) = watch::channel(false);
    let process = (office::Process::new(&reloader, &rules, &readiness, &directory), logins as _, counting.spool());
    let seal_watch = SealWatch::new(&settings, data, (&foundation.store, &foundation.seal), &readiness, &metrics);
    let sealed = (Arc::clone(&keys), foundation.seal, Arc::clone(&foundation.audit));
    let (office, mailer) = office::open(&settings, foundation.store.clone(), sealed, process, &metrics.registry, data)?;
    let streams = Streams::new(Arc::clone(&directory), metrics.streams.clone());
    let door = Door {
        rules,
        directory: Arc::clone(&directory),
        limiter: Arc::clone(&limiter),
        minter: Minter::new(keys, &settings.tokens.issuer, settings.tokens.assertion_ttl),
        streams: Arc::clone(&streams),
        tunnels: TransportConnector::new(None),
        recorder,
        metrics: metrics.clone(),
        readiness: Arc::clone(&readiness),
        certified: Certified::new(&settings.tls.clients),
        cookies: CookieNames::of(settings.accounts.public_url.starts_with("https://")),
        most: limits::requests_at_once(&settings.server),
        dev_headers: settings.listen.dev_headers,
        https: at.https.map(|address| address.port()),
    };
    let usage = counting.last();
    let mut background = vec![
        serving::in_background("change feed", feed.follow()),
        serving::in_background("reload", reloader.watch(hangup, Arc::clone(&foundation.audit))),
        serving::in_background("streams", Arc::clone(&streams).watch_over()),
        serving::in_background("account service", socket.serve(office)),
        serving::in_background("memory", limits::watch_memory(&settings.server, &readiness, &metrics)),
        serving::in_background("certificates", serving::watch_certificates(&sockets, &metrics)),
    ];
    let billing = Billing::new(&foundation.audit, &door.rules, &settings.billing).keep();
    let retention = retention::keep_to(&settings, foundation.audit, metrics.clone());
    let tidying = housekeeping(limiter, directory, metrics.clone());
    background.extend(keep_house(counting.carry(), billing, retention, seal_watch.watch(), mailer.carry(), tidying));
    let operators = Some(serve_operators(&sockets, &metrics, &readiness)?);
    background.extend(issuers.into_iter().map(|issuer| serving::in_background("issuer's keys", issuer.refresh())));
    background.extend(nudges.map(|nudges| serving::in_background("nudges", nudges.carry())));
    background.extend(leases.map(|leases| serving::in_background("shared limits", leases.watch(&door.rules))));
    let offer = Offer::make(&sockets, data, &taken);
    let door = serving::serve_door(door, sockets, &settings, &stopping).context("the listeners")?;
    taken.are_ours();
    let offer = offer.and_then(|offer| offer.stand(data));
    let server = settings.server;
    Ok(Running { at, has_admin, server, operators, offer, stop, door, background, readiness, streams, metrics, usage })
}

fn serve_operators(
    sockets: &Sockets,
    metrics: &Metrics,
    readiness: &Arc<Readiness>,
) -> anyhow::Result<oneshot::Sender<()>> {
    serving::serve_operators(sockets, metrics.clone(), Arc::clone(readiness)).context("the operators' listener")
}

/// What is used is written down, made into bills, and at last deleted; mail is carried, and what is kept looked after.
fn keep_house(
    usage: impl Future<Output = ()> + Send + 'static,
    billing: impl Future<Output = ()> + Send + 'static,
    retention: impl Future<Output = ()> + Send + 'static,
    sealed: impl Future<Output = ()> + Send + 'static,
    mail: impl Future<Output = ()> + Send + 'static,
    tidying: impl Future<Output = ()> + Send + 'static,
) -> [JoinHandle<()>; 6] {
    [
        serving::in_background("usage", usage),
        serving::in_background("billing", billing),
        serving::in_background("retention", retention),
        serving::in_background("master key", sealed),
        serving::in_background("mail", mail),
        serving::in_background("housekeeping", tidying),
    ]
}

/// What writes down each request, and what carries on what it has used.
fn recorder(
    settings: &Settings,
    data: &Path,
    store: &Store,
    metrics: &Metrics,
) -> Result<(Arc<Recorder>, Counting), Failure> {
    let sink = logging::access_sink(&settings.log.access)?;
    let counting = Usage::start(&settings.usage, data, store, &metrics.usage);
    let counting = counting.context("the spool of usage cannot be opened")?;
    let recorder = Recorder::start(sink, metrics.log_dropped.clone()).counting(&counting.usage);
    Ok((Arc::new(recorder), counting))
}

/// What counts limits, and what of them is shared with other gateways.
async fn limiter(
    settings: &Settings,
    longest: Duration,
    readiness: &Arc<Readiness>,
    metrics: &Metrics,
) -> (Arc<Limiter>, Option<Arc<Leases>>) {
    let leases = Leases::new(&settings.shared, longest, readiness, &metrics.leases);
    if let Some(leases) = &leases {
        leases.connect().await;
    }
    let limiter = Limiter::new(settings.server.limiter_capacity, &metrics.limiter_overflow);
    (Arc::new(limiter.sharing(leases.clone())), leases)
}

/// The configuration that the process starts with.
async fn first_rules(
    config: Config,
    office: &Path,
    metrics: &Metrics,
    recorder: &Arc<Recorder>,
) -> Result<Snapshot, Failure> {
    metrics.config_generation.set(1);
    let made = Snapshot::make(1, config, office, metrics, Arc::clone(recorder), None).await;
    made.inspect(Snapshot::begin)
        .inspect(|first| metrics.in_force(first.policy.routes.routes()))
        .map_err(|error| Failure::Surroundings(error.to_string()))
}

/// Whoever is believed, and how.
fn known(
    settings: &Settings,
    (store, seal, audit): (&Store, &Arc<SealKeys>, &Arc<Audit>),
    keys: &Arc<ArcSwap<Keyring>>,
    limiter: &Arc<Limiter>,
    (metrics, readiness): (&Metrics, &Arc<Readiness>),
) -> anyhow::Result<Arc<Directory>> {
    let (dev_headers, passwords) = (settings.listen.dev_headers, settings.passwords.argon2);
    let outside = Outside::new(&settings.issuers, dev_headers, passwords, limiter, metrics)?.recorded_in(audit, seal);
    let (keys, limiter) = (Arc::clone(keys), Arc::clone(limiter));
    let directory = Directory::new(store.clone(), keys, limiter, directory_settings(settings), metrics);
    let provider_keys = ProviderKeys::new(store.clone(), Arc::clone(seal), readiness, settings.cache.credentials);
    let directory = Arc::new(directory.believing(outside).with_provider_keys(provider_keys));
    directory.hear_own_changes(store);
    Ok(directory)
}

fn directory_settings(settings: &config::Settings) -> DirectorySettings {
    DirectorySettings {
        rules: TokenRules {
            issuer: settings.tokens.issuer.as_str().into(),
            audience: settings.tokens.audience.as_str().into(),
            typ: TokenType::Access,
            leeway: LEEWAY,
        },
        capacity: settings.cache.credentials,
        refused_capacity: settings.cache.refused,
        refused_ttl: settings.cache.refused_for,
        cookie_idle: settings.pages.cookie_idle,
        refusals: settings.server.refusals,
    }
}

/// Tidies the cache, sweeps the limiter and brings the gauges up to date, for as long as the process lives.
async fn housekeeping(limiter: Arc<Limiter>, directory: Arc<Directory>, metrics: Metrics) {
    let mut ticks = tokio::time::interval(Duration::from_secs(10));
    loop {
        ticks.tick().await;
        directory.tidy(store::clock::now()).await;
        limiter.sweep().await;
        metrics.limiter_entries.set(i64::try_from(limiter.len()).unwrap_or(i64::MAX));
        metrics.cache.entries.set(i64::try_from(directory.len()).unwrap_or(i64::MAX));
    }
}
