//! What operators see: every metric of the door, registered once, never labelled with a person or a path.
//!
//! Children of label vectors that the hot path touches are resolved when a configuration is loaded ([`RouteMetrics`]),
//! so that a request costs atomic adds and no hash of labels.

mod callers;
mod connections;
mod feed;
mod leases;
mod upstreams;
mod usage;

use std::{sync::Arc, time::Duration};

use policies::{Auth, Refusal, Route};
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

pub(crate) use self::{
    callers::{CacheMetrics, StoreMetrics},
    connections::{ConnectionMetrics, Unheard},
    feed::FeedMetrics,
    leases::LeaseMetrics,
    upstreams::{UpstreamMetrics, UpstreamsMetrics},
    usage::UsageMetrics,
};
use crate::panics;

/// Seconds. The door itself answers in tens of microseconds; upstreams take milliseconds to minutes.
const SECONDS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];
/// Classes of status codes of permitted requests, by first digit; index 0 is "no answer".
const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];
/// The route label of a request that matched none.
pub(crate) const NO_ROUTE: &str = "-";

/// Every metric of the process. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Metrics {
    pub(crate) registry: Registry,
    requests: IntCounterVec,
    duration: HistogramVec,
    pub(crate) in_flight: IntGauge,
    pub(crate) own_answers: IntGauge,
    pub(crate) connections: ConnectionMetrics,
    pub(crate) short_of_memory: IntGauge,
    pub(crate) cache: CacheMetrics,
    pub(crate) streams: StreamMetrics,
    pub(crate) limited: IntCounterVec,
    pub(crate) limiter_entries: IntGauge,
    pub(crate) limiter_overflow: IntCounter,
    pub(crate) leases: LeaseMetrics,
    pub(crate) store: StoreMetrics,
    pub(crate) feed: FeedMetrics,
    pub(crate) config_generation: IntGauge,
    /// Routes by what they demand.
    routes: IntGaugeVec,
    pub(crate) reloads: IntCounterVec,
    pub(crate) certificate_reloads: IntCounterVec,
    pub(crate) certificate_expiry: IntGaugeVec,
    pub(crate) log_dropped: IntCounter,
    pub(crate) upstreams: UpstreamsMetrics,
    pub(crate) jwks_fetches: IntCounterVec,
    pub(crate) usage: UsageMetrics,
}

/// Streams of known callers, and those that were ended.
#[derive(Clone)]
pub(crate) struct StreamMetrics {
    pub(crate) open: IntGauge,
    ended: IntCounterVec,
}

/// One route's children, resolved once per configuration.
pub(crate) struct RouteMetrics {
    answers: [IntCounter; 6],
    duration: Histogram,
    requests: IntCounterVec,
    name: Arc<str>,
}

// === impl Metrics ===

impl Metrics {
    /// Registers everything in a registry of its own, so that two doors in one process (as in tests) do not meet.
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let r = &registry;
        of_the_process(r)?;
        Ok(Self {
            requests: counter_vec(
                r,
                "portcullis_requests_total",
                "Requests by route, outcome (permit, refused, failed: permitted, but the upstream gave no answer) and code (class of the answer's status, or the code of the refusal or failure).",
                &["route", "outcome", "code"],
            )?,
            duration: histogram_vec(
                r,
                "portcullis_request_duration_seconds",
                "From the request's header to the answer's end.",
                &["route"],
            )?,
            in_flight: gauge(
                r,
                "portcullis_requests_in_flight",
                "Requests between their header and the end of their answer.",
            )?,
            own_answers: gauge(r, "portcullis_own_answers_in_flight", "Those the gateway answers.")?,
            connections: ConnectionMetrics::new(r)?,
            short_of_memory: gauge(
                r,
                "portcullis_short_of_memory",
                "1 while requests are shed because memory is short.",
            )?,
            cache: CacheMetrics::new(r)?,
            streams: StreamMetrics::new(r)?,
            limited: counter_vec(
                r,
                "portcullis_limited_total",
                "Requests refused by a limit, by the limit's name.",
                &["limit"],
            )?,
            limiter_entries: gauge(r, "portcullis_limiter_entries", "People and addresses whose limits are counted.")?,
            limiter_overflow: counter(
                r,
                "portcullis_limiter_overflow_total",
                "Requests counted with those of others because the limiter was full.",
            )?,
            leases: LeaseMetrics::new(r)?,
            store: StoreMetrics::new(r)?,
            feed: FeedMetrics::new(r)?,
            routes: routes(r)?,
            config_generation: gauge(r, "portcullis_config_generation", "Configurations put in force so far.")?,
            reloads: counter_by(
                r,
                "portcullis_config_reloads_total",
                "Reloads by outcome",
                "outcome",
                &["applied", "refused"],
            )?,
            certificate_reloads: counter_by(
                r,
                "portcullis_certificate_reloads_total",
                "Certificates read again, by outcome",
                "outcome",
                &["applied", "refused"],
            )?,
            certificate_expiry: certificate_expiry(r)?,
            log_dropped: counter(
                r,
                "portcullis_access_log_dropped_total",
                "Access events dropped because the writer fell behind.",
            )?,
            jwks_fetches: counter_vec(
                r,
                "portcullis_jwks_fetches_total",
                "Questions to external issuers for their keys, by issuer and outcome (fetched, unchanged, failed).",
                &["issuer", "outcome"],
            )?,
            upstreams: UpstreamsMetrics::new(r)?,
            usage: UsageMetrics::new(r)?,
            registry,
        })
    }

    /// The children of one route.
    pub(crate) fn route(&self, name: &str) -> RouteMetrics {
        RouteMetrics {
            answers: CLASSES.map(|class| self.requests.with_label_values(&[name, "permit", class])),
            duration: self.duration.with_label_values(&[name]),
            requests: self.requests.clone(),
            name: name.into(),
        }
    }

    /// What went to no route was refused.
    pub(crate) fn refused(&self, refusal: &Refusal) {
        self.requests.with_label_values(&[NO_ROUTE, "refused", refusal.code()]).inc();
    }

    /// These routes are in force.
    pub(crate) fn in_force(&self, routes: &[Arc<Route>]) {
        for (word, auth) in
            [("required", Auth::Required), ("optional", Auth::Optional), ("none", Auth::None), ("mtls", Auth::Mtls)]
        {
            let count = routes.iter().filter(|route| route.auth == auth).count();
            self.routes.with_label_values(&[word]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// The text exposition format that Prometheus scrapes.
    pub(crate) fn render(&self) -> String {
        self.feed.look();
        let mut text = String::new();
        if let Err(error) = prometheus::TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics could not be rendered");
        }
        text
    }
}

// === impl RouteMetrics ===

impl RouteMetrics {
    /// A permitted request was answered with `status` (0: the client left before an answer).
    pub(crate) fn answered(&self, status: u16, took: Duration) {
        self.answers[usize::from(status / 100).min(5)].inc();
        self.duration.observe(took.as_secs_f64());
    }

    /// It came to nothing. Once permitted it was its upstream that failed, as the access log has it.
    pub(crate) fn refused(&self, refusal: &Refusal, is_permitted: bool) {
        let outcome = if is_permitted && refusal.status() >= 500 { "failed" } else { "refused" };
        self.requests.with_label_values(&[&*self.name, outcome, refusal.code()]).inc();
    }
}

// === impl StreamMetrics ===

impl StreamMetrics {
    fn new(r: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            open: gauge(
                r,
                "portcullis_streams",
                "Open WebSockets, gRPC calls and other long requests of known callers.",
            )?,
            ended: counter_vec(
                r,
                "portcullis_streams_ended_total",
                "Streams that outlived their caller's right to them and were ended, by reason.",
                &["reason"],
            )?,
        })
    }

    pub(crate) fn ended(&self, why: &Refusal) {
        self.ended.with_label_values(&[why.code()]).inc();
    }
}

fn certificate_expiry(r: &Registry) -> Result<IntGaugeVec, prometheus::Error> {
    gauge_vec(
        r,
        "portcullis_certificate_expiry_timestamp_seconds",
        "When a certificate that is shown to clients ends, by its file.",
        &["file"],
    )
}

/// The build, what the system knows of the process, and how often it has failed.
fn of_the_process(r: &Registry) -> Result<(), prometheus::Error> {
    let build = gauge_vec(r, "portcullis_build_info", "The running build; always 1.", &["version"])?;
    build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    let panics =
        "Faults of the gateway itself; each has cost its request, its connection or its task, and is in the log.";
    panics::count(counter(r, "portcullis_panics_total", panics)?);
    r.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))
}

fn routes(r: &Registry) -> Result<IntGaugeVec, prometheus::Error> {
    gauge_vec(
        r,
        "portcullis_routes",
        "Routes in force by the credential that they demand (required, optional, none, mtls).",
        &["auth"],
    )
}

fn counter(r: &Registry, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
    let metric = IntCounter::new(name, help)?;
    r.register(Box::new(metric.clone())).map(|()| metric)
}

fn counter_vec(r: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
    let metric = IntCounterVec::new(Opts::new(name, help), labels)?;
    r.register(Box::new(metric.clone())).map(|()| metric)
}

/// A counter by one label, of these words. What has not happened yet is 0 and not absent: else its first time would be no increase, and
/// no alert.
fn counter_by(
    r: &Registry,
    name: &str,
    help: &str,
    label: &str,
    words: &[&str],
) -> Result<IntCounterVec, prometheus::Error> {
    let metric = counter_vec(r, name, &format!("{help} ({}).", words.join(", ")), &[label])?;
    for word in words {
        metric.with_label_values(&[*word]);
    }
    Ok(metric)
}

fn gauge(r: &Registry, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    let metric = IntGauge::new(name, help)?;
    r.register(Box::new(metric.clone())).map(|()| metric)
}

fn gauge_vec(r: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
    let metric = IntGaugeVec::new(Opts::new(name, help), labels)?;
    r.register(Box::new(metric.clone())).map(|()| metric)
}

fn histogram(r: &Registry, name: &str, help: &str, seconds: &[f64]) -> Result<Histogram, prometheus::Error> {
    let metric = Histogram::with_opts(HistogramOpts::new(name, help).buckets(seconds.to_vec()))?;
    r.register(Box::new(metric.clone())).map(|()| metric)
}

fn histogram_vec(r: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<HistogramVec, prometheus::Error> {
    let metric = HistogramVec::new(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()), labels)?;
    r.register(Box::new(metric.clone())).map(|()| metric)
}
