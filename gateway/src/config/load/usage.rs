//! The section `[usage]`.

use std::time::Duration;

use policies::config::{DurationText, Placed, Value};

use super::Reader;
use crate::config::{UsageSettings, raw};

/// DESIGN §5: a killed process loses no more than this.
const LONGEST_FLUSH: Duration = Duration::from_millis(100);
const FLUSH: Duration = Duration::from_millis(50);
/// A report may be 31 days old (`POST /usage`).
const SHORTEST_RETENTION: Duration = Duration::from_hours(32 * 24);
/// A question may be about 366 days (`GET /usage`), and was about last year.
const SHORTEST_TOTALS: Duration = Duration::from_hours(400 * 24);
/// Three years.
const TOTALS: u64 = 1100 * 86_400;

impl Reader<'_, '_> {
    pub(super) fn usage(&mut self) -> UsageSettings {
        let raw: raw::Usage = self.document.section("usage").unwrap_or_default();
        let enabled = raw.enabled.as_ref().and_then(|given| self.document.resolve(given, self.folder));
        let flush = raw.flush.as_ref().map_or(FLUSH, |given| self.duration(Some(given), 0));
        if let Some(given) = raw.flush.as_ref().filter(|_| flush > LONGEST_FLUSH) {
            self.document
                .note(given.span(), "must not be longer than \"100ms\": so much is lost with a killed process");
        }
        let retention = self.duration(raw.retention.as_ref(), 35 * 86_400);
        if let Some(given) = raw.retention.as_ref().filter(|_| retention < SHORTEST_RETENTION) {
            let why = "must not be shorter than \"32d\": a report may be 31 days old, and what is brought again is known for as long";
            self.document.note(given.span(), why);
        }
        UsageSettings {
            enabled: enabled.unwrap_or(true),
            folder: self.text(raw.folder.as_ref(), "usage").into(),
            flush,
            carry: self.duration(raw.carry.as_ref(), 1),
            retention,
        }
    }

    /// `[retention] usage`.
    pub(super) fn kept_usage(&mut self, given: Option<&Placed<Value<DurationText>>>) -> Duration {
        let kept = self.duration(given, TOTALS);
        if let Some(given) = given.filter(|_| kept < SHORTEST_TOTALS) {
            self.document.note(given.span(), "must not be shorter than \"400d\": people ask for a year");
        }
        kept
    }
}
