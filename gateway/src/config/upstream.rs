//! `[upstreams.NAME]`, parsed. Certificates and keys have been read and fit each other; names have not been resolved.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use super::{IdentityHeader, Place};

/// `[upstreams.NAME]`. Two that are equal may share connections and what is known of their servers.
#[derive(Clone, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// Where its servers are.
    pub servers: Vec<Endpoint>,
    /// Where they are named.
    pub servers_at: Place,
    /// What is spoken with them.
    pub protocol: Protocol,
    /// With TLS.
    pub tls: Option<TlsSettings>,
    /// Who gets the next request.
    pub balance: Balance,
    /// Requests at once on one HTTP/2 connection.
    pub max_h2_streams: usize,
    /// How long what may take.
    pub timeouts: UpstreamTimeouts,
    /// How often names are resolved anew.
    pub resolve_interval: Duration,
    /// Health checks.
    pub health: Option<HealthSettings>,
    /// When a server is left out.
    pub ejection: EjectionSettings,
    /// When the pool is left alone.
    pub circuit: CircuitSettings,
    /// When a request is tried again.
    pub retry: RetrySettings,
    /// What its servers are told of the caller.
    pub headers: Box<[IdentityHeader]>,
    /// Does its table say so itself?
    pub states_headers: bool,
}

/// Where a server, or several of one name, are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    /// An address.
    Address(SocketAddr),
    /// A name that stands for one address or several, and changes.
    Name(Box<str>, u16),
    /// A Unix socket.
    Unix(PathBuf),
}

/// What is spoken with servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, with TLS or without.
    Http2,
    /// What TLS negotiates.
    Negotiated,
}

/// Who gets the next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// The next in turn.
    RoundRobin,
    /// Who has the fewest in flight.
    LeastConnections,
    /// The same for the same caller.
    ConsistentHash,
}

/// `[upstreams.NAME.tls]`
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TlsSettings {
    /// The name that the certificate must be for. Never empty.
    pub sni: String,
    /// Who may have signed it; `None`: the system's authorities.
    pub authorities: Option<Vec<Vec<u8>>>,
    /// Who we are.
    pub client: Option<ClientCertificate>,
}

/// Our own certificate with its chain, the leaf first, and its key, all in DER. Has no `Debug`: it holds a secret.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ClientCertificate {
    /// At least one.
    pub chain: Vec<Vec<u8>>,
    /// PKCS #8, PKCS #1 or SEC 1.
    pub key: Vec<u8>,
}

/// How long what may take.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct UpstreamTimeouts {
    /// Making a connection.
    pub connect: Duration,
    /// From the request's last byte to the last of the answer's head; `None`: as long as any silence.
    pub first_byte: Option<Duration>,
    /// The longest silence, and the longest wait for bytes of the request to be taken.
    pub response: Duration,
    /// The whole request; `None`: as long as it takes.
    pub total: Option<Duration>,
    /// Keeping an unused connection.
    pub idle: Duration,
}

/// `[upstreams.NAME.health]`
#[derive(Clone, PartialEq, Eq)]
pub struct HealthSettings {
    /// What is asked for; `None`: making a connection is enough.
    pub path: Option<String>,
    /// Between two checks of one server.
    pub interval: Duration,
    /// One check.
    pub timeout: Duration,
    /// Good checks in a row.
    pub healthy_after: u32,
    /// Bad checks in a row.
    pub unhealthy_after: u32,
}

/// `[upstreams.NAME.ejection]`
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct EjectionSettings {
    /// Failures in a row.
    pub failures: u32,
    /// How long at first.
    pub time: Duration,
    /// How long at most.
    pub max_time: Duration,
}

/// `[upstreams.NAME.circuit]`
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CircuitSettings {
    /// Failures in a row, over all servers.
    pub failures: u32,
    /// How long it stays open.
    pub open: Duration,
}

/// `[upstreams.NAME.retry]`
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RetrySettings {
    /// Servers that one request may be sent to.
    pub tries: usize,
    /// Retries for every hundred requests.
    pub percent: u32,
    /// Retries per second that are allowed anyway.
    pub per_second: u32,
}

// === impl Endpoint ===

impl Endpoint {
    /// Is it on this machine, so that nobody reads along?
    pub(crate) fn is_here(&self) -> bool {
        match self {
            Self::Address(address) => address.ip().is_loopback(),
            Self::Name(name, _) => name.eq_ignore_ascii_case("localhost"),
            Self::Unix(_) => true,
        }
    }
}

// === impl UpstreamSettings ===

impl UpstreamSettings {
    /// Servers that one request may be sent to at most, whatever is configured.
    pub const MOST_TRIES: usize = 3;

    /// Do others read what it is sent?
    pub(crate) fn is_in_clear(&self) -> bool {
        self.tls.is_none() && !self.servers.iter().all(Endpoint::is_here)
    }

    /// What an upstream is when it says no more than its servers.
    pub(crate) fn shipped() -> Self {
        Self {
            servers: Vec::new(),
            servers_at: Place::default(),
            protocol: Protocol::Http1,
            tls: None,
            balance: Balance::RoundRobin,
            // What servers commonly allow (RFC 9113 §6.5.2 recommends no less than 100).
            max_h2_streams: 100,
            timeouts: UpstreamTimeouts {
                connect: Duration::from_secs(2),
                first_byte: None,
                response: Duration::from_mins(1),
                total: None,
                idle: Duration::from_mins(1),
            },
            resolve_interval: Duration::from_secs(30),
            health: None,
            // A server or pool that comes back is in use again within 5 s.
            ejection: EjectionSettings { failures: 5, time: Duration::from_secs(1), max_time: Duration::from_secs(4) },
            circuit: CircuitSettings { failures: 10, open: Duration::from_secs(2) },
            retry: RetrySettings { tries: Self::MOST_TRIES, percent: 20, per_second: 10 },
            headers: IdentityHeader::DEFAULT.into(),
            states_headers: false,
        }
    }
}

impl HealthSettings {
    /// What a check is when nothing is said of it.
    pub(crate) const fn shipped() -> Self {
        Self {
            path: None,
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            healthy_after: 2,
            unhealthy_after: 2,
        }
    }
}
