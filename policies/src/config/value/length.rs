//! Lengths of time as TOML has them: text, and never a bare number, of which nobody knows what it counts.

use std::fmt;

use serde::de::{Error, Visitor};

use super::DurationText;

pub(super) struct LengthVisitor;

impl Visitor<'_> for LengthVisitor {
    type Value = DurationText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a length of time such as \"30s\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<DurationText, E> {
        text.parse().map_err(E::custom)
    }
}
