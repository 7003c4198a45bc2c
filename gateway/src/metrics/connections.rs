//! Metrics of clients' connections, labelled with words of our own.

use policies::Refusal;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Registry};

use super::{counter_by, gauge};

/// Connections of clients, and why some of them were ended unheard.
#[derive(Clone)]
pub(crate) struct ConnectionMetrics {
    pub(crate) open: IntGauge,
    refused: IntCounterVec,
    /// Connections that had as many requests as they may, in all.
    pub(crate) had_most_requests: IntCounter,
    /// And at once.
    pub(crate) had_most_streams: IntCounter,
    /// Requests that were refused because their address had as many.
    pub(crate) had_most_requests_of_address: IntCounter,
}

/// A connection that is counted while it lives.
pub(crate) struct Open(IntGauge);

/// The reasons and their words in one list, so that each is counted from 0 on.
macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident: $word:literal,)*) => {
        /// Why a connection, or a request on it, was ended unheard by whoever counts the door's answers.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Unheard { $($(#[$doc])* $name,)* }

        impl Unheard {
            const WORDS: &[&str] = &[$($word),*];

            const fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }
        }
    };
}

reasons! {
    /// It said nothing for too long.
    Idle: "idle",
    /// It took nothing of its answer.
    SlowReader: "slow_reader",
    /// The system had none left.
    NoDescriptors: "no_descriptors",
    /// Of all clients.
    TooManyConnections: "too_many_connections",
    /// Of its own.
    TooManyConnectionsOfAddress: "too_many_connections_of_address",
    /// Who should announce clients is none of the proxies that may.
    NotATrustedProxy: "not_a_trusted_proxy",
    /// Who should announce a client did not.
    NoProxyProtocol: "no_proxy_protocol",
    /// It failed.
    TlsHandshake: "tls_handshake",
    /// The head of a request on it could not be read.
    Http2Head: "http2_head",
    /// It was told to go and made requests all the same.
    Http2Overstayed: "http2_overstayed",
    /// Streams were opened to be reset.
    Http2Resets: "http2_resets",
    /// Too many frames carried nothing, or h2 had more to do otherwise than an honest client gives it.
    Http2Control: "http2_control",
    /// What came is no HTTP/2.
    Http2Protocol: "http2_protocol",
}

/// Refusals of what is not read any further.
const UNREAD: [&str; 6] = [
    "malformed",
    "ambiguous_credentials",
    "uri_too_long",
    "headers_too_large",
    "request_timeout",
    "expectation_failed",
];

// === impl ConnectionMetrics ===

impl ConnectionMetrics {
    pub(super) fn new(r: &Registry) -> Result<Self, prometheus::Error> {
        let bounds = counter_by(
            r,
            "portcullis_connection_bounds_total",
            "How often a connection had as many requests as it may, in all or at once, or its address as many as that may",
            "bound",
            &["requests", "http2_streams", "requests_of_address"],
        )?;
        Ok(Self {
            open: gauge(r, "portcullis_connections", "Open connections of clients.")?,
            refused: counter_by(
                r,
                "portcullis_connections_refused_total",
                "Connections ended, and requests refused unread, by reason",
                "reason",
                &[Unheard::WORDS, &UNREAD].concat(),
            )?,
            had_most_requests: bounds.with_label_values(&["requests"]),
            had_most_streams: bounds.with_label_values(&["http2_streams"]),
            had_most_requests_of_address: bounds.with_label_values(&["requests_of_address"]),
        })
    }

    pub(crate) fn opened(&self) -> Open {
        self.open.inc();
        Open(self.open.clone())
    }

    pub(crate) fn unheard(&self, why: Unheard) {
        self.refused.with_label_values(&[why.word()]).inc();
    }

    pub(crate) fn unread(&self, refusal: &Refusal) {
        self.refused.with_label_values(&[refusal.code()]).inc();
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
