//! The section `[upstreams]`: named pools of servers.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use policies::config::{DurationText, Placed, Surroundings, Value};

use super::Reader;
use crate::{
    config::{
        Balance, CircuitSettings, EjectionSettings, Endpoint, HealthSettings, Place, Protocol, RetrySettings,
        UpstreamSettings, UpstreamTimeouts, raw,
    },
    snapshot::ADMIN_API,
};

impl Reader<'_, '_> {
    pub(super) fn upstreams(&mut self) -> BTreeMap<String, UpstreamSettings> {
        let mut upstreams = BTreeMap::new();
        for entry in self.document.entries::<raw::Upstream>("upstreams") {
            if *entry.name == ADMIN_API {
                self.document.note(
                    entry.name.span(),
                    format!("`{ADMIN_API}` is our own account service and cannot be configured"),
                );
            }
            let settings = entry.value.map(|raw| self.upstream(raw));
            // One that cannot be read still exists, or every route that names it would be wrong too.
            upstreams.insert(entry.name.into_inner(), settings.unwrap_or_else(unreadable));
        }
        upstreams
    }

    fn upstream(&mut self, raw: raw::Upstream) -> UpstreamSettings {
        let shipped = UpstreamSettings::shipped();
        UpstreamSettings {
            servers: self.servers(&raw.servers),
            servers_at: Place::of(self.document, &raw.servers.span()),
            protocol: self.protocol(raw.protocol.as_ref(), raw.tls.is_some()),
            timeouts: self.timeouts(&raw, shipped.timeouts),
            tls: raw.tls.and_then(|tls| self.upstream_tls(&tls)),
            balance: raw.balance.map_or(shipped.balance, Balance::from),
            max_h2_streams: self.count(raw.max_h2_streams.as_ref(), shipped.max_h2_streams as u64, 1),
            resolve_interval: self.lasting(raw.resolve_interval.as_ref(), shipped.resolve_interval),
            health: raw.health.map(|health| self.health(&health)),
            ejection: self.ejection(&raw.ejection, shipped.ejection),
            circuit: CircuitSettings {
                failures: self.number(raw.circuit.failures.as_ref(), shipped.circuit.failures),
                open: self.lasting(raw.circuit.open.as_ref(), shipped.circuit.open),
            },
            retry: self.retry(&raw.retry, shipped.retry),
            states_headers: raw.headers.is_some(),
            headers: raw.headers.map_or(shipped.headers, Into::into),
        }
    }

    fn servers(&mut self, given: &Placed<Vec<Placed<Value<String>>>>) -> Vec<Endpoint> {
        if given.is_empty() {
            self.document.note(given.span(), "an upstream needs a server");
        }
        let mut servers = Vec::new();
        for given in given.iter() {
            let Some(server) = self.document.resolve(given, self.folder) else { continue };
            match endpoint(&server) {
                Ok(endpoint) => servers.push(endpoint),
                Err(reason) => self.document.note(given.span(), reason),
            }
        }
        servers
    }

    fn protocol(&mut self, given: Option<&Placed<raw::Protocol>>, tls: bool) -> Protocol {
        let Some(given) = given else { return if tls { Protocol::Negotiated } else { Protocol::Http1 } };
        match (**given, tls) {
            (raw::Protocol::Http1, _) => Protocol::Http1,
            (raw::Protocol::H2, true) | (raw::Protocol::H2c, false) => Protocol::Http2,
            (raw::Protocol::H2, false) => {
                self.document
                    .note(given.span(), "h2 is HTTP/2 over TLS: give the upstream a `tls` table, or write h2c");
                Protocol::Http2
            }
            (raw::Protocol::H2c, true) => {
                self.document.note(given.span(), "h2c is HTTP/2 without TLS: write h2");
                Protocol::Http2
            }
        }
    }

    fn timeouts(&mut self, raw: &raw::Upstream, shipped: UpstreamTimeouts) -> UpstreamTimeouts {
        UpstreamTimeouts {
            connect: self.lasting(raw.connect_timeout.as_ref(), shipped.connect),
            first_byte: self.perhaps(raw.first_byte_timeout.as_ref()),
            response: self.lasting(raw.response_timeout.as_ref(), shipped.response),
            total: self.perhaps(raw.total_timeout.as_ref()),
            idle: self.lasting(raw.idle_timeout.as_ref(), shipped.idle),
        }
    }

    fn health(&mut self, raw: &raw::Health) -> HealthSettings {
        let shipped = HealthSettings::shipped();
        let path = raw.path.as_ref().and_then(|given| {
            let path = self.document.resolve(given, self.folder)?;
            if !path.starts_with('/') || path.parse::<http::uri::PathAndQuery>().is_err() {
                self.document.note(given.span(), format!("\"{path}\" is not a path such as /healthz"));
            }
            Some(path)
        });
        HealthSettings {
            path,
            interval: self.lasting(raw.interval.as_ref(), shipped.interval),
            timeout: self.lasting(raw.timeout.as_ref(), shipped.timeout),
            healthy_after: self.number(raw.healthy_after.as_ref(), shipped.healthy_after),
            unhealthy_after: self.number(raw.unhealthy_after.as_ref(), shipped.unhealthy_after),
        }
    }

    fn ejection(&mut self, raw: &raw::Ejection, shipped: EjectionSettings) -> EjectionSettings {
        let ejection = EjectionSettings {
            failures: self.number(raw.failures.as_ref(), shipped.failures),
            time: self.lasting(raw.time.as_ref(), shipped.time),
            max_time: self.lasting(raw.max_time.as_ref(), shipped.max_time),
        };
        if let Some(given) = &raw.max_time
            && ejection.max_time < ejection.time
        {
            self.document.note(given.span(), "must not be shorter than `time`");
        }
        ejection
    }

    fn retry(&mut self, raw: &raw::Retry, shipped: RetrySettings) -> RetrySettings {
        let retry = RetrySettings {
            tries: self.count(raw.tries.as_ref(), shipped.tries as u64, 1),
            percent: self.at_least(raw.percent.as_ref(), shipped.percent, 0),
            per_second: self.at_least(raw.per_second.as_ref(), shipped.per_second, 0),
        };
        if let Some(given) = &raw.tries
            && retry.tries > UpstreamSettings::MOST_TRIES
        {
            self.document.note(given.span(), "a request is tried 3 times at most");
        }
        if let Some(given) = &raw.percent
            && retry.percent > 100
        {
            self.document.note(given.span(), "more retries than requests would finish off a service that struggles");
        }
        retry
    }

    /// A number of at least 1 that no one needs to be large.
    fn number(&mut self, given: Option<&Placed<Value<u64>>>, default: u32) -> u32 {
        self.at_least(given, default, 1)
    }

    fn at_least(&mut self, given: Option<&Placed<Value<u64>>>, default: u32, least: u64) -> u32 {
        u32::try_from(self.count(given, u64::from(default), least)).unwrap_or(u32::MAX)
    }

    fn lasting(&mut self, given: Option<&Placed<Value<DurationText>>>, default: Duration) -> Duration {
        self.duration(given, default.as_secs())
    }

    fn perhaps(&mut self, given: Option<&Placed<Value<DurationText>>>) -> Option<Duration> {
        given.map(|given| self.duration(Some(given), 1))
    }

    /// What a file of PEM holds, by `read`; what is wrong with it is noted where the file is named.
    pub(super) fn pem<T>(
        &mut self,
        given: Option<&Placed<Value<String>>>,
        read: impl Fn(&[u8]) -> Result<T, String>,
    ) -> Option<T> {
        let given = given?;
        let path = self.document.resolve(given, self.folder)?;
        let text = self.folder.file(&path).map_err(|reason| format!("the file \"{path}\" cannot be read: {reason}"));
        text.and_then(|text| read(text.as_bytes()).map_err(|reason| format!("the file \"{path}\" {reason}")))
            .map_err(|reason| self.document.note(given.span(), reason))
            .ok()
    }
}

/// Nothing more is said against routes to one that cannot be read.
fn unreadable() -> UpstreamSettings {
    UpstreamSettings { states_headers: true, ..UpstreamSettings::shipped() }
}

impl From<raw::Balance> for Balance {
    fn from(raw: raw::Balance) -> Self {
        match raw {
            raw::Balance::RoundRobin => Self::RoundRobin,
            raw::Balance::LeastConnections => Self::LeastConnections,
            raw::Balance::ConsistentHash => Self::ConsistentHash,
        }
    }
}

/// The longest path that fits into a socket's address, less its final NUL (unix(7)).
const LONGEST_SOCKET: usize = 107;

/// `host:port` or `unix:/path`.
fn endpoint(text: &str) -> Result<Endpoint, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        if !Path::new(path).is_absolute() || path.len() > LONGEST_SOCKET {
            return Err(format!(
                "\"{text}\" is not a socket: write unix:/path, with an absolute path of 107 bytes at most"
            ));
        }
        return Ok(Endpoint::Unix(PathBuf::from(path)));
    }
    if let Ok(address) = text.parse::<SocketAddr>()
        && address.port() > 0
    {
        return Ok(Endpoint::Address(address));
    }
    text.rsplit_once(':')
        .and_then(|(host, port)| Some((host, port.parse::<u16>().ok().filter(|port| *port > 0)?)))
        .filter(|(host, _)| !host.is_empty() && !host.contains([':', '/', '[', ']', ' ']))
        .map(|(host, port)| Endpoint::Name(host.into(), port))
        .ok_or_else(|| format!("\"{text}\" is not a server: write host:port"))
}
