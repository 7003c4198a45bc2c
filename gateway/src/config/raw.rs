//! `gateway.toml` as it is written. The doc comments here are the descriptions in the JSON Schema that editors show.

mod accounts;
mod billing;
mod issuers;
mod login_providers;
mod pages;
mod upstream;
mod usage;
mod words;

use policies::config::{DurationText, FileSchema, Names, Placed, Secret, Value};
use schemars::JsonSchema;
use serde::Deserialize;

pub(super) use self::accounts::{Accounts, Lockout, Mail, MailSecurity, MailTransport, Mfa, Passwords, Registration};
pub(super) use self::billing::Billing;
pub(super) use self::issuers::{Issuer, LegacyIssuer, ScopeOf, Subject, TenantOf};
pub(super) use self::login_providers::{LoginProvider, Preset};
pub(super) use self::pages::Pages;
pub(super) use self::upstream::{Balance, Ejection, Health, Protocol, Retry, Upstream, UpstreamTls};
pub(super) use self::usage::Usage;
use self::words::{Level, Signing};

/// A value that may come from the environment or a file, and where it stands.
pub(super) type Given<T> = Option<Placed<Value<T>>>;

/// Where the door listens.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Listen {
    /// Where clients connect, with HTTP/1.1 or HTTP/2; 127.0.0.1:8080 by default. Port 0 lets the system choose.
    pub(super) http: Given<String>,
    /// Where clients connect with TLS; nowhere by default. Needs `[tls]`.
    pub(super) https: Given<String>,
    /// Are requests without TLS sent to the HTTPS listener (308)? false by default.
    pub(super) redirect_to_https: Option<Placed<bool>>,
    /// Does every connection begin with the PROXY protocol, versions 1 or 2? Then only `trusted_proxies` may connect.
    pub(super) proxy_protocol: Option<Placed<bool>>,
    /// May X-User-Email and X-User-Name say who is calling, for whoever develops on this machine? false by default, and refused
    /// unless every listener is on a loopback address.
    pub(super) dev_headers: Given<bool>,
    /// Where Prometheus scrapes; 127.0.0.1:9464 by default.
    pub(super) metrics: Given<String>,
}

/// Limits of the server.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Server {
    /// Threads that serve requests; 0, the default: one per core.
    pub(super) worker_threads: Given<u64>,
    /// Bytes of request line and headers; 32768 by default.
    pub(super) max_header_bytes: Given<u64>,
    /// Bytes of path and query; 8192 by default.
    pub(super) max_uri_bytes: Given<u64>,
    /// Bytes of a request body, unless the route says otherwise; 10485760 by default.
    pub(super) max_body_bytes: Given<u64>,
    /// Header fields; 100 by default.
    pub(super) max_header_fields: Given<u64>,
    /// How long a request's head may take from its first byte to its last, a TLS handshake too; 10s by default.
    pub(super) header_timeout: Given<DurationText>,
    /// Bytes per second that a request's body must bring, over any ten seconds of waiting for it; 240 by default, 0: any.
    pub(super) min_body_rate: Given<u64>,
    /// How long a client may take nothing of its answer; 60s by default.
    pub(super) write_timeout: Given<DurationText>,
    /// Client connections in all; 20000 by default, and never more than `max_connections_percent` of the file descriptors.
    pub(super) max_connections: Given<u64>,
    /// Percent of the file descriptors that client connections may have; 45 by default, 49 at most, since each may need another one to a server.
    pub(super) max_connections_percent: Given<u64>,
    /// Client connections of one IPv4 address or IPv6 /56; half of `max_connections` by default.
    pub(super) max_connections_per_address: Given<u64>,
    /// Requests under way at once, over all connections; more are refused with 503. 20000 by default, and never more than three
    /// eighths of the file descriptors.
    pub(super) max_requests: Given<u64>,
    /// And of one IPv4 address or IPv6 /56, over all of its connections; half of `max_requests` by default.
    pub(super) max_requests_per_address: Given<u64>,
    /// Requests on one connection, then the client has to make another one; 100000 by default.
    pub(super) max_requests_per_connection: Given<u64>,
    /// HTTP/2 streams at once on one connection; 100 by default.
    pub(super) http2_max_streams: Given<u64>,
    /// HTTP/2 streams that a connection may reset in ten seconds; 200 by default.
    pub(super) http2_max_resets: Given<u64>,
    /// HTTP/2 frames without content (SETTINGS, PRIORITY, CONTINUATION, GOAWAY, empty DATA, PING with ACK, unknown types) in ten seconds, and a
    /// hundredth of the other PINGs and `WINDOW_UPDATEs`; 1000 by default. Whatever it says, a connection has 100 frames of empty DATA.
    pub(super) http2_max_control_frames: Given<u64>,
    /// Resident memory in bytes above which requests are shed with 503; 0, the default: 85 % of what the machine or its
    /// control group has.
    pub(super) memory_limit: Given<u64>,
    /// How long an idle client connection is kept; 60s by default.
    pub(super) keepalive: Given<DurationText>,
    /// How long connections are still taken after SIGTERM, while /readyz says that they should go elsewhere; 0s by default.
    pub(super) drain_delay: Given<DurationText>,
    /// How long requests in flight may take after that; 30s by default.
    pub(super) drain: Given<DurationText>,
    /// Networks of the balancers in front: only from them is X-Forwarded-For, or else Forwarded, believed. Each text may be several, with
    /// commas between.
    #[serde(default)]
    pub(super) trusted_proxies: Vec<Placed<Value<String>>>,
    /// `drop` (the default) or `allow`.
    pub(super) underscore_headers: Option<Underscore>,
    /// More header names that only the door may set; `x-team-*` reserves a prefix.
    #[serde(default)]
    pub(super) reserved_headers: Vec<Placed<String>>,
    /// Refused credentials that one address may show; 120/minute by default.
    pub(super) refusals: Given<String>,
    /// People whose limits are counted, and as many addresses; 1000000 by default.
    pub(super) limiter_capacity: Given<u64>,
}

/// What the HTTPS listener shows, and whom it knows by a certificate.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    /// Certificate chains and their keys; which one is shown is decided by the names inside, the first one for any other name.
    #[serde(default)]
    pub(super) certificates: Vec<Placed<CertificatePair>>,
    /// A PEM file of authorities whose client certificates are accepted.
    pub(super) client_ca: Option<Placed<String>>,
    /// Must every client have a certificate? false by default.
    pub(super) client_required: Option<Placed<bool>>,
    /// Who the holders of client certificates are, for routes with auth = "mtls".
    #[serde(default)]
    pub(super) clients: Vec<Placed<Client>>,
}

/// Two PEM files, relative to this folder.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CertificatePair {
    /// The chain, the server's own certificate first.
    pub(super) certificate: String,
    /// Its private key.
    pub(super) key: String,
}

/// The holder of a client certificate.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Client {
    /// The subject's distinguished name, such as "C=DE, O=Acme, CN=orders".
    pub(super) subject: Placed<String>,
    /// Its role.
    pub(super) role: Placed<String>,
    /// Its tier.
    pub(super) tier: Placed<String>,
}

/// What becomes of header names with `_`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Underscore {
    /// They are dropped.
    Drop,
    /// Those that do not fold into a reserved name pass.
    Allow,
}

/// The database.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Store {
    /// `sqlite:FILE` (relative to the data folder) or `postgres://…`; sqlite:portcullis.db by default.
    pub(super) url: Given<String>,
    /// Connections at most; 16 by default.
    pub(super) max_connections: Given<u64>,
    /// Waiting for a connection; 2s by default.
    pub(super) acquire_timeout: Given<DurationText>,
    /// One query; 5s by default.
    pub(super) statement_timeout: Given<DurationText>,
    /// Waiting for the database at start; 30s by default.
    pub(super) start_timeout: Given<DurationText>,
}

/// The cache of callers.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Cache {
    /// Verified credentials kept; 100000 by default.
    pub(super) credentials: Given<u64>,
    /// Refused credentials kept; 50000 by default.
    pub(super) refused: Given<u64>,
    /// How long a refused credential is remembered; 10s by default.
    pub(super) refused_for: Given<DurationText>,
    /// How long known callers are served while the database is away; 1h by default.
    pub(super) max_stale: Given<DurationText>,
}

/// How long what is over is kept; a day at least.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Retention {
    /// Changes that gateways have heard of; 7d by default.
    pub(super) changes: Given<DurationText>,
    /// Sessions that have ended, and their refresh tokens; 30d by default.
    pub(super) sessions: Given<DurationText>,
    /// Mails that were sent or given up; 30d by default.
    pub(super) mails: Given<DurationText>,
    /// One-time tokens that are over, and failed logins; 7d by default.
    pub(super) attempts: Given<DurationText>,
    /// Events of the audit trail; 365d by default.
    pub(super) audit: Given<DurationText>,
    /// Totals of what was used on a day; 1100d by default, 400d at least.
    pub(super) usage: Given<DurationText>,
}

/// What gateways on one database share beside it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Shared {
    /// `redis://…`, or `rediss://…` with TLS; by default what `REDIS_HOST`, `REDIS_PORT` and `REDIS_PASSWORD` name, or nothing: changes of others are heard within a second, and each gateway
    /// counts limits by itself. With `sentinels` the host is the name of a master; with `cluster` there may be several.
    pub(super) redis: Given<String>,
    /// The addresses of Sentinels that know where the master is, separated by commas.
    pub(super) sentinels: Given<String>,
    /// Is it a Redis Cluster? false by default. Then `redis` names some of its nodes, separated by commas.
    pub(super) cluster: Option<Placed<bool>>,
    /// A PEM file of authorities for `rediss://…`; those of the system by default.
    pub(super) redis_ca: Given<String>,
    /// What the names of channels and keys begin with; portcullis by default.
    pub(super) prefix: Given<String>,
    /// What becomes of limits on requests while Redis is away: `local` or `refuse`. Required with `redis`; `refuse` with `REDIS_HOST`.
    pub(super) on_outage: Option<Placed<OnOutage>>,
    /// How many gateways share; required with `on_outage = "local"`, and for a limit's `max_overshoot`.
    pub(super) nodes: Given<u64>,
}

/// What becomes of limits while Redis is away.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum OnOutage {
    /// Each gateway lets through the quota divided by `nodes`, and one at least.
    Local,
    /// 503: never more than the quota.
    Refuse,
}

/// What tokens say and how they are signed.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Tokens {
    /// `iss`; portcullis by default.
    pub(super) issuer: Given<String>,
    /// `aud` of access tokens; portcullis by default. Empty: they have none.
    pub(super) audience: Given<String>,
    /// EdDSA, ES256, RS256 or HS256. By default EdDSA, or HS256 where its secret is in the environment and no legacy issuer reads it.
    #[schemars(with = "Option<Value<Signing>>")]
    pub(super) algorithm: Given<String>,
    /// What `sub` of access tokens is: `id` (the default), or `email`; then the id is `uid`.
    pub(super) subject: Option<Placed<Subject>>,
    /// Life of an access token; 30m by default.
    pub(super) access_ttl: Given<DurationText>,
    /// Life of a refresh token; 7d by default.
    pub(super) refresh_ttl: Given<DurationText>,
    /// Life of a session of tokens, however often it is refreshed; 30d by default.
    pub(super) session_life: Given<DurationText>,
    /// Life of an assertion; 5m by default, and at most.
    pub(super) assertion_ttl: Given<DurationText>,
    /// The secret of HS256, 32 bytes or more, shared with services that verify our tokens themselves. By default that of the
    /// environment, `AUTH_JWT_SECRET_KEY` or `JWT_SECRET_KEY`.
    pub(super) shared_secret: Option<Placed<Secret>>,
}

/// Where the master key comes from.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Secrets {
    /// The variable that holds it, if set, or a list of its names; `MASTER_ENCRYPTION_KEY` and `ENCRYPTION_MASTER_KEY` by default.
    pub(super) master_key_env: Option<Placed<Names>>,
    /// The file that holds it otherwise, in the data folder; master.key by default.
    pub(super) master_key_file: Option<String>,
}

/// Logging.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    /// error, warn, info (the default), debug or trace.
    #[schemars(with = "Option<Value<Level>>")]
    pub(super) level: Given<String>,
    /// Where access events go: stderr (the default), stdout, off, or a file's path.
    pub(super) access: Given<String>,
}

/// Which pages of other origins may call the account service.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Cors {
    /// Origins as browsers write them, separated by commas, or `*` for every page; none by default. For routes to `admin-api` that
    /// have no `cors` of their own, and never with cookies.
    pub(super) origins: Given<String>,
}

/// What every answer tells browsers. Each value may be "off".
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Browser {
    /// Strict-Transport-Security, over HTTPS only; `max-age=31536000` by default.
    pub(super) strict_transport_security: Given<String>,
    /// X-Content-Type-Options; `nosniff` by default.
    pub(super) content_type_options: Given<String>,
    /// Who may show pages in a frame: `'none'` (the default), or `'self'` and origins.
    pub(super) frame_ancestors: Given<String>,
    /// Referrer-Policy; `strict-origin-when-cross-origin` by default.
    pub(super) referrer_policy: Given<String>,
    /// Permissions-Policy; `camera=(), geolocation=(), microphone=()` by default.
    pub(super) permissions_policy: Given<String>,
}

/// The JSON Schema of `gateway.toml`.
#[must_use]
pub fn schema() -> serde_json::Value {
    FileSchema::new("Portcullis: where the door listens, what it remembers, and which upstreams exist")
        .section::<Listen>("listen")
        .section::<Server>("server")
        .section::<Tls>("tls")
        .section::<Store>("store")
        .section::<Cache>("cache")
        .section::<Retention>("retention")
        .section::<Shared>("shared")
        .section::<Tokens>("tokens")
        .elements::<Issuer>("issuers")
        .elements::<LegacyIssuer>("legacy_issuers")
        .elements::<LoginProvider>("login_providers")
        .section::<Accounts>("accounts")
        .section::<Passwords>("passwords")
        .section::<Lockout>("lockout")
        .section::<Mail>("mail")
        .section::<Mfa>("mfa")
        .section::<Secrets>("secrets")
        .section::<Log>("log")
        .section::<Browser>("browser")
        .section::<Cors>("cors")
        .section::<Pages>("pages")
        .entries::<Upstream>("upstreams")
        .section::<Usage>("usage")
        .section::<Billing>("billing")
        .finish()
}
