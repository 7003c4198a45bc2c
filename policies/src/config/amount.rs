//! Amounts as tiers write them: a whole number, or "unlimited".

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};

use crate::Amount;

/// A whole number, or "unlimited".
#[derive(Debug, Clone, Copy)]
pub(super) struct AmountText(pub(super) Amount);

// === impl AmountText ===

impl<'de> Deserialize<'de> for AmountText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AmountVisitor)
    }
}

struct AmountVisitor;

impl Visitor<'_> for AmountVisitor {
    type Value = AmountText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number or \"unlimited\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<AmountText, E> {
        Amount::parse(text).map(AmountText).map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<AmountText, E> {
        self.visit_str(&number.to_string())
    }
}

impl JsonSchema for AmountText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Amount".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "integer", "minimum": 0 }, { "const": "unlimited" }] })
    }
}
