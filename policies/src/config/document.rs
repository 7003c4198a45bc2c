//! One TOML file, read section by section; everything that is wrong with it is noted, not only the first thing.
//!
//! ```text
//! let mut file = Document::parse("gateway.toml", text);
//! let listen: Option<RawListen> = file.section("listen");            // [listen]; left out: its defaults
//! let pools: Vec<Entry<RawPool>> = file.entries("upstreams");        // [upstreams.NAME]
//! let routes: Vec<Element<RawRoute>> = file.elements("route");       // [[route]]
//! file.note(span, "what the types cannot say");
//! let wrong = file.finish();                                         // top-level keys that nobody asked for are wrong too
//! ```

use std::fmt::Display;
use std::ops::Range;
use std::str::FromStr;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostic, Placed, line_and_column, nearest};
use super::recover::{self, Wrong};
use super::value::{Secret, Surroundings, Value};

/// One file, and what is wrong with it so far.
#[derive(Debug)]
pub struct Document<'i> {
    name: &'i str,
    text: &'i str,
    /// Sections that nobody has asked for yet.
    table: DeTable<'i>,
    asked: Vec<&'static str>,
    /// Where values come from that do not stand in the file, by where they would.
    origins: Vec<(Range<usize>, String)>,
    wrong: Vec<Diagnostic>,
    is_readable: bool,
}

/// One `[[name]]`.
#[derive(Debug)]
pub struct Element<T> {
    /// The bytes of its header.
    pub span: Range<usize>,
    /// `None`: not what it should be, which has been noted.
    pub value: Option<T>,
}

/// One `[name.KEY]`.
#[derive(Debug)]
pub struct Entry<T> {
    /// `KEY`.
    pub name: Placed<String>,
    /// `None`: not what it should be, which has been noted.
    pub value: Option<T>,
}

// === impl Document ===

impl<'i> Document<'i> {
    /// Reads the text. A file with syntax errors says nothing but these: what it was meant to say is a guess.
    #[must_use]
    pub fn parse(name: &'i str, text: &'i str) -> Self {
        let (table, errors) = DeTable::parse_recoverable(text);
        let is_readable = errors.is_empty();
        let table = if is_readable { table.into_inner() } else { DeTable::new() };
        let mut document =
            Self { name, text, table, asked: Vec::new(), origins: Vec::new(), wrong: Vec::new(), is_readable };
        for error in errors {
            let span = error.span().unwrap_or(text.len()..text.len());
            let message = match (error.message(), text.get(span.clone())) {
                (twice @ "duplicate key", Some(key)) => format!("{twice} `{key}`"),
                (message, _) => message.to_owned(),
            };
            document.note(span, message);
        }
        document
    }

    /// A file of which nothing is known but why.
    pub(super) fn unread(name: &'i str, why: &str) -> Self {
        let mut document = Self { is_readable: false, ..Self::parse(name, "") };
        document.note(0..0, why);
        document
    }

    /// Whether the file is TOML at all. If not, all sections seem empty, and what others miss in it means nothing.
    #[must_use]
    pub const fn is_readable(&self) -> bool {
        self.is_readable
    }

    /// Whether nothing has been found wrong so far.
    #[must_use]
    pub const fn is_faultless(&self) -> bool {
        self.wrong.is_empty()
    }

    /// Whether there is something of this name that nobody has asked for yet.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.table.contains_key(name)
    }

    /// The table `[name]`. One that is left out is read as an empty one, so that its keys' defaults hold.
    pub fn section<T: DeserializeOwned>(&mut self, name: &'static str) -> Option<T> {
        let Some((key, value)) = self.take(name) else { return self.absent(name) };
        if !value.get_ref().is_table() {
            self.note(key, format!("`{name}` is a table: write [{name}]"));
            return None;
        }
        self.read(value)
    }

    /// The tables `[[name]]`, in the file's order.
    pub fn elements<T: DeserializeOwned>(&mut self, name: &'static str) -> Vec<Element<T>> {
        let Some((key, value)) = self.take(name) else { return Vec::new() };
        match value.into_inner() {
            DeValue::Array(array) if array.iter().all(|element| element.get_ref().is_table()) => {
                array.into_iter().map(|element| Element { span: element.span(), value: self.read(element) }).collect()
            }
            _ => {
                self.note(key, format!("`{name}` is a list of tables: write [[{name}]] above each"));
                Vec::new()
            }
        }
    }

    /// The tables `[name.KEY]`, in the order of their keys.
    pub fn entries<T: DeserializeOwned>(&mut self, name: &'static str) -> Vec<Entry<T>> {
        let Some((key, value)) = self.take(name) else { return Vec::new() };
        let DeValue::Table(table) = value.into_inner() else {
            self.note(key, format!("`{name}` holds tables: write [{name}.NAME] above each"));
            return Vec::new();
        };
        table.into_iter().map(|(key, value)| self.entry(name, &key, value)).collect()
    }

    fn entry<T: DeserializeOwned>(
        &mut self,
        section: &str,
        key: &Spanned<toml::de::DeString<'i>>,
        value: Spanned<DeValue<'i>>,
    ) -> Entry<T> {
        let name = Placed::new(key.span(), key.get_ref().to_string());
        if !value.get_ref().is_table() {
            self.note(key.span(), format!("`{section}` holds tables: write [{section}.{}]", *name));
            return Entry { name, value: None };
        }
        Entry { name, value: self.read(value) }
    }

    /// What the value is, once the environment or the file it may stand in has been asked.
    pub fn resolve<T>(&mut self, value: &Placed<Value<T>>, surroundings: &impl Surroundings) -> Option<T>
    where
        T: Clone + FromStr,
        T::Err: Display + 'static,
    {
        let resolved = value.resolve(surroundings);
        let resolved = resolved.map_err(|error| self.note(value.span(), error.to_string())).ok()?;
        self.origins.extend(value.origin(surroundings).map(|origin| (value.span(), origin)));
        Some(resolved)
    }

    /// The secret, once the environment or the file it stands in has been asked.
    pub fn resolve_secret(
        &mut self,
        secret: &Placed<Secret>,
        surroundings: &impl Surroundings,
    ) -> Option<identity::SecretText> {
        let resolved = secret.resolve(surroundings);
        let resolved = resolved.map_err(|error| self.note(secret.span(), error.to_string())).ok()?;
        self.origins.extend(secret.origin(surroundings).map(|origin| (secret.span(), origin)));
        Some(resolved)
    }

    /// Something is wrong there. The message is a clause without a full stop; what does not stand there is named too.
    pub fn note(&mut self, span: Range<usize>, message: impl Into<String>) {
        let mut message = message.into();
        if let Some((_, origin)) = self.origins.iter().find(|(place, _)| *place == span) {
            message = format!("{message} (from {origin})");
        }
        self.wrong.push(Diagnostic::at(self.name, self.text, span.start, message, None));
    }

    /// A word that is not one of `known`: with the nearest of them.
    pub fn note_unknown<'a>(
        &mut self,
        word: &Placed<String>,
        message: impl Into<String>,
        known: impl IntoIterator<Item = &'a str>,
    ) {
        let meant = nearest(word, known);
        self.wrong.push(Diagnostic::at(self.name, self.text, word.span().start, message.into(), meant));
    }

    /// `routes.toml:12:5`, to speak of a second place.
    #[must_use]
    pub fn place(&self, span: &Range<usize>) -> String {
        let (line, column) = line_and_column(self.text, span.start);
        format!("{}:{line}:{column}", self.name)
    }

    /// Everything that is wrong, in the order of the places.
    #[must_use]
    pub fn finish(mut self) -> Vec<Diagnostic> {
        for (key, value) in std::mem::take(&mut self.table) {
            let kind = if value.get_ref().is_table() || value.get_ref().is_array() { "section" } else { "key" };
            let (message, suggestion) = recover::unknown(kind, key.get_ref(), &self.asked);
            self.wrong.push(Diagnostic::at(self.name, self.text, key.span().start, message, suggestion));
        }
        self.wrong.sort_by_key(|wrong| (wrong.line, wrong.column));
        self.wrong
    }

    fn take(&mut self, name: &'static str) -> Option<(Range<usize>, Spanned<DeValue<'i>>)> {
        self.asked.push(name);
        self.table.remove_entry(name).map(|(key, value)| (key.span(), value))
    }

    fn absent<T: DeserializeOwned>(&mut self, name: &'static str) -> Option<T> {
        let (read, wrong) = recover::read(Spanned::new(0..0, DeValue::Table(DeTable::new())));
        if !wrong.is_empty() && self.is_readable {
            self.note(0..0, format!("the section [{name}] is missing"));
        }
        read
    }

    fn read<T: DeserializeOwned>(&mut self, value: Spanned<DeValue<'i>>) -> Option<T> {
        let (read, wrong) = recover::read(value);
        for Wrong { span, message, suggestion } in wrong {
            self.wrong.push(Diagnostic::at(self.name, self.text, span.start, message, suggestion));
        }
        read
    }
}

#[cfg(test)]
mod tests;
