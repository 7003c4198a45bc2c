//! Metrics of upstreams, labelled with the upstream's name and nothing that a request could choose.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use super::{counter_vec, gauge_vec};
use crate::upstream::Failure;

/// Every upstream's.
#[derive(Clone)]
pub(crate) struct UpstreamsMetrics {
    servers: IntGaugeVec,
    usable: IntGaugeVec,
    failures: IntCounterVec,
    ejections: IntCounterVec,
    circuit_open: IntGaugeVec,
    circuit_opened: IntCounterVec,
    retries: IntCounterVec,
    retries_withheld: IntCounterVec,
    unresolved: IntCounterVec,
}

/// One upstream's children, resolved once.
#[derive(Clone)]
pub(crate) struct UpstreamMetrics {
    pub(crate) servers: IntGauge,
    pub(crate) usable: IntGauge,
    failed_connect: IntCounter,
    failed_timeout: IntCounter,
    failed_closed: IntCounter,
    failed_invalid: IntCounter,
    pub(crate) ejections: IntCounter,
    pub(crate) circuit_open: IntGauge,
    pub(crate) circuit_opened: IntCounter,
    pub(crate) retries: IntCounter,
    pub(crate) retries_withheld: IntCounter,
    pub(crate) unresolved: IntCounter,
}

// === impl UpstreamsMetrics ===

impl UpstreamsMetrics {
    pub(super) fn new(r: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name, help| gauge_vec(r, name, help, &["upstream"]);
        let counter = |name, help| counter_vec(r, name, help, &["upstream"]);
        Ok(Self {
            servers: gauge("portcullis_upstream_servers", "Servers of an upstream, as its names stand now.")?,
            usable: gauge(
                "portcullis_upstream_servers_healthy",
                "Servers that get requests: neither failing their health check nor left out for failing requests.",
            )?,
            failures: counter_vec(
                r,
                "portcullis_upstream_failures_total",
                "Attempts that failed, by kind (connect, timeout, closed, invalid).",
                &["upstream", "kind"],
            )?,
            ejections: counter(
                "portcullis_upstream_ejections_total",
                "Times a server was left out for failing requests.",
            )?,
            circuit_open: gauge("portcullis_upstream_circuit_open", "1 while an upstream is left alone.")?,
            circuit_opened: counter("portcullis_upstream_circuit_opened_total", "Times an upstream was left alone.")?,
            retries: counter("portcullis_upstream_retries_total", "Requests tried once more.")?,
            retries_withheld: counter(
                "portcullis_upstream_retries_withheld_total",
                "Requests that were not tried once more because the budget for retries was spent.",
            )?,
            unresolved: counter(
                "portcullis_upstream_resolve_failures_total",
                "Names that could not be resolved when their time had come; the last good answer stays.",
            )?,
        })
    }

    /// The children of one upstream.
    pub(crate) fn of(&self, name: &str) -> UpstreamMetrics {
        let failed = |kind| self.failures.with_label_values(&[name, kind]);
        UpstreamMetrics {
            servers: self.servers.with_label_values(&[name]),
            usable: self.usable.with_label_values(&[name]),
            failed_connect: failed("connect"),
            failed_timeout: failed("timeout"),
            failed_closed: failed("closed"),
            failed_invalid: failed("invalid"),
            ejections: self.ejections.with_label_values(&[name]),
            circuit_open: self.circuit_open.with_label_values(&[name]),
            circuit_opened: self.circuit_opened.with_label_values(&[name]),
            retries: self.retries.with_label_values(&[name]),
            retries_withheld: self.retries_withheld.with_label_values(&[name]),
            unresolved: self.unresolved.with_label_values(&[name]),
        }
    }

    /// What an upstream that is no more said of its state would stand for ever.
    pub(crate) fn forget(&self, name: &str) {
        for gauge in [&self.servers, &self.usable, &self.circuit_open] {
            // One that is not there need not be removed.
            drop(gauge.remove_label_values(&[name]));
        }
    }
}

// === impl UpstreamMetrics ===

impl UpstreamMetrics {
    pub(crate) fn failed(&self, failure: Failure) {
        let counter = match failure {
            Failure::Connect => &self.failed_connect,
            Failure::Timeout => &self.failed_timeout,
            Failure::Closed => &self.failed_closed,
            Failure::Invalid => &self.failed_invalid,
        };
        counter.inc();
    }
}
