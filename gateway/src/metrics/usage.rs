//! What operators see of the counting of usage, and of the spool that it goes through.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Registry};

use super::{counter, counter_by, gauge};

/// Of all callers together.
#[derive(Clone)]
pub(crate) struct UsageMetrics {
    pub(crate) spooled: IntCounter,
    pub(crate) carried: IntCounter,
    pub(crate) repeated: IntCounter,
    pub(crate) torn: IntCounter,
    pub(crate) malformed: IntCounter,
    pub(crate) failures: IntCounterVec,
    pub(crate) waiting: IntGauge,
    pub(crate) stuck: IntGauge,
}

// === impl UsageMetrics ===

impl UsageMetrics {
    pub(super) fn new(r: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            spooled: counter(
                r,
                "portcullis_usage_requests_spooled_total",
                "Requests of known callers that are written into the spool of usage.",
            )?,
            carried: counter(
                r,
                "portcullis_usage_sums_total",
                "Sums of usage that this process has added to the totals in SQL.",
            )?,
            repeated: counter(
                r,
                "portcullis_usage_sums_repeated_total",
                "Sums of usage brought to SQL that were there already.",
            )?,
            torn: counter(
                r,
                "portcullis_usage_torn_total",
                "Segments of the spool whose end was cut off in the middle of a record.",
            )?,
            malformed: counter(
                r,
                "portcullis_usage_malformed_total",
                "Fields of answers (X-Usage-…) that say nothing that can be counted.",
            )?,
            failures: counter_by(
                r,
                "portcullis_usage_failures_total",
                "Failures by what could not be done to the spool or with what it holds; refused: SQL will never take it",
                "what",
                &["write", "sync", "read", "carry", "refused"],
            )?,
            waiting: gauge(r, "portcullis_usage_segments_waiting", "Segments of the spool that wait for SQL.")?,
            stuck: gauge(
                r,
                "portcullis_usage_stuck",
                "1 while the disk takes nothing into the spool, and what is used is kept in memory alone.",
            )?,
        })
    }
}
