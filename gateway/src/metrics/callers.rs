//! Metrics of how callers are known: the cache of verified credentials, and the database behind it.

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use super::{counter, counter_vec, gauge, gauge_vec, histogram};

/// Seconds. A look-up in SQLite takes tenths of a millisecond; after `store.acquire_timeout` and `store.statement_timeout` nobody waits any more.
const SECONDS: [f64; 12] = [0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.2, 1.0, 5.0];

/// What the database was asked for, how often in vain, and what was deleted from it.
#[derive(Clone)]
pub(crate) struct StoreMetrics {
    pub(crate) seconds: Histogram,
    pub(crate) failures: IntCounter,
    pub(crate) forgotten: IntCounterVec,
    pub(crate) unreadable: IntGaugeVec,
}

/// Hits, misses and size of the cache of verified credentials, and what a miss takes.
#[derive(Clone)]
pub(crate) struct CacheMetrics {
    pub(crate) hits: IntCounter,
    pub(crate) misses: IntCounter,
    pub(crate) seconds: Histogram,
    pub(crate) stale: IntCounter,
    pub(crate) evictions: IntCounter,
    pub(crate) entries: IntGauge,
}

// === impl StoreMetrics ===

impl StoreMetrics {
    pub(super) fn new(r: &Registry) -> Result<Self, prometheus::Error> {
        let seconds = "What the database took to tell who stands behind a credential that is not in the cache.";
        let failures = "Look-ups that the database did not answer.";
        let unreadable = "Sealed values that do not open, by table; counted at the start, each hour, and when the door or a request of the \
                          account service meets one.";
        let forgotten = "Rows deleted since they are kept no longer.";
        Ok(Self {
            seconds: histogram(r, "portcullis_store_seconds", seconds, &SECONDS)?,
            failures: counter(r, "portcullis_store_failures_total", failures)?,
            forgotten: counter_vec(r, "portcullis_forgotten_total", forgotten, &["kind"])?,
            unreadable: gauge_vec(r, "portcullis_sealed_unreadable", unreadable, &["table"])?,
        })
    }
}

// === impl CacheMetrics ===

impl CacheMetrics {
    pub(super) fn new(r: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            hits: counter(r, "portcullis_credential_cache_hits_total", "Credentials served from the cache.")?,
            misses: counter(
                r,
                "portcullis_credential_cache_misses_total",
                "Credentials that had to be verified and looked up.",
            )?,
            seconds: histogram(
                r,
                "portcullis_authentication_seconds",
                "What it took to verify and look up a credential that is not in the cache, with all that was waited for.",
                &SECONDS,
            )?,
            stale: counter(
                r,
                "portcullis_credential_cache_stale_total",
                "Cached credentials looked up again because something about them changed.",
            )?,
            evictions: counter(
                r,
                "portcullis_credential_cache_evictions_total",
                "Credentials dropped for room or age.",
            )?,
            entries: gauge(r, "portcullis_credential_cache_entries", "Credentials in the cache.")?,
        })
    }
}
