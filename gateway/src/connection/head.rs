//! The head of an HTTP/1 request, read strictly: what two parsers could read in two ways is refused, never repaired.
//!
//! Pingora's own parser takes bare LF, folds conflicting lengths into one and escapes what no request line may hold
//! (DEPENDENCIES §1.7); a server behind us may resolve each of these otherwise, and that is how requests are smuggled. So no
//! byte of a request reaches Pingora before its whole head has passed here. Pure: bytes in, a [`Head`] or a [`Refusal`] out.

use policies::Refusal;

use super::body::Framing;

/// How much a head may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadLimits {
    /// Bytes from the method to the empty line.
    pub(crate) bytes: usize,
    /// Header fields.
    pub(crate) fields: usize,
}

/// Fields that `Connection` may name. Pingora takes no more, but finds that out when a server has been connected to.
const MOST_OPTIONS: usize = 9;
/// What no hop may drop because a client says so: whoever believes it would see another host, or another client.
const NO_OPTIONS: [&[u8]; 4] = [b"host", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto"];

/// A head that is whole and plain.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Its bytes, the empty line included.
    pub(crate) len: usize,
    /// What comes after it.
    pub(crate) framing: Framing,
    /// Does it ask for another protocol on this connection?
    pub(crate) asks_upgrade: bool,
}

/// Reads one head line by line, as it comes. Each byte is looked at once.
#[derive(Debug, Default)]
pub(crate) struct HeadReader {
    /// Where the line that is not complete yet begins.
    line: usize,
    /// Up to where there is no line feed.
    searched: usize,
    has_request_line: bool,
    /// Is the method HEAD, as far as it has come?
    is_for_head: bool,
    fields: usize,
    facts: Facts,
}

/// What the fields so far say that matters here.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is one thing that a head says or does not say")]
struct Facts {
    is_http_1_0: bool,
    has_host: bool,
    has_authorization: bool,
    length: Option<u64>,
    is_chunked: bool,
    asks_upgrade: bool,
    /// What `Connection` names.
    options: usize,
}

// === impl HeadReader ===

impl HeadReader {
    /// Looks at the head as far as it has come; `bytes` begins where it begins and grows from call to call. `None` until it is
    /// whole.
    pub(crate) fn read(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<Option<Head>, Refusal> {
        if !self.has_request_line {
            // TLS and whatever else is no HTTP has no reason ever to send the end of a line.
            if bytes.first().is_some_and(|first| !is_of_token(*first)) {
                return Err(Refusal::Malformed("the request line does not begin with a method"));
            }
            self.is_for_head = bytes.starts_with(b"HEAD ");
        }
        while let Some(found) = memchr::memchr(b'\n', &bytes[self.searched..]) {
            let end = self.searched + found;
            if end >= limits.bytes {
                return Err(self.too_large());
            }
            let line = bytes[self.line..end].strip_suffix(b"\r").ok_or(Refusal::Malformed("a line ends without CR"))?;
            (self.line, self.searched) = (end + 1, end + 1);
            if self.take_line(line, limits)? {
                return self.facts.conclude(end + 1).map(Some);
            }
        }
        self.searched = bytes.len();
        if bytes.len() > limits.bytes { Err(self.too_large()) } else { Ok(None) }
    }

    /// Is nothing but a head asked for? Known whatever else is wrong with the request.
    pub(crate) fn is_for_head(&self) -> bool {
        self.is_for_head
    }

    /// As long as the request line has not ended, it is the target that is too long (RFC 9112 §3).
    fn too_large(&self) -> Refusal {
        if self.has_request_line { Refusal::HeadersTooLarge } else { Refusal::UriTooLong }
    }

    /// Takes one line; says whether it was the empty line that ends the head.
    fn take_line(&mut self, line: &[u8], limits: &HeadLimits) -> Result<bool, Refusal> {
        if !self.has_request_line {
            self.facts.is_http_1_0 = request_line(line)?;
            self.has_request_line = true;
            return Ok(false);
        }
        if line.is_empty() {
            return Ok(true);
        }
        self.fields += 1;
        if self.fields > limits.fields {
            return Err(Refusal::HeadersTooLarge);
        }
        self.facts.take(line)?;
        Ok(false)
    }
}

/// `METHOD SP /path SP HTTP/1.x` and nothing else; says whether x is 0.
fn request_line(line: &[u8]) -> Result<bool, Refusal> {
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Refusal::Malformed("the request line is not three words"));
    };
    if !is_token(method) {
        return Err(Refusal::Malformed("the method is not a word"));
    }
    check_target(target)?;
    match version {
        b"HTTP/1.1" => Ok(false),
        b"HTTP/1.0" => Ok(true),
        _ => Err(Refusal::Malformed("the version is neither HTTP/1.1 nor HTTP/1.0")),
    }
}

/// A path and perhaps a query, of characters that a URI may hold.
pub(crate) fn check_target(target: &[u8]) -> Result<(), Refusal> {
    // Absolute, authority and asterisk form name another host, or none, for the same request (RFC 9112 §3.2).
    if target.first() != Some(&b'/') {
        return Err(Refusal::Malformed("the target does not begin with /"));
    }
    if !target.iter().all(|byte| matches!(byte, b'!'..=b'~') && *byte != b'#') {
        return Err(Refusal::Malformed("the target holds a character that no URI may"));
    }
    // No URI holds these as they are (RFC 3986 §2). Browsers send ` in a query all the same.
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    if path.contains(&b'`') || target.iter().any(|byte| matches!(byte, b'"' | b'<' | b'>')) {
        return Err(Refusal::Malformed("the target holds one of \" < > ` as it is; write it as %22, %3C, %3E or %60"));
    }
    Ok(())
}

/// `name: value` (RFC 9110 §5.5 and §5.6.2), with the value trimmed. Trailers are fields too.
pub(super) fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(Refusal::Malformed("a header is folded over two lines"));
    }
    let colon = memchr::memchr(b':', line).ok_or(Refusal::Malformed("a header has no colon"))?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if !is_token(name) {
        return Err(Refusal::Malformed("a header's name is not a word"));
    }
    // Without a branch for each byte a processor looks at sixteen at a time, and credentials are long.
    let is_control = |byte: u8| u8::from(byte < b' ') & u8::from(byte != b'\t') | u8::from(byte == 0x7f);
    if value.iter().fold(0, |found, byte| found | is_control(*byte)) != 0 {
        return Err(Refusal::Malformed("a header's value holds a control character"));
    }
    Ok((name, value.trim_ascii()))
}

/// A table, since every byte of every name is looked up in it.
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let signs = b"!#$%&'*+-.^_`|~";
    let mut at = 0;
    while at < signs.len() {
        table[signs[at] as usize] = true;
        at += 1;
    }
    table
};

/// RFC 9110 §5.6.2.
pub(crate) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().copied().all(is_of_token)
}

fn is_of_token(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

// === impl Facts ===

impl Facts {
    fn take(&mut self, line: &[u8]) -> Result<(), Refusal> {
        let (name, value) = field(line)?;
        // By length first: most fields are none of these.
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                once(&mut self.has_host, Refusal::Malformed("there is more than one Host"))?;
                // Pingora would answer by itself.
                if value.contains(&b'@') {
                    return Err(Refusal::Malformed("Host is not a name or an address"));
                }
            }
            6 if name.eq_ignore_ascii_case(b"expect") && !is_known_expectation(value) => {
                return Err(Refusal::ExpectationFailed);
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => self.asks_upgrade = true,
            10 if name.eq_ignore_ascii_case(b"connection") => self.take_options(value)?,
            13 if name.eq_ignore_ascii_case(b"authorization") => {
                once(&mut self.has_authorization, Refusal::AmbiguousCredentials)?;
            }
            14 if folds_into(name, b"content-length") => self.take_length(name, value)?,
            17 if folds_into(name, b"transfer-encoding") => self.take_coding(name, value)?,
            _ => {}
        }
        Ok(())
    }

    fn take_length(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        if !name.eq_ignore_ascii_case(b"content-length") || !is_plain_length(value) {
            return Err(Refusal::Malformed("Content-Length is not one number"));
        }
        if self.length.is_some() {
            return Err(Refusal::Malformed("the length of the body is given more than once"));
        }
        self.length = Some(value.iter().fold(0, |length, digit| length * 10 + u64::from(digit - b'0')));
        Ok(())
    }

    fn take_coding(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        if !name.eq_ignore_ascii_case(b"transfer-encoding") || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(Refusal::Malformed("Transfer-Encoding is not chunked and nothing else"));
        }
        once(&mut self.is_chunked, Refusal::Malformed("Transfer-Encoding is given more than once"))
    }

    /// RFC 9110 §7.6.1; empty elements are none (§5.6.1).
    fn take_options(&mut self, value: &[u8]) -> Result<(), Refusal> {
        let options = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|option| !option.is_empty());
        for option in options {
            self.options += 1;
            if !is_token(option) || NO_OPTIONS.iter().any(|name| option.eq_ignore_ascii_case(name)) {
                return Err(Refusal::Malformed("Connection names what is not of one connection"));
            }
        }
        if self.options > MOST_OPTIONS { Err(Refusal::Malformed("Connection names too much")) } else { Ok(()) }
    }

    /// The head that these facts make.
    fn conclude(&self, len: usize) -> Result<Head, Refusal> {
        if !self.has_host && !self.is_http_1_0 {
            return Err(Refusal::Malformed("there is no Host"));
        }
        let framing = match (self.length, self.is_chunked) {
            (Some(_), true) => return Err(Refusal::Malformed("both Content-Length and Transfer-Encoding are given")),
            (None, true) if self.is_http_1_0 => return Err(Refusal::Malformed("HTTP/1.0 has no Transfer-Encoding")),
            (None, true) => Framing::Chunked,
            (Some(length), false) => Framing::Length(length),
            (None, false) => Framing::Length(0),
        };
        Ok(Head { len, framing, asks_upgrade: self.asks_upgrade })
    }
}

/// A number as everybody writes it: some take one that begins with 0 for octal. Eighteen digits are more bytes than anybody
/// sends, and fit.
pub(crate) fn is_plain_length(value: &[u8]) -> bool {
    (1..=18).contains(&value.len()) && value.iter().all(u8::is_ascii_digit) && (value[0] != b'0' || value.len() == 1)
}

/// RFC 9110 §10.1.1 knows no other.
pub(crate) fn is_known_expectation(value: &[u8]) -> bool {
    value.eq_ignore_ascii_case(b"100-continue")
}

fn once(seen: &mut bool, otherwise: Refusal) -> Result<(), Refusal> {
    if std::mem::replace(seen, true) { Err(otherwise) } else { Ok(()) }
}

/// Would some server behind us read `name` as `other`? Backends fold `_` and other signs into `-`.
fn folds_into(name: &[u8], other: &[u8]) -> bool {
    name.iter()
        .zip(other)
        .all(|(one, other)| one.eq_ignore_ascii_case(other) || (*other == b'-' && !one.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests;
