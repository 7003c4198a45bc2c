//! The sections `[listen]` and `[server]`: where the door listens, and what it takes from clients.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use ipnet::IpNet;
use policies::{
    Quota,
    config::{Placed, Value},
    header::{Folding, Reserved},
};

use super::Reader;
use crate::config::{
    Listen, Server, Tls,
    raw::{self, Given},
};

/// Of the file descriptors, for clients' connections: below half, since each may need another one, to a server.
const MOST_PERCENT: usize = 49;

impl Reader<'_, '_> {
    pub(super) fn listen(&mut self, tls: &Tls, server: &Server) -> Listen {
        let raw: raw::Listen = self.document.section("listen").unwrap_or_default();
        let https = raw.https.as_ref().map(|_| {
            self.parsed(
                raw.https.as_ref(),
                SocketAddr::from(([127, 0, 0, 1], 8443)),
                "an address such as 127.0.0.1:8443",
            )
        });
        if let Some(given) = raw.https.as_ref().filter(|_| tls.certificates.is_empty()) {
            self.document.note(given.span(), "https needs a certificate to show: give `certificates` in [tls]");
        }
        let redirect_to_https = raw.redirect_to_https.as_ref().is_some_and(|given| **given);
        if let (Some(given), true, None) = (&raw.redirect_to_https, redirect_to_https, https) {
            self.document.note(given.span(), "there is no HTTPS listener to send anybody to: give `https`");
        }
        if let Some(given) = raw.proxy_protocol.as_ref().filter(|given| ***given && server.trusted_proxies.is_empty()) {
            let message = "with proxy_protocol nobody connects but `trusted_proxies` in [server], and there are none";
            self.document.note(given.span(), message);
        }
        let dev_headers = raw.dev_headers.as_ref().and_then(|given| self.document.resolve(given, self.folder));
        let http = self.parsed(
            raw.http.as_ref(),
            SocketAddr::from(([127, 0, 0, 1], 8080)),
            "an address such as 127.0.0.1:8080",
        );
        if let (Some(given), Some(true)) = (&raw.dev_headers, dev_headers) {
            let open = [Some(http), https].into_iter().flatten().find(|address| !address.ip().is_loopback());
            if let Some(open) = open {
                let message = format!(
                    "with dev_headers everybody is whoever they say, and {open} can be reached from other machines; \
                     they are for listeners on 127.0.0.1 and [::1] alone"
                );
                self.document.note(given.span(), message);
            }
            if raw.proxy_protocol.as_ref().is_some_and(|given| **given) {
                self.document
                    .note(given.span(), "with proxy_protocol callers come from elsewhere: no dev_headers then");
            }
        }
        Listen {
            dev_headers: dev_headers.unwrap_or(false),
            http,
            by_command: false,
            https,
            redirect_to_https,
            proxy_protocol: raw.proxy_protocol.as_ref().is_some_and(|given| **given),
            metrics: self.parsed(
                raw.metrics.as_ref(),
                SocketAddr::from(([127, 0, 0, 1], 9464)),
                "an address such as 127.0.0.1:9464",
            ),
        }
    }

    /// One network, or several with commas between; an address is a network of its own.
    fn networks(&mut self, given: &Placed<Value<String>>) -> Vec<IpNet> {
        let texts = self.text(Some(given), "");
        let texts = texts.split(',').map(str::trim).filter(|text| !text.is_empty());
        let networks = texts.filter_map(|text| {
            let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(Into::into));
            if network.is_err() {
                self.document.note(given.span(), format!("\"{text}\" is not a network such as 10.0.0.0/8"));
            }
            network.ok()
        });
        networks.collect()
    }

    pub(super) fn server(&mut self) -> Server {
        let raw: raw::Server = self.document.section("server").unwrap_or_default();
        let folding = match raw.underscore_headers {
            None | Some(raw::Underscore::Drop) => Folding::Drop,
            Some(raw::Underscore::Allow) => Folding::Allow,
        };
        let names: Vec<String> = raw.reserved_headers.iter().map(|name| name.to_string()).collect();
        if let Some(first) = raw.reserved_headers.first()
            && let Err(error) = Reserved::new(names.iter().map(String::as_str), folding)
        {
            self.document.note(first.span(), error.to_string());
        }
        let trusted: Box<[IpNet]> = raw.trusted_proxies.iter().flat_map(|given| self.networks(given)).collect();
        let max_connections = self.count(raw.max_connections.as_ref(), 20_000, 1);
        let max_requests = self.count(raw.max_requests.as_ref(), 20_000, 1);
        let mut small =
            |given: Given<u64>, default| u32::try_from(self.count(given.as_ref(), default, 1)).unwrap_or(u32::MAX);
        let (max_requests_per_connection, http2_max_streams, http2_max_resets, http2_max_control_frames) = (
            small(raw.max_requests_per_connection, 100_000),
            small(raw.http2_max_streams, 100),
            small(raw.http2_max_resets, 200),
            small(raw.http2_max_control_frames, 1000),
        );
        Server {
            max_header_fields: self.count(raw.max_header_fields.as_ref(), 100, 1),
            header_timeout: self.duration(raw.header_timeout.as_ref(), 10),
            min_body_rate: self.count(raw.min_body_rate.as_ref(), 240, 0) as u64,
            write_timeout: self.duration(raw.write_timeout.as_ref(), 60),
            max_connections,
            max_connections_percent: self.percent(raw.max_connections_percent.as_ref()),
            max_connections_per_address: self.count(
                raw.max_connections_per_address.as_ref(),
                (max_connections as u64).div_ceil(2),
                1,
            ),
            max_requests,
            max_requests_per_address: self.count(
                raw.max_requests_per_address.as_ref(),
                (max_requests as u64).div_ceil(2),
                1,
            ),
            max_requests_per_connection,
            http2_max_streams,
            http2_max_resets,
            http2_max_control_frames,
            memory_limit: self.count(raw.memory_limit.as_ref(), 0, 0) as u64,
            trusted_proxies: trusted,
            worker_threads: self.few(raw.worker_threads.as_ref(), 0, 0),
            max_header_bytes: self.count(raw.max_header_bytes.as_ref(), 32 * 1024, 1024),
            max_uri_bytes: self.count(raw.max_uri_bytes.as_ref(), 8 * 1024, 64),
            max_body_bytes: self.count(raw.max_body_bytes.as_ref(), 10 * 1024 * 1024, 0) as u64,
            keepalive: self.duration(raw.keepalive.as_ref(), 60),
            drain_delay: self.delay(raw.drain_delay.as_ref()),
            drain: self.duration(raw.drain.as_ref(), 30),
            underscore_headers: folding,
            reserved_headers: names,
            refusals: self.refusals(raw.refusals.as_ref()),
            limiter_capacity: self.count(raw.limiter_capacity.as_ref(), 1_000_000, 1000),
        }
    }

    fn percent(&mut self, given: Option<&Placed<Value<u64>>>) -> usize {
        let percent = self.count(given, 45, 1);
        if let Some(given) = given.filter(|_| percent > MOST_PERCENT) {
            self.document.note(given.span(), format!("must be at most {MOST_PERCENT}, which is below half"));
        }
        percent.min(MOST_PERCENT)
    }

    fn refusals(&mut self, given: Option<&Placed<Value<String>>>) -> Quota {
        let shipped = Quota { units: 120, window: Duration::from_mins(1) };
        let Some((given, text)) = given.and_then(|given| Some((given, self.document.resolve(given, self.folder)?)))
        else {
            return shipped;
        };
        match Quota::parse(&text) {
            Ok(Some(quota)) => return quota,
            Ok(None) => {
                self.document.note(given.span(), "refusals must be limited, or strangers could guess keys without end");
            }
            Err(error) => self.document.note(given.span(), error.to_string()),
        }
        shipped
    }
}
