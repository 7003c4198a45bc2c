//! JSON read strictly: a member named twice is refused at any depth, and so is nesting deeper than [`MAX_DEPTH`].
//!
//! RFC 8259 §4 leaves it open which of two members of one name counts; whoever judges and whoever acts may choose
//! differently, so neither is chosen. What the members mean is [`crate::body`]'s.

use std::{cell::RefCell, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Objects and lists inside one another. Nothing that we read needs more than two.
pub(crate) const MAX_DEPTH: usize = 16;

/// Why a text is not read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum JsonFault {
    /// Not JSON (RFC 8259); counted from 1.
    Syntax {
        /// Line of the first byte that does not fit.
        line: usize,
        /// Column of it.
        column: usize,
    },
    /// Nested deeper than [`MAX_DEPTH`].
    TooDeep,
    /// An object has this member twice.
    Duplicate(String),
}

/// Reads a whole text.
pub(crate) fn parse(text: &[u8]) -> Result<Value, JsonFault> {
    let fault = RefCell::new(None);
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let read = Strict { depth: 0, fault: &fault }.deserialize(&mut deserializer);
    read.and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| fault.take().unwrap_or(JsonFault::Syntax { line: error.line(), column: error.column() }))
}

/// Builds a value at `depth`; tells by `fault` what `serde`'s error cannot.
#[derive(Clone, Copy)]
struct Strict<'a> {
    depth: usize,
    fault: &'a RefCell<Option<JsonFault>>,
}

// === impl Strict ===

impl Strict<'_> {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            self.refuse(JsonFault::TooDeep)
        } else {
            Ok(Self { depth: self.depth + 1, ..self })
        }
    }

    fn refuse<T, E: Error>(self, fault: JsonFault) -> Result<T, E> {
        self.fault.replace(Some(fault));
        Err(E::custom("refused"))
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let inside = self.deeper()?;
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(inside)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let inside = self.deeper()?;
        let mut members = Map::new();
        while let Some(name) = object.next_key::<String>()? {
            if members.contains_key(&name) {
                return self.refuse(JsonFault::Duplicate(name));
            }
            members.insert(name, object.next_value_seed(inside)?);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_of_value_is_read() {
        let text = br#" {"a":[1,-2,3.5,true,null,"x\u0041"],"b":{"a":""}} "#;
        assert_eq!(parse(text).unwrap(), json!({"a": [1, -2, 3.5, true, null, "xA"], "b": {"a": ""}}));
    }

    #[test]
    fn a_member_named_twice_is_refused_however_it_is_spelt_and_wherever_it_stands() {
        for text in [r#"{"a":1,"a":1}"#, r#"{"x":[{"a":1,"\u0061":2}]}"#] {
            assert_eq!(parse(text.as_bytes()), Err(JsonFault::Duplicate("a".to_owned())), "{text}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert_eq!(parse(nested(MAX_DEPTH + 1).as_bytes()), Err(JsonFault::TooDeep));
        assert_eq!(parse(nested(30_000).as_bytes()), Err(JsonFault::TooDeep));
    }

    #[test]
    fn what_is_not_json_is_refused_with_the_place() {
        assert_eq!(parse(b"{\n  \"a\": nope}"), Err(JsonFault::Syntax { line: 2, column: 9 }));
        for text in [
            &b""[..],
            b"{}{}",
            b"{} x",
            b"{\"a\":1,}",
            b"\xef\xbb\xbf{}",
            b"\"\xff\"",
            b"NaN",
            b"{'a':1}",
            b"\"\\ud800\"",
        ] {
            assert!(matches!(parse(text), Err(JsonFault::Syntax { .. })), "{text:?}");
        }
    }
}
