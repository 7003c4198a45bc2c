//! What is wrong with a file, and where: `routes.toml:12:5: unknown key `metods`; did you mean `methods`?`
//!
//! Finding it is `document`'s and the builders'; printing it is the gateway's.

use std::fmt;
use std::ops::{Deref, Range};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;

/// One error in one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file's name, as it was given.
    pub file: Box<str>,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// A clause without a full stop.
    pub message: String,
    /// What was probably meant.
    pub suggestion: Option<String>,
}

/// A value and where it stands in its file, so that what is found out later can still say where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(transparent)]
pub struct Placed<T>(toml::Spanned<T>);

// === impl Diagnostic ===

impl Diagnostic {
    /// An error at a byte of `text`; one beyond its end is an error at the end.
    #[must_use]
    pub fn at(file: &str, text: &str, byte: usize, message: String, suggestion: Option<String>) -> Self {
        let (line, column) = line_and_column(text, byte);
        Self { file: file.into(), line, column, message, suggestion }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        match &self.suggestion {
            Some(meant) => write!(f, "; did you mean `{meant}`?"),
            None => Ok(()),
        }
    }
}

/// Both from 1.
pub(super) fn line_and_column(text: &str, byte: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(byte)];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// The one of `known` that `word` is probably a misspelling of: one letter in three may be wrong, but not all.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let word = word.to_lowercase();
    let length = word.chars().count();
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= (length / 3).max(1) && *distance < length)
        .min()
        .map(|(_, candidate)| candidate.to_owned())
}

// === impl Placed ===

impl<T> Placed<T> {
    /// A value that stands at these bytes.
    pub fn new(span: Range<usize>, value: T) -> Self {
        Self(toml::Spanned::new(span, value))
    }

    /// The bytes it stands at.
    pub fn span(&self) -> Range<usize> {
        self.0.span()
    }

    /// The value alone.
    pub fn into_inner(self) -> T {
        self.0.into_inner()
    }
}

impl<T> Deref for Placed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.get_ref()
    }
}

/// Where a value stands is nothing that a file says.
impl<T: JsonSchema> JsonSchema for Placed<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> std::borrow::Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_counts_lines_and_characters_from_one() {
        let text = "a = 1\nß = \"é\" # x\n\nlast";
        for (byte, place) in
            [(0, (1, 1)), (4, (1, 5)), (6, (2, 1)), (11, (2, 5)), (14, (2, 7)), (20, (3, 1)), (99, (4, 5))]
        {
            assert_eq!(line_and_column(text, byte), place, "byte {byte}");
        }
    }

    #[test]
    fn only_what_is_near_is_suggested() {
        let known = ["methods", "name", "paths"];
        for (word, meant) in [("metods", Some("methods")), ("Name", Some("name")), ("path", Some("paths")), ("x", None)]
        {
            assert_eq!(nearest(word, known).as_deref(), meant, "{word}");
        }
    }
}
