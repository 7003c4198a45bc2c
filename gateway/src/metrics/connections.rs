//! Metrics of clients' connections, labelled with words of our own.

use prometheus::{IntCounterVec, IntGauge, Registry};

use super::{counter_by, gauge};

/// Connections of clients, and why some of them were ended unheard.
#[derive(Clone)]
pub(crate) struct ConnectionMetrics {
    pub(crate) open: IntGauge,
    refused: IntCounterVec,
    reached: IntCounterVec,
}

/// A connection that is counted while it lives.
pub(crate) struct Open(IntGauge);

// === impl ConnectionMetrics ===

impl ConnectionMetrics {
    pub(super) fn new(r: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            open: gauge(r, "portcullis_connections", "Open connections of clients.")?,
            refused: counter_by(
                r,
                "portcullis_connections_refused_total",
                "Connections ended, and requests refused unread, by reason (idle, slow_reader, no_descriptors, too_many_connections, too_many_connections_of_address, not_a_trusted_proxy, no_proxy_protocol, tls_handshake, http2_head, http2_overstayed, http2_resets, http2_control, malformed, ambiguous_credentials, uri_too_long, headers_too_large, request_timeout, expectation_failed).",
                &["reason"],
            )?,
            reached: counter_by(
                r,
                "portcullis_connection_bounds_total",
                "How often a connection had as many requests as it may, in all or at once (requests, http2_streams).",
                &["bound"],
            )?,
        })
    }

    pub(crate) fn opened(&self) -> Open {
        self.open.inc();
        Open(self.open.clone())
    }

    pub(crate) fn reached(&self, bound: &str) {
        self.reached.with_label_values(&[bound]).inc();
    }

    pub(crate) fn refused(&self, reason: &str) {
        self.refused.with_label_values(&[reason]).inc();
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
