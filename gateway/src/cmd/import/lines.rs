//! Lines of a file, one after another, and what is told of those that cannot be.

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions, Permissions},
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use anyhow::Context;
use indicatif::ProgressBar;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    cli::Failure,
    cmd::{progress, say, shown},
};

/// The longest line, in bytes.
const LONGEST: u64 = 64 * 1024;
/// UTF-8's byte order mark.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// A file's lines.
pub(super) struct Lines<R> {
    file: R,
    number: u64,
    bar: ProgressBar,
}

/// A line that is not empty.
pub(super) struct FileLine {
    pub(super) number: u64,
    /// What it holds, or why nothing was read.
    pub(super) text: Result<Vec<u8>, String>,
}

/// Where rejected lines are told of; the file is there once there is one.
pub(super) struct Report {
    path: PathBuf,
    file: Option<File>,
    rejected: u64,
    made: u64,
    present: u64,
    /// Which file's lines are told of, where there are several, and which ones were.
    of: Option<&'static str>,
    numbers: HashSet<u64>,
}

#[derive(Serialize)]
struct Rejected<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'static str>,
    line: u64,
    reason: &'a str,
}

// === impl Lines ===

impl Lines<BufReader<File>> {
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let file = File::open(path);
        let file = file.map_err(|error| Failure::Unavailable(format!("{} cannot be read: {error}", shown(path))))?;
        let length = file.metadata().map_or(0, |metadata| metadata.len());
        Ok(Self { file: BufReader::new(file), number: 0, bar: progress(length, "{bytes}/{total_bytes}") })
    }
}

impl<R: BufRead> Lines<R> {
    pub(super) fn next(&mut self) -> Result<Option<FileLine>, Failure> {
        loop {
            let mut text = Vec::new();
            let file = self.file.by_ref();
            let read = file.take(LONGEST).read_until(b'\n', &mut text).map_err(|error| broken(&error))?;
            if read == 0 {
                self.bar.finish_and_clear();
                return Ok(None);
            }
            self.number += 1;
            self.bar.inc(read as u64);
            // A mark of the encoding, as some editors and exports write it, is no part of what the first line says.
            if self.number == 1 && text.starts_with(MARK) {
                text.drain(..MARK.len());
            }
            if !text.ends_with(b"\n") && read as u64 == LONGEST {
                self.bar.inc(skip_line(&mut self.file)?);
                let text = Err(format!("the line is longer than {LONGEST} bytes"));
                return Ok(Some(FileLine { number: self.number, text }));
            }
            if !text.trim_ascii().is_empty() {
                return Ok(Some(FileLine { number: self.number, text: Ok(text) }));
            }
        }
    }
}

fn broken(error: &io::Error) -> Failure {
    Failure::Unavailable(format!("the file cannot be read: {error}"))
}

/// Reads to the line's end and keeps nothing of it; says how much that was.
fn skip_line(file: &mut impl BufRead) -> Result<u64, Failure> {
    let mut skipped = 0;
    loop {
        let piece = file.fill_buf().map_err(|error| broken(&error))?;
        let end = piece.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(piece.len(), |end| end + 1);
        file.consume(taken);
        skipped += taken as u64;
        if end.is_some() || taken == 0 {
            return Ok(skipped);
        }
    }
}

// === impl Report ===

impl Report {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, file: None, rejected: 0, made: 0, present: 0, of: None, numbers: HashSet::new() }
    }

    /// From now on lines of this file are told of.
    pub(super) fn turn_to(&mut self, file: &'static str) {
        self.of = Some(file);
        self.numbers.clear();
    }

    /// Of all files so far: made, here already, rejected.
    pub(super) const fn counts(&self) -> [u64; 3] {
        [self.made, self.present, self.rejected]
    }

    /// So many more are here by now, and so many were already.
    pub(super) const fn stored(&mut self, made: u64, present: u64) {
        self.made += made;
        self.present += present;
    }

    pub(super) const fn rejected(&self) -> u64 {
        self.rejected
    }

    /// Was this line of the present file told of?
    pub(super) fn has(&self, line: u64) -> bool {
        self.numbers.contains(&line)
    }

    pub(super) fn reject(&mut self, line: u64, reason: &str) -> Result<(), Failure> {
        if self.file.is_none() {
            let file = private(&self.path);
            self.file = Some(file.with_context(|| format!("{} cannot be written", shown(&self.path)))?);
        }
        self.rejected += 1;
        if self.of.is_some() {
            self.numbers.insert(line);
        }
        let rejected = Rejected { file: self.of, line, reason };
        let text = serde_json::to_string(&rejected).context("a report is JSON")?;
        let written = self.file.as_mut().map_or(Ok(()), |file| writeln!(file, "{text}"));
        written.with_context(|| format!("{} cannot be written", shown(&self.path)))?;
        Ok(())
    }

    /// Nothing if every line is good.
    pub(super) fn tell(&self) -> Result<(), Failure> {
        if self.rejected == 0 {
            return Ok(());
        }
        Err(Failure::Data(format!("{} lines were rejected; {} says why", self.rejected, shown(&self.path))))
    }
}

/// For nobody else's eyes: who is told of may be told by it.
fn private(path: &Path) -> std::io::Result<File> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    // One that was there before keeps what it had.
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(file)
}

/// What a line says. What is said of one that cannot be read is where, and never what: it may be a password or a key.
pub(super) fn parsed<T: DeserializeOwned>(text: &[u8]) -> Result<T, String> {
    // A list would be taken for the fields in their order.
    if text.trim_ascii_start().first() != Some(&b'{') {
        return Err("it is no JSON object".to_owned());
    }
    // Past its end would be the next line, of which this is column 0.
    let mut from = serde_json::Deserializer::from_slice(text.trim_ascii_end());
    let read = serde_path_to_error::deserialize(&mut from).map_err(|error| {
        let path = error.path().iter().next().map(ToString::to_string).unwrap_or_default();
        described(&path, &error.into_inner())
    });
    read.and_then(|read| from.end().map(|()| read).map_err(|error| described("", &error)))
}

fn described(path: &str, error: &serde_json::Error) -> String {
    let (words, column) = (error.to_string(), error.column());
    if !error.is_data() {
        return format!("column {column}: it is no JSON object");
    }
    // The names of fields that are missing, or of another type, are ours.
    let missing = words.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
    match missing {
        Some(field) => format!("`{field}` is missing"),
        None if words.starts_with("unknown field") => format!("column {column}: a field that is not known here"),
        None if words.starts_with("duplicate field") => format!("column {column}: a field that is there twice"),
        None => format!("column {column}: `{path}` cannot be read"),
    }
}

/// Says what became of a file.
pub(super) fn tell(file: &str, is_dry: bool, made: u64, present: u64, rejected: u64) {
    if is_dry {
        let good = made + present;
        say(&format!("{file}: {good} lines are good, {rejected} rejected; nothing was stored (--dry-run)"));
    } else {
        say(&format!("{file}: {made} made, {present} were here already, {rejected} lines rejected"));
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_line() {
        let read = |text: &'static [u8]| {
            let mut lines = Lines { file: text, number: 0, bar: progress(0, "") };
            let mut all = Vec::new();
            while let Ok(Some(line)) = lines.next() {
                all.push((line.number, line.text.unwrap()));
            }
            all
        };
        let two = [(1, b"{}\n".to_vec()), (2, b"\xef\xbb\xbf{}".to_vec())];
        assert_eq!(read(b"\xef\xbb\xbf{}\n\xef\xbb\xbf{}"), two, "elsewhere it is what is in the file");
        assert_eq!(read(b"\xef\xbb\xbf\n{}"), [(2, b"{}".to_vec())]);
    }

    #[test]
    fn a_line_that_ends_too_early_is_told_by_its_last_column() {
        let read = |text: &[u8]| parsed::<std::collections::BTreeMap<String, String>>(text);
        for text in ["{\"a\": \"b\"", "{\"a\": \"b\"\n", "{\"a\": \"b\" \r\n"] {
            assert_eq!(read(text.as_bytes()), Err("column 9: it is no JSON object".to_owned()), "{text:?}");
        }
    }
}
