//! The section `[usage]`.

use std::time::Duration;

use super::Reader;
use crate::config::{UsageSettings, raw};

/// DESIGN §5: a killed process loses no more than this.
const LONGEST_FLUSH: Duration = Duration::from_millis(100);
const FLUSH: Duration = Duration::from_millis(50);

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
        if let Some(given) = raw.retention.as_ref().filter(|_| retention < Duration::from_hours(24)) {
            self.document
                .note(given.span(), "must not be shorter than \"1d\": what is brought again after it is counted again");
        }
        UsageSettings {
            enabled: enabled.unwrap_or(true),
            folder: self.text(raw.folder.as_ref(), "usage").into(),
            flush,
            carry: self.duration(raw.carry.as_ref(), 1),
            retention,
        }
    }
}
