//! The sections `[listen]` and `[server]`: where the door listens, and what it takes from clients.

use std::{net::SocketAddr, time::Duration};

use policies::{
    Quota,
    config::{Placed, Value},
    header::{Folding, Reserved},
};

use super::Reader;
use crate::config::{Listen, Server, raw};

impl Reader<'_, '_> {
    pub(super) fn listen(&mut self) -> Listen {
        let raw: raw::Listen = self.document.section("listen").unwrap_or_default();
        Listen {
            http: self.parsed(
                raw.http.as_ref(),
                SocketAddr::from(([127, 0, 0, 1], 8080)),
                "an address such as 127.0.0.1:8080",
            ),
            metrics: self.parsed(
                raw.metrics.as_ref(),
                SocketAddr::from(([127, 0, 0, 1], 9464)),
                "an address such as 127.0.0.1:9464",
            ),
        }
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
        let trusted = raw.trusted_proxies.iter().filter_map(|text| {
            let network = text.parse().or_else(|_| text.parse::<std::net::IpAddr>().map(Into::into));
            network
                .map_err(|_| {
                    self.document.note(text.span(), format!("\"{}\" is not a network such as 10.0.0.0/8", **text));
                })
                .ok()
        });
        Server {
            trusted_proxies: trusted.collect(),
            worker_threads: self.count(raw.worker_threads.as_ref(), 0, 0),
            max_header_bytes: self.count(raw.max_header_bytes.as_ref(), 32 * 1024, 1024),
            max_uri_bytes: self.count(raw.max_uri_bytes.as_ref(), 8 * 1024, 64),
            max_body_bytes: self.count(raw.max_body_bytes.as_ref(), 10 * 1024 * 1024, 0) as u64,
            keepalive: self.duration(raw.keepalive.as_ref(), 60),
            drain: self.duration(raw.drain.as_ref(), 30),
            underscore_headers: folding,
            reserved_headers: names,
            refusals: self.refusals(raw.refusals.as_ref()),
            limiter_capacity: self.count(raw.limiter_capacity.as_ref(), 1_000_000, 1000),
        }
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
