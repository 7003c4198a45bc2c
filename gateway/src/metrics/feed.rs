//! Metrics of how this process hears of changes.

use std::{sync::Arc, time::Instant};

use parking_lot::Mutex;
use prometheus::{IntGauge, Registry};

use super::gauge;

/// How this process hears of changes.
#[derive(Clone)]
pub(crate) struct FeedMetrics {
    pub(crate) position: IntGauge,
    pub(crate) healthy: IntGauge,
    pub(crate) redis_healthy: IntGauge,
    /// By how many seconds the database's clock is ahead of the machine's, and followed.
    pub(crate) clock_ahead: IntGauge,
    silent: IntGauge,
    heard_at: Arc<Mutex<Instant>>,
}

// === impl FeedMetrics ===

impl FeedMetrics {
    pub(super) fn new(r: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            position: gauge(r, "portcullis_feed_position", "The last change applied.")?,
            healthy: gauge(r, "portcullis_feed_healthy", "1 while the change feed can be read.")?,
            clock_ahead: gauge(
                r,
                "portcullis_clock_ahead_seconds",
                "By how much the database's clock, which is followed, is ahead of this machine's; 0 below 2.",
            )?,
            redis_healthy: gauge(
                r,
                "portcullis_redis_healthy",
                "1 while Redis passes on what gateways change; 0 without one.",
            )?,
            silent: gauge(
                r,
                "portcullis_feed_silent_seconds",
                "Since the change feed was last read to its end; after cache.max_stale nothing cached is believed.",
            )?,
            heard_at: Arc::new(Mutex::new(Instant::now())),
        })
    }

    /// Every change that there was has been heard.
    pub(crate) fn heard(&self) {
        *self.heard_at.lock() = Instant::now();
    }

    /// Brings up to date for how long nothing has been heard. Asked for when somebody looks, so that a feed that hangs or has ended shows too.
    pub(super) fn look(&self) {
        let silent = self.heard_at.lock().elapsed().as_secs();
        self.silent.set(i64::try_from(silent).unwrap_or(i64::MAX));
    }
}
