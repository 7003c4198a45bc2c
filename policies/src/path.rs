//! One spelling per path: what comes out is what is judged and what is forwarded; what could be read in two ways is refused.
//!
//! Only the path is looked at: the query is cut off by the caller and never decides anything. Patterns are `pattern`'s.
//!
//! ```text
//! /a/b%2dc%c3%a9/   →  /a/b-c%C3%A9/      unreserved characters decoded, other escapes in upper case (RFC 3986 §6.2.2)
//! /a%2Fb  /a\b  /a%5Cb                    a separator for some backends, data for others
//! /a/../b  /a/%2e./b  /a/.                dot segments, in any encoding
//! //a  /a//b                              empty segments: folded by some, kept by others; a leading `//` is an authority to URL parsers
//! /a;x/b  /a%3Bx                          path parameters (CVE-2026-0976)
//! /a#b  /a%23b  /a%3Fb                    delimiters: for backends that decode before they split, the path ends there
//! /a%252e                                 double encoding: a second decoding would read another path
//! /a%00  /a%zz  /a%ff  /a b  /é           control characters, broken escapes, not UTF-8, raw bytes that a path cannot hold
//! ```

use std::borrow::Cow;
use std::fmt;

use crate::Refusal;

/// Why a path is refused rather than guessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PathError {
    /// Does not begin with `/`.
    Relative,
    /// `/` or `\` in percent-encoding.
    EncodedSeparator,
    /// A raw `\`.
    Backslash,
    /// NUL or another control character, raw or encoded.
    Control,
    /// A segment that is `.` or `..` once decoded.
    DotSegment,
    /// Two slashes side by side.
    EmptySegment,
    /// `;`, raw or encoded.
    Parameter,
    /// `#`, raw or encoded, or an encoded `?`.
    Delimiter,
    /// `%` without two hexadecimal digits.
    BrokenEscape,
    /// An encoded `%` that begins another escape.
    DoubleEncoding,
    /// Escapes that do not spell UTF-8.
    NotUtf8,
    /// A raw byte outside RFC 3986's `pchar`.
    NotAllowed,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Plain,
    Slash,
    Escape,
    Refused,
}

const CLASSES: [Class; 256] = {
    let mut classes = [Class::Refused; 256];
    let mut byte = 0;
    while byte < 256 {
        if is_unreserved(byte as u8) || is_delimiter(byte as u8) {
            classes[byte] = Class::Plain;
        }
        byte += 1;
    }
    classes[b'/' as usize] = Class::Slash;
    classes[b'%' as usize] = Class::Escape;
    classes
};

/// The one spelling of `raw`, which is borrowed when it is that spelling already.
///
/// A trailing slash is kept. The result is a fixed point.
pub fn normalise(raw: &str) -> Result<Cow<'_, str>, PathError> {
    if !raw.starts_with('/') {
        return Err(PathError::Relative);
    }
    let mut spelling = Spelling { raw, rewritten: None, segment: 1, has_percent: false };
    let bytes = raw.as_bytes();
    let (mut at, mut run) = (1, 0);
    while let Some(&byte) = bytes.get(at) {
        match CLASSES[usize::from(byte)] {
            Class::Plain => at += 1,
            Class::Slash => {
                spelling.copy(run, at);
                spelling.end_segment(at)?;
                (run, at) = (at, at + 1);
            }
            Class::Escape => {
                spelling.copy(run, at);
                at += spelling.escape(at)?;
                run = at;
            }
            Class::Refused => return Err(PathError::of_raw(byte)),
        }
    }
    spelling.copy(run, at);
    spelling.finish()
}

/// A path on its way to its one spelling.
struct Spelling<'a> {
    raw: &'a str,
    /// Begun at the first escape that is spelt otherwise; until then what is written is the beginning of `raw`.
    rewritten: Option<String>,
    /// Where the current segment begins in what is written.
    segment: usize,
    /// An encoded `%` was kept.
    has_percent: bool,
}

// === impl Spelling ===

impl<'a> Spelling<'a> {
    fn copy(&mut self, from: usize, to: usize) {
        if let Some(rewritten) = &mut self.rewritten {
            rewritten.push_str(&self.raw[from..to]);
        }
    }

    fn end_segment(&mut self, at: usize) -> Result<(), PathError> {
        match self.current(at) {
            b"" => return Err(PathError::EmptySegment),
            b"." | b".." => return Err(PathError::DotSegment),
            _ => (),
        }
        self.segment = self.rewritten.as_ref().map_or(at, String::len) + 1;
        Ok(())
    }

    /// The bytes of the segment that `raw[at..]` follows.
    fn current(&self, at: usize) -> &[u8] {
        let written = self.rewritten.as_ref().map_or(&self.raw.as_bytes()[..at], |rewritten| rewritten.as_bytes());
        &written[self.segment..]
    }

    /// Takes the escape, or the escapes of one character, at `at`; says how many bytes of `raw` that was.
    fn escape(&mut self, at: usize) -> Result<usize, PathError> {
        match self.decode(at)? {
            byte if is_unreserved(byte) => {
                self.rewrite(at).push(byte.into());
                Ok(3)
            }
            b'/' | b'\\' => Err(PathError::EncodedSeparator),
            b';' => Err(PathError::Parameter),
            b'?' | b'#' => Err(PathError::Delimiter),
            byte if byte.is_ascii_control() => Err(PathError::Control),
            byte if byte.is_ascii() => {
                self.has_percent |= byte == b'%';
                Ok(self.keep(at, 3))
            }
            lead => {
                let width = self.character(at, lead)?;
                Ok(self.keep(at, width * 3))
            }
        }
    }

    fn decode(&self, at: usize) -> Result<u8, PathError> {
        escaped(&self.raw.as_bytes()[at..]).ok_or(PathError::BrokenEscape)
    }

    /// How many escapes spell the character that begins with `lead`.
    fn character(&self, at: usize, lead: u8) -> Result<usize, PathError> {
        let width = match lead {
            0xC2..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF4 => 4,
            _ => return Err(PathError::NotUtf8),
        };
        let mut bytes = [0; 4];
        for (index, byte) in bytes[..width].iter_mut().enumerate() {
            *byte = escaped(self.raw.as_bytes().get(at + index * 3..).unwrap_or_default()).ok_or(PathError::NotUtf8)?;
        }
        let character = str::from_utf8(&bytes[..width]).map_err(|_| PathError::NotUtf8)?;
        if character.chars().any(char::is_control) { Err(PathError::Control) } else { Ok(width) }
    }

    /// Keeps escapes as escapes, in upper case.
    fn keep(&mut self, at: usize, length: usize) -> usize {
        let escapes = &self.raw[at..at + length];
        if self.rewritten.is_some() || escapes.bytes().any(|byte| byte.is_ascii_lowercase()) {
            self.rewrite(at).extend(escapes.chars().map(|digit| digit.to_ascii_uppercase()));
        }
        length
    }

    fn rewrite(&mut self, at: usize) -> &mut String {
        self.rewritten.get_or_insert_with(|| self.raw[..at].to_owned())
    }

    fn finish(self) -> Result<Cow<'a, str>, PathError> {
        if matches!(self.current(self.raw.len()), b"." | b"..") {
            return Err(PathError::DotSegment);
        }
        let path = self.rewritten.map_or(Cow::Borrowed(self.raw), Cow::Owned);
        // Looked for in the result: `%25%32%65` spells `%252e` only once `%32` and `%65` are decoded.
        if self.has_percent && has_double_encoding(path.as_bytes()) {
            return Err(PathError::DoubleEncoding);
        }
        Ok(path)
    }
}

fn has_double_encoding(path: &[u8]) -> bool {
    let is_hex = |at: usize| path.get(at).is_some_and(u8::is_ascii_hexdigit);
    (0..path.len()).any(|at| path[at..].starts_with(b"%25") && is_hex(at + 3) && is_hex(at + 4))
}

/// RFC 3986 §2.3.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// What `pchar` allows beside unreserved characters and escapes (RFC 3986 §3.3), without `;`.
const fn is_delimiter(byte: u8) -> bool {
    matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' | b':' | b'@')
}

/// The byte that `%XX` at the beginning of `text` stands for.
fn escaped(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = text else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    Some(digit(*high)? << 4 | digit(*low)?)
}

// === impl PathError ===

impl PathError {
    /// One clause for the caller, the same for every request: it never repeats what was sent.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Relative => "the path must begin with `/`",
            Self::EncodedSeparator => "the path holds a percent-encoded `/` or `\\`",
            Self::Backslash => "the path holds a `\\`",
            Self::Control => "the path holds a control character",
            Self::DotSegment => "the path holds a `.` or `..` segment",
            Self::EmptySegment => "the path holds an empty segment",
            Self::Parameter => "the path holds a `;`",
            Self::Delimiter => "the path holds a `#` or an encoded `?`",
            Self::BrokenEscape => "the path holds a `%` without two hexadecimal digits",
            Self::DoubleEncoding => "the path is percent-encoded twice",
            Self::NotUtf8 => "the path is not UTF-8 once decoded",
            Self::NotAllowed => "the path holds a character that must be percent-encoded",
        }
    }

    const fn of_raw(byte: u8) -> Self {
        match byte {
            b'\\' => Self::Backslash,
            b';' => Self::Parameter,
            b'#' => Self::Delimiter,
            byte if byte.is_ascii_control() => Self::Control,
            _ => Self::NotAllowed,
        }
    }
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for PathError {}

// === comparing canonical paths ===

/// A canonical path's bytes with the escapes of `! $ & ' ( ) * + , = : @` decoded.
///
/// These may be written either way, mean the same to nearly every backend, and are forwarded as they came (a `%2B` that became
/// `+` would be another object to S3). Matching must not tell them apart: `/a%3Ab` would slip past a rule about `/a:b`.
#[derive(Clone)]
pub(crate) struct PlainBytes<'a>(&'a [u8]);

impl<'a> PlainBytes<'a> {
    pub(crate) const fn of(path: &'a str) -> Self {
        Self(path.as_bytes())
    }
}

impl Iterator for PlainBytes<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        match first {
            b'%' => Some(self.delimiter().unwrap_or(first)),
            _ => Some(first),
        }
    }
}

impl PlainBytes<'_> {
    /// Takes the two digits after a `%` if they spell a delimiter.
    fn delimiter(&mut self) -> Option<u8> {
        let [high, low, rest @ ..] = self.0 else { return None };
        let byte = escaped(&[b'%', *high, *low]).filter(|&byte| is_delimiter(byte))?;
        self.0 = rest;
        Some(byte)
    }
}

/// What follows `prefix` (plain bytes as text, without trailing slash) in a canonical path, if it ends at a segment boundary.
pub(crate) fn strip_prefix<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    let mut bytes = PlainBytes::of(path);
    let is_prefix = prefix.bytes().all(|byte| bytes.next() == Some(byte));
    let rest = path.get(path.len() - bytes.0.len()..)?;
    (is_prefix && (rest.is_empty() || rest.starts_with('/'))).then_some(rest)
}

/// `path` with `PlainBytes` applied, as text: those bytes are ASCII, so it stays UTF-8.
pub(crate) fn plain(path: &str) -> String {
    PlainBytes::of(path).map(char::from).collect()
}

// === impl Refusal ===

impl From<PathError> for Refusal {
    fn from(error: PathError) -> Self {
        Self::Malformed(error.reason())
    }
}

#[cfg(test)]
mod tests;
