//! One configuration in force: the policy with everything the hot path needs resolved beside it.
//!
//! A snapshot is made whole by [`Snapshot::make`] and swapped in at once, so no request sees a mixture of two. What a route
//! needs is found by the route's number, not by name.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use http::HeaderMap;
use policies::{Permit, Policy, Refusal, Route, header::Reserved};

use crate::{
    config::{Browser, Config, IdentityHeader, Server, UpstreamSettings},
    inbound::{Inbound, ReadLimits},
    metrics::{Metrics, RouteMetrics},
    upstream::{Upstream, UpstreamError},
};

/// The upstream that is always there: our own account service.
pub(crate) const ADMIN_API: &str = "admin-api";

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
    pub(crate) redirect_to_https: bool,
    pub(crate) browser: Browser,
    max_body: u64,
    /// By route number.
    upstreams: Box<[Arc<Upstream>]>,
    /// By route number.
    metrics: Box<[RouteMetrics]>,
}

// === impl Snapshot ===

impl Snapshot {
    /// Resolves every upstream and route of a parsed configuration.
    pub(crate) async fn make(
        generation: u64,
        config: Config,
        office: &Path,
        metrics: &Metrics,
    ) -> Result<Self, SnapshotError> {
        let Config { settings, policy, .. } = config;
        let mut pools =
            BTreeMap::from([(ADMIN_API.to_owned(), Arc::new(Upstream::unix(ADMIN_API, office, &office_settings())?))]);
        for (name, settings) in &settings.upstreams {
            pools.insert(name.clone(), Arc::new(Upstream::resolve(name, settings).await?));
        }
        let routes = policy.routes.routes();
        // The parser has refused routes to upstreams that do not exist.
        let upstreams = routes.iter().filter_map(|route| pools.get(&*route.upstream).cloned()).collect();
        let metrics = routes.iter().map(|route| metrics.route(&route.name)).collect();
        let server = settings.server;
        Ok(Self {
            generation,
            reserved: Reserved::new(server.reserved_headers.iter().map(String::as_str), server.underscore_headers)?,
            keepalive: server.keepalive,
            redirect_to_https: settings.listen.redirect_to_https,
            browser: settings.browser,
            max_body: server.max_body_bytes,
            read_limits: read_limits(server),
            policy: Arc::new(policy),
            upstreams,
            metrics,
        })
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
    ReadLimits { max_uri_bytes: server.max_uri_bytes, trusted_proxies: server.trusted_proxies }
}

/// Our own service knows its caller by the assertion and by nothing else.
fn office_settings() -> UpstreamSettings {
    UpstreamSettings {
        servers: Vec::new(),
        connect_timeout: Duration::from_secs(2),
        response_timeout: Duration::from_secs(30),
        idle_timeout: Duration::from_mins(1),
        headers: [IdentityHeader::XRequestId, IdentityHeader::XGatewayAssertion].into(),
    }
}
