//! Reads one section into a type without stopping at its first error.
//!
//! serde stops at the first thing that does not fit. Here that thing is noted and taken out, or what is missing is noted and
//! a placeholder put in, and the reading begins again, until it comes to its end.

use std::collections::BTreeSet;
use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeArray, DeInteger, DeValue, ValueDeserializer};

use super::diagnostic::nearest;

/// Something that does not fit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) span: Range<usize>,
    pub(super) message: String,
    pub(super) suggestion: Option<String>,
}

/// The section as a `T`, and everything that is wrong with it.
///
/// There is a `T` too when all that is wrong could be left out, so that the rest can be looked at.
pub(super) fn read<T: DeserializeOwned>(section: Spanned<DeValue<'_>>) -> (Option<T>, Vec<Wrong>) {
    let (taken, filled) = (BTreeSet::new(), Vec::new());
    let mut reading = Reading { section, taken, filled, placeholders: 0, kind: 0, wrong: Vec::new() };
    let read = loop {
        match T::deserialize(ValueDeserializer::from(reading.section.clone())) {
            Ok(read) if reading.filled.is_empty() => break Some(read),
            Ok(_) if reading.drop_filled() => (),
            Err(error) if reading.recover(&error) => (),
            Ok(_) | Err(_) => break None,
        }
    };
    (read, reading.wrong)
}

struct Reading<'i> {
    section: Spanned<DeValue<'i>>,
    /// What was taken out of which table; that it is missing then is no news.
    taken: BTreeSet<(usize, String)>,
    /// Tables with placeholders in them: they say what the file does not.
    filled: Vec<Range<usize>>,
    /// How many were ever put in.
    placeholders: usize,
    /// The kind of the last placeholder; those before it have been accepted.
    kind: usize,
    wrong: Vec<Wrong>,
}

// === impl Reading ===

impl Reading<'_> {
    /// Notes the error and changes the section so that reading it again gets further; false: that cannot be.
    fn recover(&mut self, error: &toml::de::Error) -> bool {
        let span = error.span().unwrap_or_else(|| self.section.span());
        if self.placeholders > 0 && span == placeholder_span(self.placeholders) {
            return self.exchange() || self.drop_filled();
        }
        let message = error.message();
        if let Some(key) = message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
            if !self.taken.contains(&(span.start, key.to_owned())) {
                self.note(&span, format!("`{key}` is missing"), None);
            }
            return self.fill(&span, key) || self.drop_filled();
        }
        let (message, suggestion) = reword(message);
        self.note(&span, message, suggestion);
        let taken = take_out(&mut self.section, &span);
        let is_taken = taken.is_some();
        self.taken.extend(taken);
        is_taken
    }

    fn note(&mut self, span: &Range<usize>, message: String, suggestion: Option<String>) {
        let wrong = Wrong { span: span.clone(), message, suggestion };
        if !self.wrong.contains(&wrong) {
            self.wrong.push(wrong);
        }
    }

    /// Puts a placeholder for `key` into the table at `span`.
    fn fill(&mut self, span: &Range<usize>, key: &str) -> bool {
        (self.placeholders, self.kind) = (self.placeholders + 1, 0);
        let at = placeholder_span(self.placeholders);
        let table = find(&mut self.section, &|value| value.get_ref().is_table() && value.span() == *span);
        let Some(DeValue::Table(table)) = table.map(Spanned::get_mut) else { return false };
        let Some(value) = placeholder(self.kind).filter(|_| !table.contains_key(key)) else { return false };
        table.insert(Spanned::new(at.clone(), key.to_owned().into()), Spanned::new(at, value));
        if !self.filled.contains(span) {
            self.filled.push(span.clone());
        }
        true
    }

    /// Takes the tables with placeholders out; false: the section itself is one.
    fn drop_filled(&mut self) -> bool {
        let filled = std::mem::take(&mut self.filled);
        if filled.contains(&self.section.span()) {
            return false;
        }
        let taken: Vec<_> = filled.iter().filter_map(|span| take_out(&mut self.section, span)).collect();
        let is_less = !taken.is_empty();
        self.taken.extend(taken);
        is_less
    }

    /// The last placeholder does not fit: one of another kind.
    fn exchange(&mut self) -> bool {
        self.kind += 1;
        let at = placeholder_span(self.placeholders);
        let last = find(&mut self.section, &|value| value.span() == at);
        match (last, placeholder(self.kind)) {
            (Some(last), Some(other)) => {
                *last.get_mut() = other;
                true
            }
            _ => false,
        }
    }
}

/// No file is long enough to have bytes there.
const fn placeholder_span(number: usize) -> Range<usize> {
    usize::MAX - number..usize::MAX
}

fn placeholder(kind: usize) -> Option<DeValue<'static>> {
    match kind {
        0 => Some(DeValue::String("".into())),
        1 => Some(DeValue::Array(DeArray::new())),
        2 => Some(DeValue::Integer(DeInteger::default())),
        3 => Some(DeValue::Table(toml::de::DeTable::new())),
        4 => Some(DeValue::Boolean(false)),
        _ => None,
    }
}

/// The outermost value that `is_it`.
fn find<'v, 'i>(
    value: &'v mut Spanned<DeValue<'i>>,
    is_it: &dyn Fn(&Spanned<DeValue<'i>>) -> bool,
) -> Option<&'v mut Spanned<DeValue<'i>>> {
    if is_it(value) {
        return Some(value);
    }
    match value.get_mut() {
        DeValue::Table(table) => table.iter_mut().find_map(|(_, child)| find(child, is_it)),
        DeValue::Array(array) => array.iter_mut().find_map(|child| find(child, is_it)),
        _ => None,
    }
}

/// Takes the innermost key or element at `span` out of its table or array; says where that begins, and the key.
fn take_out(value: &mut Spanned<DeValue<'_>>, span: &Range<usize>) -> Option<(usize, String)> {
    let start = value.span().start;
    match value.get_mut() {
        DeValue::Table(table) => {
            if let Some(taken) = table.iter_mut().find_map(|(_, child)| take_out(child, span)) {
                return Some(taken);
            }
            let (key, _) = table.iter().find(|(key, child)| key.span() == *span || child.span() == *span)?;
            let key = key.get_ref().to_string();
            table.remove(key.as_str());
            Some((start, key))
        }
        DeValue::Array(array) => {
            if let Some(taken) = array.iter_mut().find_map(|child| take_out(child, span)) {
                return Some(taken);
            }
            let at = array.iter().position(|child| child.span() == *span)?;
            let elements = std::mem::replace(array, DeArray::new()).into_iter().enumerate();
            *array = elements.filter(|(index, _)| *index != at).map(|(_, element)| element).collect();
            Some((start, String::new()))
        }
        _ => None,
    }
}

/// serde's words in ours: what was written, and what was probably meant or could be.
fn reword(message: &str) -> (String, Option<String>) {
    let of = |prefix: &str| {
        let (word, expected) = message.strip_prefix(prefix)?.split_once('`')?;
        Some((word, expected.split('`').skip(1).step_by(2).collect::<Vec<_>>()))
    };
    if let Some((word, known)) = of("unknown field `") {
        return unknown("key", word, &known);
    }
    match of("unknown variant `") {
        Some((word, known)) => unknown("value", word, &known),
        None => (in_words_of_toml(message), None),
    }
}

/// What was found and what is wanted there, without the names that our code has for it.
fn in_words_of_toml(message: &str) -> String {
    let Some((found, expected)) = message.split_once(", expected ") else { return message.to_owned() };
    let found = match found {
        "invalid type: sequence" => "invalid type: list",
        "invalid type: map" => "invalid type: table",
        // A list is read as the keys of a table, one after another.
        found if found.starts_with("invalid length ") && expected.starts_with("struct ") => "invalid type: list",
        found => found,
    };
    let expected = match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number that is not negative",
        "i64" => "a whole number",
        "f64" => "a number",
        "a sequence" => "a list",
        expected if expected.starts_with("struct ") => "a table: { key = value }",
        expected => expected,
    };
    format!("{found}, expected {expected}")
}

/// The message about a word that is none of the `known`, and what was probably meant; if that is not clear, all of them.
pub(super) fn unknown(what: &str, word: &str, known: &[&str]) -> (String, Option<String>) {
    let message = format!("unknown {what} `{word}`");
    match nearest(word, known.iter().copied()) {
        None if !known.is_empty() => (format!("{message}; known are {}", known.join(", ")), None),
        meant => (message, meant),
    }
}
