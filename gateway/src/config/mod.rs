//! `gateway.toml`, parsed: types that cannot be wrong.
//!
//! `raw` mirrors the file; [`load`] turns the whole folder into a [`Config`] or into every diagnostic there is to
//! report. Routes, roles, tiers and cases are parsed by `policies::config`.

mod accounts;
mod billing;
mod identity_header;
pub(crate) mod issuers;
mod load;
pub(crate) mod login;
mod place;
mod raw;
mod seed;
mod shared;
mod upstream;
mod usage;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

pub use accounts::{Accounts, LockoutSettings, Mail, Mfa, Passwords};
use admin_api::TokenSubject;
pub use billing::{BillingSettings, WebhookSettings};
use http::HeaderValue;
use identity::{Algorithm, SecretText};
pub use identity_header::IdentityHeader;
use ipnet::IpNet;
pub use issuers::Issuers;
#[cfg(any(test, feature = "properties"))]
pub(crate) use load::read;
pub use load::{ConfigFolder, load};
pub(crate) use load::{Texts, files_of, parse};
pub use login::LoginProvider;
pub use place::Place;
use policies::{Policy, Quota, cases::Case, config::ForeignPages, header::Folding};
pub use raw::schema;
pub use seed::schema as seed_schema;
pub use shared::{Outage, RedisServers, Shared, SharedRedis};
pub use upstream::{
    Balance, CircuitSettings, ClientCertificate, EjectionSettings, Endpoint, HealthSettings, Protocol, RetrySettings,
    TlsSettings, UpstreamSettings, UpstreamTimeouts,
};
pub use usage::UsageSettings;

/// Everything the folder says.
pub struct Config {
    /// `gateway.toml`.
    pub settings: Settings,
    /// `routes.toml`, `roles.toml`, `tiers.toml`.
    pub policy: Policy,
    /// `cases.toml`.
    pub cases: Vec<Case>,
    /// `seed.toml`.
    pub seed: store::TenantSeed,
    /// Which one it is, as far as its files say: see `Texts::digest`.
    pub digest: Option<String>,
}

// === impl Config ===

impl Config {
    /// Runs its own cases; what each one says that fails.
    pub(crate) fn try_cases(&self) -> Result<(), Vec<String>> {
        let failures = policies::cases::run(&self.policy, &self.cases);
        if failures.is_empty() { Ok(()) } else { Err(failures.iter().map(ToString::to_string).collect()) }
    }
}

/// `gateway.toml`.
#[derive(Clone, PartialEq)]
pub struct Settings {
    /// Where the door listens.
    pub listen: Listen,
    /// What the HTTPS listener shows.
    pub tls: Tls,
    /// Limits of the server.
    pub server: Server,
    /// The database.
    pub store: StoreSettings,
    /// The caches.
    pub cache: CacheSettings,
    /// How long what is over is kept.
    pub retention: Retention,
    /// What gateways share beside the database.
    pub shared: Shared,
    /// What tokens say and how they are signed.
    pub tokens: Tokens,
    /// Who else is believed.
    pub issuers: Issuers,
    /// How accounts are made and confirmed.
    pub accounts: Accounts,
    /// Second factors, and who needs one.
    pub mfa: Mfa,
    /// Rules for passwords and the cost of checking them.
    pub passwords: Passwords,
    /// How many wrong passwords are too many.
    pub lockout: LockoutSettings,
    /// How mail is sent.
    pub mail: Mail,
    /// Where the master key comes from.
    pub master_key: MasterKeySource,
    /// Logging.
    pub log: Log,
    /// What answers tell browsers.
    pub browser: Browser,
    /// Which foreign pages may call the account service.
    pub foreign_pages: Option<ForeignPages>,
    /// What browsers get.
    pub pages: admin_api::PageSettings,
    /// At whom people can log in.
    pub login_providers: Vec<LoginProvider>,
    /// Named pools of servers.
    pub upstreams: BTreeMap<String, UpstreamSettings>,
    /// How it is counted what callers use.
    pub usage: UsageSettings,
    /// What tenants owe.
    pub billing: BillingSettings,
}

/// `[retention]`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// How long changes are kept.
    pub changes: Duration,
    /// How long sessions are kept after their end.
    pub sessions: Duration,
    /// How long mails are kept after their end.
    pub mails: Duration,
    /// How long one-time tokens and failed logins are kept after their end.
    pub attempts: Duration,
    /// How long events of the audit trail are kept.
    pub audit: Duration,
    /// How long totals of what was used on a day are kept.
    pub usage: Duration,
}

/// `[listen]`.
#[derive(Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one key of its section, or the command line's word")]
pub struct Listen {
    /// Where clients connect.
    pub http: SocketAddr,
    /// Does the command line say so? Then what the file says counts for nothing.
    pub by_command: bool,
    /// Where clients connect with TLS.
    pub https: Option<SocketAddr>,
    /// Are requests without TLS sent to the HTTPS listener?
    pub redirect_to_https: bool,
    /// Does every connection begin with the PROXY protocol?
    pub proxy_protocol: bool,
    /// May a developer on this machine say who is calling?
    pub dev_headers: bool,
    /// Where operators look.
    pub metrics: SocketAddr,
}

/// `[tls]`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// What is shown to clients.
    pub certificates: Vec<CertificatePair>,
    /// Authorities whose client certificates are accepted.
    pub client_ca: Option<PathBuf>,
    /// Where that is said.
    pub client_ca_at: Place,
    /// Must every client have one?
    pub client_required: bool,
    /// Who their holders are, by the subject's distinguished name.
    pub clients: BTreeMap<String, CertifiedClient>,
}

/// A certificate chain and its key.
#[derive(Clone, PartialEq, Eq)]
pub struct CertificatePair {
    /// Where it is named.
    pub at: Place,
    /// PEM.
    pub certificate: PathBuf,
    /// PEM.
    pub key: PathBuf,
}

/// The holder of a client certificate.
#[derive(Clone, PartialEq, Eq)]
pub struct CertifiedClient {
    /// Its role.
    pub role: String,
    /// Its tier.
    pub tier: String,
}

/// `[server]`.
#[derive(Clone, PartialEq)]
pub struct Server {
    /// Threads that serve requests.
    pub worker_threads: usize,
    /// Bytes of request line and headers.
    pub max_header_bytes: usize,
    /// Bytes of path and query.
    pub max_uri_bytes: usize,
    /// Bytes of a request body, unless the route says otherwise.
    pub max_body_bytes: u64,
    /// Header fields.
    pub max_header_fields: usize,
    /// How long a head may take.
    pub header_timeout: Duration,
    /// Bytes per second that a body must bring; 0: any.
    pub min_body_rate: u64,
    /// How long a client may take nothing of its answer.
    pub write_timeout: Duration,
    /// Client connections in all.
    pub max_connections: usize,
    /// And of a hundred file descriptors.
    pub max_connections_percent: usize,
    /// Client connections of one address.
    pub max_connections_per_address: usize,
    /// Requests under way at once.
    pub max_requests: usize,
    /// And of one address.
    pub max_requests_per_address: usize,
    /// Requests on one connection.
    pub max_requests_per_connection: u32,
    /// HTTP/2 streams at once on one connection.
    pub http2_max_streams: u32,
    /// HTTP/2 resets in ten seconds.
    pub http2_max_resets: u32,
    /// HTTP/2 frames without content in ten seconds.
    pub http2_max_control_frames: u32,
    /// Resident bytes above which requests are shed; 0: by what the machine has.
    pub memory_limit: u64,
    /// How long an idle client connection is kept.
    pub keepalive: Duration,
    /// How long connections are still taken once the server is told to stop.
    pub drain_delay: Duration,
    /// How long requests in flight may take once the server is told to stop.
    pub drain: Duration,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Box<[IpNet]>,
    /// What becomes of header names with `_`.
    pub underscore_headers: Folding,
    /// Names that only the door may set, besides its own.
    pub reserved_headers: Vec<String>,
    /// Refused credentials per address.
    pub refusals: Quota,
    /// Counters kept.
    pub limiter_capacity: usize,
}

/// `[store]`.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreSettings {
    /// `sqlite:…` or `postgres://…`.
    pub url: String,
    /// Connections at most.
    pub max_connections: u32,
    /// Waiting for a connection.
    pub acquire_timeout: Duration,
    /// One query.
    pub statement_timeout: Duration,
    /// Waiting for the database at start.
    pub start_timeout: Duration,
}

/// `[cache]`.
#[derive(Clone, PartialEq, Eq)]
pub struct CacheSettings {
    /// Verified credentials kept.
    pub credentials: u64,
    /// Refused credentials kept.
    pub refused: u64,
    /// How long a refused credential is remembered.
    pub refused_for: Duration,
    /// How long known callers are served while the database is away.
    pub max_stale: Duration,
}

/// `[tokens]`.
#[derive(Clone, PartialEq)]
pub struct Tokens {
    /// `iss`.
    pub issuer: String,
    /// `aud` of access tokens; empty: they have none.
    pub audience: String,
    /// What their `sub` is.
    pub subject: TokenSubject,
    /// What access tokens are signed with.
    pub algorithm: Algorithm,
    /// Life of an access token.
    pub access_ttl: Duration,
    /// Life of a refresh token.
    pub refresh_ttl: Duration,
    /// Life of a session of tokens, however often it is refreshed.
    pub session_life: Duration,
    /// Life of an assertion.
    pub assertion_ttl: Duration,
    /// The secret of HS256.
    pub shared_secret: Option<SecretText>,
}

/// `[secrets]`.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKeySource {
    /// The variable that holds it, if set.
    pub env: String,
    /// The file that holds it otherwise, in the data folder.
    pub file: PathBuf,
}

impl MasterKeySource {
    /// What the variable holds. Set to nothing it counts as not set, like every other.
    pub(crate) fn in_environment(&self) -> Option<SecretText> {
        std::env::var(&self.env).ok().filter(|text| !text.is_empty()).map(SecretText::from)
    }
}

/// `[log]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Log {
    /// The least severe level that is written.
    pub level: String,
    /// Where access events go.
    pub access: AccessLog,
}

/// Where access events go.
#[derive(Clone, PartialEq, Eq)]
pub enum AccessLog {
    /// Nowhere.
    Off,
    /// Standard error.
    Stderr,
    /// Standard output, after the ready line.
    Stdout,
    /// Appended to a file.
    File(PathBuf),
}

/// `[browser]`; `None` is "off".
#[derive(Clone, PartialEq, Eq)]
pub struct Browser {
    /// `Strict-Transport-Security`.
    pub strict_transport_security: Option<HeaderValue>,
    /// `X-Content-Type-Options`.
    pub content_type_options: Option<HeaderValue>,
    /// Who may show a page in a frame.
    pub framing: Option<Framing>,
    /// `Referrer-Policy`.
    pub referrer_policy: Option<HeaderValue>,
    /// `Permissions-Policy`.
    pub permissions_policy: Option<HeaderValue>,
}

/// Who may show a page in a frame, said in both ways there are.
#[derive(Clone, PartialEq, Eq)]
pub struct Framing {
    /// `Content-Security-Policy` with `frame-ancestors` alone.
    pub policy: HeaderValue,
    /// `X-Frame-Options`, where it has a word for it.
    pub options: Option<HeaderValue>,
}

#[cfg(test)]
mod tests;
