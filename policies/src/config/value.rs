//! Values that need not stand in the file itself: `{ env = "NAME", unit = "m", default = … }` and `{ file = "path" }`; and durations.
//!
//! Nothing is read here: the environment and files are asked through [`Surroundings`].

use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::str::FromStr;
use std::time::Duration;

use identity::SecretText;
use schemars::JsonSchema;
use serde::de::value::{BoolDeserializer, F64Deserializer, I64Deserializer, MapAccessDeserializer, StrDeserializer};
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use thiserror::Error as ThisError;

use self::fit::fit;
use crate::limit::digits;

mod fit;
mod length;

/// A value as it is, or where it is to be found.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(untagged, deny_unknown_fields)]
pub enum Value<T> {
    /// As it is.
    Plain(T),
    /// From the environment. A variable that is set to nothing counts as not set.
    Env {
        /// The variable, or its names.
        env: Names,
        /// What a bare number in the variable is so many of, as lengths of time are written: "m", "d".
        unit: Option<String>,
        /// Used when it is not set; without a default that is an error.
        default: Option<T>,
    },
    /// From a file, without its last line end.
    File {
        /// Relative to the folder of the configuration.
        file: String,
    },
}

/// Where a secret is to be found. There is no way to write it into the file itself.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(untagged, deny_unknown_fields)]
pub enum Secret {
    /// From the environment.
    Env {
        /// The variable, or its names.
        env: Names,
    },
    /// From a file, without its last line end.
    File {
        /// Relative to the folder of the configuration.
        file: String,
    },
}

/// What a variable is called; the systems before us had several names for one thing. Those that are set have to agree.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "the name of a variable, or a list of its names")]
pub enum Names {
    /// The only one.
    One(String),
    /// Each of them.
    Several(Vec<String>),
}

/// What is around the configuration.
pub trait Surroundings {
    /// The environment variable, if it is set.
    fn variable(&self, name: &str) -> Option<String>;
    /// What the file holds, or why it cannot be read. A relative path begins at the folder of the configuration.
    fn file(&self, path: &str) -> Result<String, String>;
}

/// Why a value is not to be had. Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
pub enum ValueError {
    /// No such variable, and no default.
    #[error("the environment variable {0} is not set")]
    Unset(String),
    /// Two names for one thing.
    #[error("the environment variables {0} and {1} are two names for one thing, and do not agree")]
    Disagree(String, String),
    /// No such file.
    #[error("the file \"{path}\" cannot be read: {reason}")]
    Unreadable {
        /// As it was written.
        path: String,
        /// As the system says it.
        reason: String,
    },
    /// A secret that is no secret.
    #[error("{0} is empty")]
    Empty(String),
    /// Not what is wanted here.
    #[error("{reason} (from {place})")]
    Unfit {
        /// What is wrong with it.
        reason: String,
        /// The variable or the file.
        place: String,
    },
}

/// A length of time: `250ms`, `30s`, `5m`, `1h`, `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
#[schemars(transparent)]
pub struct DurationText(
    #[schemars(with = "String", regex(pattern = r"^[0-9]+(ms|s|m|h|d)$"))]
    /// What was written.
    pub Duration,
);

/// The longest that is taken: a hundred years, which every calendar holds.
const LONGEST_MILLIS: u64 = 36_500 * 86_400_000;

const NO_LENGTH: &str = "is not a length of time: a whole number and ms, s, m, h or d, such as \"250ms\" or \"30s\", and a hundred years at most";

/// Why a text is not a length of time.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
#[error("\"{0}\" {words}", words = NO_LENGTH)]
pub struct DurationError(Box<str>);

// === impl Value ===

impl<T> Value<T> {
    /// The value, once the environment or the file has been asked.
    pub fn resolve(&self, surroundings: &impl Surroundings) -> Result<T, ValueError>
    where
        T: Clone + FromStr,
        T::Err: Display + 'static,
    {
        match self {
            Self::Plain(value) => Ok(value.clone()),
            Self::Env { env, unit, default } => match (env.ask(surroundings, unit.as_deref())?, default) {
                (Some((name, text)), _) => fit(&text, &format!("{text:?}"), format!("the environment variable {name}")),
                (None, Some(default)) => Ok(default.clone()),
                (None, None) => Err(ValueError::Unset(env.to_string())),
            },
            Self::File { file } => fit(&content(surroundings, file)?, "what it holds", format!("the file \"{file}\"")),
        }
    }

    /// Where it comes from, if it does not stand in the file itself.
    pub(super) fn origin(&self, surroundings: &impl Surroundings) -> Option<String> {
        match self {
            Self::Plain(_) => None,
            Self::Env { env, .. } => env.origin(surroundings),
            Self::File { file } => Some(format!("the file \"{file}\"")),
        }
    }
}

fn variable(surroundings: &impl Surroundings, name: &str) -> Option<String> {
    surroundings.variable(name).filter(|text| !text.is_empty())
}

fn content(surroundings: &impl Surroundings, path: &str) -> Result<String, ValueError> {
    let text = surroundings.file(path).map_err(|reason| ValueError::Unreadable { path: path.to_owned(), reason })?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

impl<T> Default for Value<T>
where
    T: Default,
{
    fn default() -> Self {
        Self::Plain(T::default())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Value<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor(PhantomData))
    }
}

struct ValueVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ValueVisitor<T> {
    type Value = Value<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, { env = \"NAME\" } or { file = \"path\" }")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        T::deserialize(StrDeserializer::new(text)).map(Value::Plain)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        T::deserialize(BoolDeserializer::new(value)).map(Value::Plain)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        T::deserialize(I64Deserializer::new(value)).map(Value::Plain)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        T::deserialize(F64Deserializer::new(value)).map(Value::Plain)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let table = ValueTable::deserialize(MapAccessDeserializer::new(map))?;
        if table.env.as_ref().is_some_and(|names| names.first().is_empty()) {
            return Err(A::Error::custom(NO_NAME));
        }
        match (table.env, table.file, table.default) {
            (Some(env), None, default) => Ok(Value::Env { env, unit: table.unit, default }),
            (None, Some(_), _) if table.unit.is_some() => Err(A::Error::custom("a file has no unit; leave `unit` out")),
            (None, Some(file), None) => Ok(Value::File { file }),
            (None, Some(_), Some(_)) => Err(A::Error::custom("a file has no default; leave `default` out")),
            _ => Err(A::Error::custom(ONE_SOURCE)),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ValueTable<T> {
    env: Option<Names>,
    unit: Option<String>,
    file: Option<String>,
    default: Option<T>,
}

const NO_NAME: &str = "`env` names no variable";
const ONE_SOURCE: &str = "write either { env = \"NAME\" } or { file = \"path\" }";

// === impl Names ===

impl Names {
    /// The first of them that is set, and what it holds.
    pub fn ask(
        &self,
        surroundings: &impl Surroundings,
        unit: Option<&str>,
    ) -> Result<Option<(&str, String)>, ValueError> {
        let measured = |text: String| match unit {
            Some(unit) if text.bytes().all(|byte| byte.is_ascii_digit()) => text + unit,
            _ => text,
        };
        let mut set = self.all().filter_map(|name| Some((name, measured(variable(surroundings, name)?))));
        let Some((first, text)) = set.next() else { return Ok(None) };
        match set.find(|(_, other)| *other != text) {
            Some((other, _)) => Err(ValueError::Disagree(first.to_owned(), other.to_owned())),
            None => Ok(Some((first, text))),
        }
    }

    /// The one to speak of when none is set.
    #[must_use]
    pub fn first(&self) -> &str {
        self.all().next().unwrap_or_default()
    }

    /// The one that is set, as it is spoken of.
    fn origin(&self, surroundings: &impl Surroundings) -> Option<String> {
        let name = self.all().find(|name| variable(surroundings, name).is_some())?;
        Some(format!("the environment variable {name}"))
    }

    fn all(&self) -> impl Iterator<Item = &str> {
        let names = match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Several(names) => names,
        };
        names.iter().map(String::as_str)
    }
}

impl Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.all().collect::<Vec<_>>().join(" or "))
    }
}

// === impl Secret ===

impl Secret {
    /// The secret, once the environment or the file has been asked.
    pub fn resolve(&self, surroundings: &impl Surroundings) -> Result<SecretText, ValueError> {
        let text = match self {
            Self::Env { env } => env.ask(surroundings, None)?.ok_or_else(|| ValueError::Unset(env.to_string()))?.1,
            Self::File { file } => match content(surroundings, file)? {
                text if text.is_empty() => return Err(ValueError::Empty(format!("the file \"{file}\""))),
                text => text,
            },
        };
        Ok(SecretText::from(text))
    }

    /// Where it comes from.
    pub(super) fn origin(&self, surroundings: &impl Surroundings) -> Option<String> {
        match self {
            Self::Env { env } => env.origin(surroundings),
            Self::File { file } => Some(format!("the file \"{file}\"")),
        }
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecretVisitor)
    }
}

struct SecretVisitor;

/// Errors here must not repeat what was written, as serde's own would.
const IN_CLEAR: &str = "a secret is not written in clear; use { env = \"NAME\" } or { file = \"path\" }";

impl<'de> Visitor<'de> for SecretVisitor {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{ env = \"NAME\" } or { file = \"path\" }")
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Secret, E> {
        Err(E::custom(IN_CLEAR))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Secret, E> {
        Err(E::custom(IN_CLEAR))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Secret, A::Error> {
        let table = SecretTable::deserialize(MapAccessDeserializer::new(map))?;
        if table.env.as_ref().is_some_and(|names| names.first().is_empty()) {
            return Err(A::Error::custom(NO_NAME));
        }
        match (table.env, table.file) {
            (Some(env), None) => Ok(Secret::Env { env }),
            (None, Some(file)) => Ok(Secret::File { file }),
            _ => Err(A::Error::custom(ONE_SOURCE)),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretTable {
    env: Option<Names>,
    file: Option<String>,
}

// === impl DurationText ===

impl FromStr for DurationText {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let unit_at = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
        let number = digits(&text[..unit_at]);
        let millis = match &text[unit_at..] {
            "ms" => number,
            "s" => number.and_then(|number| number.checked_mul(1000)),
            "m" => number.and_then(|number| number.checked_mul(60_000)),
            "h" => number.and_then(|number| number.checked_mul(3_600_000)),
            "d" => number.and_then(|number| number.checked_mul(86_400_000)),
            _ => None,
        };
        let millis = millis.filter(|millis| *millis <= LONGEST_MILLIS);
        millis.map(|millis| Self(Duration::from_millis(millis))).ok_or_else(|| DurationError(text.into()))
    }
}

impl<'de> Deserialize<'de> for DurationText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(length::LengthVisitor)
    }
}

/// What is left out is so.
pub(super) const fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests;
