//! The section `[pages]`.

use std::time::Duration;

use admin_api::{Accent, PageSettings};
use policies::config::Placed;

use super::Reader;
use crate::config::raw;

impl Reader<'_, '_> {
    pub(super) fn pages(&mut self) -> PageSettings {
        let raw: raw::Pages = self.document.section("pages").unwrap_or_default();
        let cookie_idle = self.duration(raw.cookie_idle.as_ref(), 3600);
        let cookie_life = self.duration(raw.cookie_life.as_ref(), 12 * 3600);
        for (given, time) in [(&raw.cookie_idle, cookie_idle), (&raw.cookie_life, cookie_life)] {
            // Uses are written down by the minute.
            if let Some(given) = given.as_ref().filter(|_| time < Duration::from_mins(5)) {
                self.document.note(given.span(), "must not be shorter than \"5m\"");
            }
        }
        let accent = self.text(raw.accent.as_ref(), Accent::DEFAULT);
        let accent = accent.parse().unwrap_or_else(|_| {
            let span = raw.accent.as_ref().map_or(0..0, Placed::span);
            self.document.note(span, "a colour is \"#\" and six hexadecimal digits, such as \"#1f5fbf\"");
            Accent::default()
        });
        PageSettings { cookie_idle, cookie_life, accent }
    }
}
