//! Metrics of limits that gateways share, over all of them: never labelled with a caller.

use policies::{lease::Answer, slots};
use prometheus::{Histogram, IntCounter, IntGauge, Registry};

use super::{counter, counter_vec, gauge, histogram};

/// Seconds that Redis takes; after 20 ms nobody waits any more.
const SECONDS: [f64; 10] = [0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.1, 0.5];

/// What is asked for and what becomes of it.
#[derive(Clone)]
pub(crate) struct LeaseMetrics {
    granted: IntCounter,
    exhausted: IntCounter,
    absent: IntCounter,
    slots_kept: IntCounter,
    slots_full: IntCounter,
    slots_absent: IntCounter,
    pub(crate) failed: IntCounter,
    returns: IntCounter,
    pub(crate) leased: IntCounter,
    returned: IntCounter,
    pub(crate) lost: IntCounter,
    /// Units let through while there was nobody to ask.
    pub(crate) alone: IntCounter,
    /// Units let through ahead of a lease, as a limit's `max_overshoot` allows.
    pub(crate) ahead: IntCounter,
    pub(crate) overshoot: IntCounter,
    pub(crate) seconds: Histogram,
    pub(crate) away: IntGauge,
    /// Seconds until Redis has counted for the longest window.
    pub(crate) young: IntGauge,
}

// === impl LeaseMetrics ===

impl LeaseMetrics {
    pub(super) fn new(r: &Registry) -> Result<Self, prometheus::Error> {
        let calls = counter_vec(
            r,
            "portcullis_lease_calls_total",
            "Questions to Redis about shared limits, by outcome (granted, exhausted, absent, failed, returned).",
            &["outcome"],
        )?;
        let slots = counter_vec(
            r,
            "portcullis_slot_calls_total",
            "Words to Redis about shared concurrency limits, by outcome (kept, full, absent).",
            &["outcome"],
        )?;
        let units = counter_vec(
            r,
            "portcullis_lease_units_total",
            "Units of shared limits: leased, returned unspent, lost (ended unspent), alone (let through with nobody to ask), and ahead (of a lease); of the last two also what another limit refused after all.",
            &["fate"],
        )?;
        Ok(Self {
            granted: calls.with_label_values(&["granted"]),
            exhausted: calls.with_label_values(&["exhausted"]),
            absent: calls.with_label_values(&["absent"]),
            slots_kept: slots.with_label_values(&["kept"]),
            slots_full: slots.with_label_values(&["full"]),
            slots_absent: slots.with_label_values(&["absent"]),
            failed: calls.with_label_values(&["failed"]),
            returns: calls.with_label_values(&["returned"]),
            leased: units.with_label_values(&["leased"]),
            returned: units.with_label_values(&["returned"]),
            lost: units.with_label_values(&["lost"]),
            alone: units.with_label_values(&["alone"]),
            ahead: units.with_label_values(&["ahead"]),
            overshoot: counter(
                r,
                "portcullis_lease_overshoot_units_total",
                "Units let through alone that turned out to be beyond a quota when Redis was told of them.",
            )?,
            seconds: histogram(
                r,
                "portcullis_lease_seconds",
                "What Redis took to answer about shared limits.",
                &SECONDS,
            )?,
            young: gauge(
                r,
                "portcullis_limits_young_seconds",
                "Until Redis has counted for the longest window of a limit; meanwhile on_outage decides about limits over a longer time than it has.",
            )?,
            away: gauge(r, "portcullis_limits_away", "1 while on_outage decides, since Redis cannot be asked.")?,
        })
    }

    /// An ask was answered.
    pub(crate) fn answered(&self, answer: &Answer) {
        let outcome = match answer {
            Answer { absent: 1.., .. } => &self.absent,
            Answer { granted: 0, .. } => &self.exhausted,
            _ => &self.granted,
        };
        outcome.inc();
        self.leased.inc_by(answer.granted.into());
        self.overshoot.inc_by(answer.over.into());
    }

    /// What is held of slots was told, and perhaps more was asked for.
    pub(crate) fn slots_answered(&self, ask: &slots::Ask, answer: &slots::Answer) {
        let outcome = match answer {
            slots::Answer { absent: 1.., .. } => &self.slots_absent,
            slots::Answer { granted, .. } if *granted < ask.need => &self.slots_full,
            slots::Answer { .. } => &self.slots_kept,
        };
        outcome.inc();
    }

    /// Units went back.
    pub(crate) fn returned(&self, units: u32) {
        self.returns.inc();
        self.returned.inc_by(units.into());
    }

    /// Units were neither spent nor given back: others missed them for a window.
    pub(crate) fn lost(&self, units: u32) {
        self.lost.inc_by(units.into());
    }
}
