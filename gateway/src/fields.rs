//! Header fields that are set together: their values lie in one piece of memory, so that a dozen small allocations are one.
//!
//! What the fields say is for others to know.

use std::{fmt::Write, net::IpAddr};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

/// Fields on their way into a header.
pub(crate) struct Fields {
    text: Vec<u8>,
    fields: SmallVec<[Field; 12]>,
}

struct Field {
    name: HeaderName,
    /// Where the value ends; it begins where the one before it ends.
    end: usize,
}

// === impl Fields ===

impl Fields {
    /// Room for `bytes` of values; more is found when needed.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self { text: Vec::with_capacity(bytes), fields: SmallVec::new() }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.fields.len()
    }

    /// A field that says `text`.
    pub(crate) fn text(&mut self, name: HeaderName, text: impl AsRef<[u8]>) {
        self.text.extend_from_slice(text.as_ref());
        self.end(name);
    }

    /// A field that says a number.
    pub(crate) fn number(&mut self, name: HeaderName, number: impl itoa::Integer) {
        self.text(name, itoa::Buffer::new().format(number));
    }

    /// Writes an address. The formatter of the standard library takes ten times as long for the addresses that most clients have.
    pub(crate) fn address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => {
                for (place, octet) in address.octets().into_iter().enumerate() {
                    if place > 0 {
                        self.text.push(b'.');
                    }
                    self.text.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
                }
            }
            IpAddr::V6(_) => _ = write!(self, "{address}"),
        }
    }

    /// A field that says what `write` writes.
    pub(crate) fn written(&mut self, name: HeaderName, write: impl FnOnce(&mut Self) -> std::fmt::Result) {
        let begin = self.text.len();
        if write(self).is_err() {
            self.text.truncate(begin);
            return;
        }
        self.end(name);
    }

    /// Sets every field in place of whatever stood there. A value that holds what no value may (RFC 9110 §5.5: control
    /// characters) is left out; names and addresses may be UTF-8, which is opaque data to HTTP.
    pub(crate) fn set(self, headers: &mut HeaderMap) {
        let text = Bytes::from(self.text);
        let mut begin = 0;
        for Field { name, end } in self.fields {
            if let Ok(value) = HeaderValue::from_maybe_shared(text.slice(begin..end)) {
                headers.insert(name, value);
            }
            begin = end;
        }
    }

    fn end(&mut self, name: HeaderName) {
        self.fields.push(Field { name, end: self.text.len() });
    }
}

/// For what formats itself.
impl Write for Fields {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.text.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use http::header::{ALLOW, DATE, ETAG, VIA};

    use super::*;

    #[test]
    fn fields_share_memory_and_not_text() {
        let mut headers = HeaderMap::from_iter([(VIA, HeaderValue::from_static("before"))]);
        let mut fields = Fields::with_capacity(4);
        fields.text(VIA, "one");
        fields.number(ETAG, 2_u32);
        fields.written(ALLOW, |out| write!(out, "{:03}", 3));
        fields.set(&mut headers);
        let said = [VIA, ETAG, ALLOW].map(|name| headers.get_all(name).iter().collect::<Vec<_>>());
        assert_eq!(said, [["one"], ["2"], ["003"]]);
    }

    #[test]
    fn an_address_is_written_as_the_standard_library_writes_it() {
        for text in ["0.0.0.0", "127.0.0.1", "255.10.200.9", "::1", "2001:db8::ff", "::ffff:1.2.3.4"] {
            let (mut headers, mut fields) = (HeaderMap::new(), Fields::with_capacity(16));
            let address: IpAddr = text.parse().expect("an address");
            fields.written(VIA, |out| {
                out.address(address);
                Ok(())
            });
            fields.set(&mut headers);
            assert_eq!(headers[VIA], address.to_string());
        }
    }

    #[test]
    fn what_no_value_may_hold_is_left_out_and_spoils_none() {
        let mut headers = HeaderMap::new();
        let mut fields = Fields::with_capacity(16);
        fields.text(VIA, "a\r\nb");
        fields.written(DATE, |out| out.write_str("lost").and(Err(std::fmt::Error)));
        fields.text(ETAG, "c");
        fields.set(&mut headers);
        assert_eq!(headers, HeaderMap::from_iter([(ETAG, HeaderValue::from_static("c"))]));
    }
}
