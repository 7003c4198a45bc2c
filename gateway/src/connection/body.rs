//! The body of an HTTP/1 request, followed byte by byte to its end, so that it is known where the next head begins.
//!
//! Chunks are read strictly (RFC 9112 §7.1): a line feed in a chunk extension, a missing CR or a size of twenty digits has been
//! read in two ways before (Kestrel CVE-2025-55315). Pure: bytes in, how many of them are the body's out.

use policies::Refusal;

use super::head::field;

/// How a head says where its body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// After this many bytes.
    Length(u64),
    /// After the last chunk.
    Chunked,
}

/// Where in a body we are.
#[derive(Debug)]
pub(crate) enum Body {
    /// This many bytes are missing.
    Length(u64),
    /// In a chunked body.
    Chunked(Chunks),
}

/// Where in a chunked body we are.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    at: At,
    /// Bytes of the present size line or of all trailers.
    line: Vec<u8>,
    trailer_bytes: usize,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    SizeLine,
    Data(u64),
    /// The CR, then the LF, after a chunk's data.
    DataEnd(&'static [u8]),
    Trailers,
    End,
}

/// A chunk's size with its extensions.
const LONGEST_SIZE_LINE: usize = 256;
/// All trailer fields. Pingora drops them (DEPENDENCIES §1.5); they are read only to find the end.
const MOST_TRAILERS: usize = 8 * 1024;

// === impl Body ===

impl From<Framing> for Body {
    fn from(framing: Framing) -> Self {
        match framing {
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(Chunks::default()),
        }
    }
}

impl Body {
    /// Has it ended?
    pub(crate) fn is_done(&self) -> bool {
        match self {
            Self::Length(missing) => *missing == 0,
            Self::Chunked(chunks) => chunks.at == At::End,
        }
    }

    /// How many of `bytes` belong to the body.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        match self {
            Self::Length(missing) => Ok(take(missing, bytes)),
            Self::Chunked(chunks) => chunks.read(bytes),
        }
    }
}

/// Takes what is missing, as far as it has come.
fn take(missing: &mut u64, bytes: &[u8]) -> usize {
    let taken = usize::try_from(*missing).map_or(bytes.len(), |missing| missing.min(bytes.len()));
    *missing -= taken as u64;
    taken
}

// === impl Chunks ===

impl Chunks {
    fn read(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        let mut taken = 0;
        while taken < bytes.len() && self.at != At::End {
            let rest = &bytes[taken..];
            taken += match &mut self.at {
                At::Data(missing) => {
                    let taken = take(missing, rest);
                    if *missing == 0 {
                        self.at = At::DataEnd(b"\r\n");
                    }
                    taken
                }
                At::DataEnd(expected) => {
                    if rest[0] != expected[0] {
                        return Err(Refusal::Malformed("a chunk is longer than its size"));
                    }
                    let expected = &expected[1..];
                    self.at = if expected.is_empty() { At::SizeLine } else { At::DataEnd(expected) };
                    1
                }
                At::SizeLine | At::Trailers => self.take_line(rest)?,
                At::End => 0,
            };
        }
        Ok(taken)
    }

    /// Gathers a line and, when it is whole, acts on it.
    fn take_line(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        let most = if self.at == At::SizeLine { LONGEST_SIZE_LINE } else { MOST_TRAILERS - self.trailer_bytes };
        let end = memchr::memchr(b'\n', bytes);
        let taken = end.map_or(bytes.len(), |end| end + 1);
        if self.line.len() + taken > most {
            return Err(Refusal::Malformed("a chunk's size line or the trailers are too long"));
        }
        self.line.extend_from_slice(&bytes[..taken]);
        if end.is_some() {
            let line = std::mem::take(&mut self.line);
            let text = line.strip_suffix(b"\r\n").ok_or(Refusal::Malformed("a chunk's line ends without CR"))?;
            self.act_on(text)?;
        }
        Ok(taken)
    }

    fn act_on(&mut self, line: &[u8]) -> Result<(), Refusal> {
        if self.at == At::SizeLine {
            self.at = match size(line)? {
                0 => At::Trailers,
                size => At::Data(size),
            };
        } else if line.is_empty() {
            self.at = At::End;
        } else {
            field(line)?;
            self.trailer_bytes += line.len() + 2;
        }
        Ok(())
    }
}

/// `1*HEXDIG [chunk-ext]`. At most fifteen digits, so that nothing overflows anywhere.
fn size(line: &[u8]) -> Result<u64, Refusal> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (size, extension) = line.split_at(digits);
    // Blanks may stand before an extension (RFC 9112 §7.1.1), and mean nothing elsewhere.
    let begins = matches!(extension.trim_ascii_start().first(), Some(b';')) || extension.is_empty();
    let is_plain = extension.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
    if !(1..=15).contains(&digits) || !begins || !is_plain {
        return Err(Refusal::Malformed("a chunk's size is not a number"));
    }
    let digit = |byte: &u8| u64::from(char::from(*byte).to_digit(16).unwrap_or(0));
    Ok(size.iter().fold(0, |size, byte| size << 4 | digit(byte)))
}

#[cfg(test)]
mod tests;
