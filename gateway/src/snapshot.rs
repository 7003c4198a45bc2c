//! One configuration in force: the policy with everything the hot path needs resolved beside it.
//!
//! A snapshot is made whole by [`Snapshot::make`] and swapped in at once, so no request sees a mixture of two. What a route
//! needs is found by the route's number, not by name.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use futures_util::future::try_join_all;
use http::HeaderMap;
pub(crate) use policies::config::ADMIN_API;
use policies::{Permit, Policy, Refusal, Route, header::Reserved};
use prometheus::IntGauge;

use crate::{
    config::{Browser, Config, Endpoint, IdentityHeader, Server, UpstreamSettings, UpstreamTimeouts},
    inbound::{Inbound, ReadLimits},
    metrics::{Metrics, RouteMetrics},
    record::Recorder,
    upstream::{Upstream, UpstreamError},
};

/// Why a parsed configuration cannot be put in force.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    /// A pool cannot be made.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// A name cannot be reserved.
    #[error(transparent)]
    Reserved(#[from] policies::header::ReservedError),
}

/// The configuration in force.
pub(crate) struct Snapshot {
    pub(crate) generation: u64,
    pub(crate) policy: Arc<Policy>,
    pub(crate) read_limits: ReadLimits,
    pub(crate) reserved: Reserved,
    pub(crate) keepalive: Duration,
    pub(crate) min_body_rate: u64,
    pub(crate) write_timeout: Duration,
    pub(crate) redirect_to_https: bool,
    pub(crate) browser: Browser,
    /// What pages call the platform.
    pub(crate) product: String,
    /// For requests that are dropped before anybody could record them.
    pub(crate) recorder: Arc<Recorder>,
    /// Those under way, of all configurations: here so that no request has to count who holds the gauge.
    pub(crate) in_flight: IntGauge,
    max_body: u64,
    pools: BTreeMap<String, Arc<Upstream>>,
    /// By route number.
    upstreams: Box<[Arc<Upstream>]>,
    /// By route number.
    metrics: Box<[RouteMetrics]>,
}

// === impl Snapshot ===

impl Snapshot {
    /// Resolves every upstream and route of a parsed configuration. What `before` knows of upstreams that stay is kept.
    pub(crate) async fn make(
        generation: u64,
        config: Config,
        office: &Path,
        metrics: &Metrics,
        recorder: Arc<Recorder>,
        before: Option<&Self>,
    ) -> Result<Self, SnapshotError> {
        let Config { settings, policy, .. } = config;
        let server = settings.server;
        let reserved = Reserved::new(server.reserved_headers.iter().map(String::as_str), server.underscore_headers)?;
        let (own, office) = (ADMIN_API.to_owned(), office_settings(office));
        // At once, since each may have to wait for names.
        let pools = settings.upstreams.iter().chain([(&own, &office)]).map(async |(name, settings)| {
            let same = before.and_then(|before| before.pools.get(name));
            let pool = Upstream::make(name, settings, same, before.is_none(), metrics.upstreams.of(name)).await?;
            Ok::<_, UpstreamError>((name.clone(), pool))
        });
        let pools = try_join_all(pools).await;
        if let (Err(_), Some(before)) = (&pools, before) {
            settings.upstreams.keys().filter(|name| !before.pools.contains_key(*name)).for_each(|name| {
                // It was counted, and does not come in force.
                metrics.upstreams.forget(name);
            });
        }
        let pools: BTreeMap<_, _> = pools?.into_iter().collect();
        let routes = policy.routes.routes();
        // The parser has refused routes to upstreams that do not exist.
        let upstreams = routes.iter().filter_map(|route| pools.get(&*route.upstream).cloned()).collect();
        let in_flight = metrics.in_flight.clone();
        let metrics = routes.iter().map(|route| metrics.route(&route.name)).collect();
        Ok(Self {
            generation,
            reserved,
            keepalive: server.keepalive,
            min_body_rate: server.min_body_rate,
            write_timeout: server.write_timeout,
            redirect_to_https: settings.listen.redirect_to_https,
            browser: settings.browser,
            product: settings.accounts.product,
            recorder,
            in_flight,
            max_body: server.max_body_bytes,
            read_limits: read_limits(server),
            policy: Arc::new(policy),
            pools,
            upstreams,
            metrics,
        })
    }

    /// It is in force from now on: its servers and their names are looked after.
    pub(crate) fn begin(&self) {
        self.pools.values().for_each(Upstream::begin);
    }

    /// `after` has taken its place. Requests under way are finished here; what is no longer used is looked after no more.
    pub(crate) fn retire(&self, after: &Self, metrics: &Metrics) {
        for (name, pool) in &self.pools {
            match after.pools.get(name) {
                Some(other) if Arc::ptr_eq(pool, other) => {}
                other => {
                    pool.retire();
                    if other.is_none() {
                        metrics.upstreams.forget(name);
                    }
                }
            }
        }
    }

    pub(crate) fn upstream(&self, permit: &Permit) -> &Arc<Upstream> {
        &self.upstreams[permit.route().id]
    }

    pub(crate) fn metrics(&self, route: &Route) -> &RouteMetrics {
        &self.metrics[route.id]
    }

    /// Bytes of body that the route takes.
    pub(crate) fn max_body(&self, route: &Route) -> u64 {
        route.max_body.unwrap_or(self.max_body)
    }

    /// Refuses a body by what its header says, before anybody reads it.
    pub(crate) fn check_declared_length(&self, route: &Route, headers: &HeaderMap) -> Result<(), Refusal> {
        match Inbound::declared_length(headers) {
            Some(length) if length > self.max_body(route) => Err(Refusal::BodyTooLarge { limit: self.max_body(route) }),
            _ => Ok(()),
        }
    }
}

fn read_limits(server: Server) -> ReadLimits {
    ReadLimits {
        max_uri_bytes: server.max_uri_bytes,
        max_header_bytes: server.max_header_bytes,
        max_header_fields: server.max_header_fields,
        trusted_proxies: server.trusted_proxies,
    }
}

/// Hashing a password may have to wait for its turn. Whoever waits too long hears so from the office, which then does nothing (503); a 504 of ours
/// would leave open what it has done.
const OFFICE_PATIENCE: Duration = Duration::from_secs(30);
const _: () = assert!(admin_api::LONGEST_WAIT.as_secs() < OFFICE_PATIENCE.as_secs(), "the office answers first");

/// Our own service knows its caller by the assertion and by nothing else.
fn office_settings(socket: &Path) -> UpstreamSettings {
    let shipped = UpstreamSettings::shipped();
    UpstreamSettings {
        servers: vec![Endpoint::Unix(socket.to_owned())],
        timeouts: UpstreamTimeouts { response: OFFICE_PATIENCE, ..shipped.timeouts },
        headers: [IdentityHeader::XRequestId, IdentityHeader::XGatewayClient, IdentityHeader::XGatewayAssertion].into(),
        ..shipped
    }
}
