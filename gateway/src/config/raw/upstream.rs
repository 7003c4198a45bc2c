//! `[upstreams.NAME]` as it is written.

use policies::config::{DurationText, Placed, Value};
use schemars::JsonSchema;
use serde::Deserialize;

use super::Given;
use crate::config::IdentityHeader;

/// A named pool of servers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Upstream {
    /// `host:port` or `unix:/path` each. A name that stands for several addresses adds them all.
    pub(in crate::config) servers: Placed<Vec<Placed<Value<String>>>>,
    /// http1 (the default without TLS), h2c (HTTP/2 without TLS), or h2 (with TLS only). With TLS and left out: as the
    /// server negotiates. gRPC needs h2c or h2.
    pub(in crate::config) protocol: Option<Placed<Protocol>>,
    /// TLS to the servers. Their certificate is always verified.
    pub(in crate::config) tls: Option<UpstreamTls>,
    /// `round_robin` (the default), `least_connections` or `consistent_hash`.
    pub(in crate::config) balance: Option<Balance>,
    /// Requests at once on one HTTP/2 connection; 100 by default.
    pub(in crate::config) max_h2_streams: Given<u64>,
    /// Making a connection, TLS included; 2s by default.
    pub(in crate::config) connect_timeout: Given<DurationText>,
    /// From the request's last byte to the last of the answer's head; by default as `response_timeout`.
    pub(in crate::config) first_byte_timeout: Given<DurationText>,
    /// The longest silence, between two pieces of the answer or while the server takes nothing of the request; 60s by default.
    pub(in crate::config) response_timeout: Given<DurationText>,
    /// The whole request, tries and answer included; by default without limit, since streams last for hours.
    pub(in crate::config) total_timeout: Given<DurationText>,
    /// Keeping an unused connection; 60s by default.
    pub(in crate::config) idle_timeout: Given<DurationText>,
    /// How often names are resolved anew; 30s by default.
    pub(in crate::config) resolve_interval: Given<DurationText>,
    /// Health checks. Left out: none.
    pub(in crate::config) health: Option<Health>,
    /// When a server that keeps failing is left out for a while.
    #[serde(default)]
    pub(in crate::config) ejection: Ejection,
    /// When the whole pool is left alone for a while.
    #[serde(default)]
    pub(in crate::config) circuit: Circuit,
    /// When a request is tried on another server.
    #[serde(default)]
    pub(in crate::config) retry: Retry,
    /// Which identity headers its servers are sent.
    pub(in crate::config) headers: Option<Vec<IdentityHeader>>,
}

/// What is spoken with the servers.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 without TLS.
    H2c,
    /// HTTP/2 over TLS.
    H2,
}

/// Who gets the next request.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Balance {
    /// The next in turn.
    RoundRobin,
    /// Who has the fewest in flight.
    LeastConnections,
    /// The same for the same caller: by account, or by address for strangers.
    ConsistentHash,
}

/// TLS to the servers of an upstream. Files are relative to the folder of the configuration.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct UpstreamTls {
    /// The name that the certificate must be for; required, since nothing is verified without one.
    pub(in crate::config) sni: Placed<Value<String>>,
    /// Who may have signed it: a file of PEM certificates. Left out: the system's authorities.
    pub(in crate::config) ca: Given<String>,
    /// Our own certificate and its chain, PEM.
    pub(in crate::config) client_certificate: Given<String>,
    /// The key of our own certificate, PEM.
    pub(in crate::config) client_key: Given<String>,
}

/// Looking after servers whether or not there are requests.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Health {
    /// What is asked for; anything but 2xx is a failure. Left out: making a connection is enough.
    pub(in crate::config) path: Given<String>,
    /// Between two checks of one server; 2s by default.
    pub(in crate::config) interval: Given<DurationText>,
    /// One check; 1s by default.
    pub(in crate::config) timeout: Given<DurationText>,
    /// Good checks in a row until a server is healthy again; 2 by default.
    pub(in crate::config) healthy_after: Given<u64>,
    /// Bad checks in a row until a server is left out; 2 by default.
    pub(in crate::config) unhealthy_after: Given<u64>,
}

/// Leaving out a server whose requests keep failing; never more than half of the pool.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Ejection {
    /// Failures in a row; 5 by default.
    pub(in crate::config) failures: Given<u64>,
    /// How long at first; doubled each time it fails again; 1s by default.
    pub(in crate::config) time: Given<DurationText>,
    /// How long at most; 4s by default.
    pub(in crate::config) max_time: Given<DurationText>,
}

/// Leaving a whole pool alone: requests are answered 503 at once.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Circuit {
    /// Failures in a row, over all servers; 10 by default.
    pub(in crate::config) failures: Given<u64>,
    /// How long, before one request is let through to see; 2s by default.
    pub(in crate::config) open: Given<DurationText>,
}

/// Trying a request on another server: when the connection fails, or (idempotent methods) before the answer begins.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Retry {
    /// Servers that one request may be sent to, 1 to 3; 3 by default.
    pub(in crate::config) tries: Given<u64>,
    /// Retries for every hundred requests, at most 100; 20 by default.
    pub(in crate::config) percent: Given<u64>,
    /// Retries per second that are allowed anyway; 10 by default.
    pub(in crate::config) per_second: Given<u64>,
}
