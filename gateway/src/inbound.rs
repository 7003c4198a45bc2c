//! The first step: a request as it came becomes an [`Inbound`] whose path, host and client address can be relied on.
//!
//! Whatever two parsers could read in two ways is refused here, so that what is judged is what is sent (SECURITY §1).
//! What the path matches and who is calling is decided by later steps.

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

use http::{HeaderMap, HeaderName, Method, Version, header};
use ipnet::IpNet;
use pingora::{http::RequestHeader, proxy::Session};
use policies::{Refusal, path};
use serde::{Serialize, Serializer};

use crate::{
    connection::{Facts, head},
    fields::Fields,
    panics,
};

/// What later steps know of the request.
#[expect(clippy::struct_excessive_bools, reason = "facts that go with each other in any way")]
pub(crate) struct Inbound {
    pub(crate) request_id: RequestId,
    /// Who is calling, as far as the network can tell: the peer, or what trusted proxies say. Whatever is limited by address counts this.
    pub(crate) client: IpAddr,
    /// Is that the client's own address? Not where it is a trusted proxy's, which does not say for whom it calls.
    pub(crate) is_client_known: bool,
    /// The other end of the connection.
    pub(crate) peer: IpAddr,
    /// Was the peer a trusted proxy? Only then are its forwarding headers passed on.
    pub(crate) via_trusted_proxy: bool,
    /// Did the client come by HTTPS, to us or to the trusted proxy in front of us?
    pub(crate) is_secure: bool,
    pub(crate) method: Method,
    pub(crate) host: Box<str>,
    /// Normalised, without the query; what is matched and what is forwarded.
    pub(crate) path: Box<str>,
    /// Did normalising change the path, so that the target has to be rewritten before it is sent on?
    pub(crate) path_changed: bool,
}

/// What the read step is allowed to accept.
pub(crate) struct ReadLimits {
    pub(crate) max_header_bytes: usize,
    pub(crate) max_uri_bytes: usize,
    pub(crate) max_header_fields: usize,
    pub(crate) trusted_proxies: Box<[IpNet]>,
}

/// What is told of a request that is refused because it cannot be read.
pub(crate) struct Unread {
    pub(crate) request_id: RequestId,
    pub(crate) client: Option<IpAddr>,
    pub(crate) method: Method,
    /// As it came, without the query; what is very long is not told whole.
    pub(crate) path: Box<str>,
}

/// Bytes of a path that was not understood.
const MOST_TOLD: usize = 256;

/// 128 random bits in lower-case hex: the request's name in logs, answers and upstreams, and the trace id of a trace
/// that begins here (W3C Trace Context §3.2.2.3).
#[derive(Clone, Copy)]
pub(crate) struct RequestId([u8; 32]);

// === impl Inbound ===

impl Inbound {
    /// Reads the header of `session`, which has been parsed but not judged.
    pub(crate) fn read(session: &Session, limits: &ReadLimits) -> Result<Self, Refusal> {
        let request = session.req_header();
        panics::rehearse("admit", &request.headers);
        if request.headers.len() > limits.max_header_fields {
            return Err(Refusal::HeadersTooLarge);
        }
        if request.version == Version::HTTP_2 {
            Self::check_http2(request, limits)?;
        }
        let target =
            std::str::from_utf8(request.raw_path()).map_err(|_| Refusal::Malformed("the path is not UTF-8"))?;
        if target.len() > limits.max_uri_bytes {
            return Err(Refusal::UriTooLong);
        }
        let raw_path = target.split_once('?').map_or(target, |(path, _query)| path);
        let path = path::normalise(raw_path).map_err(|error| Refusal::Malformed(error.reason()))?;
        let peer = peer(session).ok_or(Refusal::Malformed("the client has no address"))?;
        let is_of_stranger = is_of_stranger(session);
        let via_trusted_proxy = !is_of_stranger && limits.trusts(peer);
        let client = limits.client(peer, via_trusted_proxy, &request.headers);
        Ok(Self {
            request_id: RequestId::random(),
            is_client_known: !is_of_stranger && !limits.trusts(client),
            client,
            peer,
            is_secure: is_secure(session, &request.headers, via_trusted_proxy),
            via_trusted_proxy,
            method: request.method.clone(),
            host: host_of(request)?,
            path_changed: matches!(path, Cow::Owned(_)),
            path: path.into(),
        })
    }

    /// HTTP/1 has been read strictly before (`connection::head`); in HTTP/2 these are fields like any other.
    fn check_http2(request: &RequestHeader, limits: &ReadLimits) -> Result<(), Refusal> {
        let bytes: usize = request.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        if bytes > limits.max_header_bytes {
            return Err(Refusal::HeadersTooLarge);
        }
        let is_http = |scheme: &str| scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
        if !request.uri.scheme_str().is_none_or(is_http) {
            return Err(Refusal::Malformed("the scheme is neither http nor https"));
        }
        head::check_target(request.raw_path())?;
        // The library takes `"` for a letter of names, which HTTP/1 does not.
        if !request.headers.keys().all(|name| head::is_token(name.as_str().as_bytes())) {
            return Err(Refusal::Malformed("a header's name is not a word"));
        }
        let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
        if request.headers.values().any(|value| is_blank(value.as_bytes().first()) || is_blank(value.as_bytes().last()))
        {
            return Err(Refusal::Malformed("a header's value begins or ends with a blank")); // RFC 9113 §8.2.1
        }
        if request.headers.get_all(header::AUTHORIZATION).iter().nth(1).is_some() {
            return Err(Refusal::AmbiguousCredentials);
        }
        let mut lengths = request.headers.get_all(header::CONTENT_LENGTH).iter();
        let plain = lengths.next().is_none_or(|length| head::is_plain_length(length.as_bytes()));
        if !plain || lengths.next().is_some() {
            return Err(Refusal::Malformed("Content-Length is not one number"));
        }
        let mut expected = request.headers.get_all(header::EXPECT).iter();
        if expected.all(|expected| head::is_known_expectation(expected.as_bytes())) {
            Ok(())
        } else {
            Err(Refusal::ExpectationFailed)
        }
    }

    /// The declared size of the body, if it is declared.
    pub(crate) fn declared_length(headers: &HeaderMap) -> Option<u64> {
        headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
    }
}

/// The other end of the connection.
fn peer(session: &Session) -> Option<IpAddr> {
    Some(session.client_addr()?.as_inet()?.ip().to_canonical())
}

/// Has a balancer passed on the connection of somebody whom it does not name?
fn is_of_stranger(session: &Session) -> bool {
    Facts::of(session).is_some_and(|facts| facts.is_of_stranger)
}

/// How the client came: a trusted proxy that says it is believed, else our own connection counts.
fn is_secure(session: &Session, headers: &HeaderMap, via_trusted_proxy: bool) -> bool {
    let said = if via_trusted_proxy { forwarded_proto(headers) } else { None };
    let ours = || session.digest().is_some_and(|digest| digest.ssl_digest.is_some());
    said.map_or_else(ours, |proto| proto.eq_ignore_ascii_case("https"))
}

/// What the nearest proxy says: the last word counts, whatever came before it may be the client's.
fn forwarded_proto(headers: &HeaderMap) -> Option<&str> {
    match hops(headers, "x-forwarded-proto").next() {
        Some(said) => std::str::from_utf8(said).ok().map(str::trim),
        None => parameter(std::str::from_utf8(hops(headers, "forwarded").next()?).ok()?, "proto"),
    }
}

/// What each proxy has added to a field, the nearest one's word first. Bytes, since what lies behind may be the client's own, and no text.
fn hops<'a>(headers: &'a HeaderMap, name: &'static str) -> impl Iterator<Item = &'a [u8]> {
    headers.get_all(name).iter().rev().flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','))
}

/// Lower case, without port and final dot. HTTP/1.0 may leave it out (RFC 9112 §3.2); then it is empty. HTTP/2 has it in
/// `:authority` (RFC 9113 §8.3.1); where both are given Pingora has compared them.
pub(crate) fn host_of(request: &RequestHeader) -> Result<Box<str>, Refusal> {
    let host = match (request.headers.get(header::HOST), request.uri.authority()) {
        (Some(host), _) => host.to_str().ok(),
        (None, Some(authority)) => Some(authority.as_str()),
        (None, None) if request.version < Version::HTTP_11 => return Ok("".into()),
        (None, None) => return Err(Refusal::Malformed("there is no Host")),
    };
    let name = host.and_then(plain_host);
    Ok(name.ok_or(Refusal::Malformed("Host is not a name or an address"))?.to_ascii_lowercase().into())
}

/// The name or bracketed address of `host [":" port]` (RFC 9110 §7.2), whose port may be empty (RFC 3986 §3.2.3). Whatever a server behind us could take for another
/// name is none: two ports, a bracket that does not close, an empty label.
fn plain_host(host: &str) -> Option<&str> {
    // A colon inside brackets belongs to an IPv6 address and begins no port.
    let position = |sought: u8| host.bytes().position(|byte| byte == sought);
    let is_bracketed = host.starts_with('[');
    let end = if is_bracketed { position(b']')? + 1 } else { position(b':').unwrap_or(host.len()) };
    let (name, port) = host.split_at(end);
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok();
    let is_port = matches!(port, "" | ":") || port.strip_prefix(':').is_some_and(is_number);
    let is_host = if is_bracketed { name[1..end - 1].parse::<Ipv6Addr>().is_ok() } else { has_plain_labels(name) };
    (is_port && is_host).then_some(name.strip_suffix('.').unwrap_or(name))
}

/// Labels of letters, digits and a few signs, none of them empty; the last dot may end the name.
fn has_plain_labels(name: &str) -> bool {
    let mut label = 0;
    name.bytes().all(|byte| {
        let ends = byte == b'.';
        let fits = if ends { label > 0 } else { byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) };
        label = if ends { 0 } else { label + 1 };
        fits
    }) && !name.is_empty()
}

/// The right-most address of `X-Forwarded-For`, or else of `Forwarded` (RFC 7239), that no trusted proxy could have made up
/// (OWASP ASVS 5.0 §15.3.4). A trusted one's where the way ends there: with what is no address, or with nothing.
fn forwarded_client(headers: &HeaderMap, trusted: &[IpNet], peer: IpAddr) -> IpAddr {
    let is_plain = headers.contains_key("x-forwarded-for");
    let address = |hop| {
        let hop = std::str::from_utf8(hop).ok()?;
        node(if is_plain { hop.trim() } else { parameter(hop, "for")? })
    };
    let mut client = peer;
    for hop in hops(headers, if is_plain { "x-forwarded-for" } else { "forwarded" }) {
        let Some(hop) = address(hop) else { break };
        client = hop;
        if !trusted.iter().any(|net| net.contains(&hop)) {
            break;
        }
    }
    client
}

/// The value of a parameter of one element of `Forwarded`. Whoever quotes what could be read in two ways is not understood.
fn parameter<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = element.split(';').filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(key, _)| key.eq_ignore_ascii_case(name))?;
    Some(value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value))
}

/// An address, with or without a port (RFC 7239 §6); some proxies write the port in `X-Forwarded-For` too.
fn node(text: &str) -> Option<IpAddr> {
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    text.parse().ok().or_else(with_port).or_else(bracketed).map(|address| address.to_canonical())
}

// === impl ReadLimits ===

impl ReadLimits {
    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|net| net.contains(&address))
    }

    fn client(&self, peer: IpAddr, via_trusted_proxy: bool, headers: &HeaderMap) -> IpAddr {
        if via_trusted_proxy { forwarded_client(headers, &self.trusted_proxies, peer) } else { peer }
    }
}

// === impl Unread ===

impl Unread {
    /// Out of line: an honest client's requests can be read.
    #[cold]
    pub(crate) fn of(session: &Session, limits: &ReadLimits) -> Self {
        let request = session.req_header();
        let is_trusted = |peer| !is_of_stranger(session) && limits.trusts(peer);
        let client = peer(session).map(|peer| limits.client(peer, is_trusted(peer), &request.headers));
        let path = request.raw_path().split(|byte| *byte == b'?').next().unwrap_or_default();
        let path = String::from_utf8_lossy(&path[..path.len().min(MOST_TOLD)]).into();
        Self { request_id: RequestId::random(), client, method: request.method.clone(), path }
    }
}

// === impl RequestId ===

impl RequestId {
    fn random() -> Self {
        // Uniqueness is needed, secrecy is not: a fast generator per thread, seeded by the system.
        Self::of(fastrand::u128(1..))
    }

    pub(crate) fn of(bits: u128) -> Self {
        Self(hex(bits))
    }

    /// One that came back to us.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let is_plain = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        text.as_bytes().try_into().ok().filter(|_| is_plain).map(Self)
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Tells the upstream which trace it is part of: the caller's own if that is well formed, else one that begins here.
    pub(crate) fn trace(self, headers: &HeaderMap, fields: &mut Fields) {
        let mut theirs = headers.get_all(TRACEPARENT).iter();
        if let (Some(one), None) = (theirs.next(), theirs.next())
            && one.to_str().is_ok_and(is_traceparent)
        {
            return fields.text(TRACEPARENT, one);
        }
        let mut fresh = *b"00-................................-................-01";
        fresh[3..35].copy_from_slice(&self.0);
        fresh[36..52].copy_from_slice(&hex::<16>(u128::from(fastrand::u64(1..))));
        fields.text(TRACEPARENT, fresh);
    }
}

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

/// The low digits, an even number of them, of a number in lower-case hex.
fn hex<const DIGITS: usize>(bits: u128) -> [u8; DIGITS] {
    let mut text = [0; DIGITS];
    for (digits, byte) in text.chunks_exact_mut(2).rev().zip(bits.to_le_bytes()) {
        digits.copy_from_slice(&[byte >> 4, byte & 15].map(|digit| b"0123456789abcdef"[usize::from(digit)]));
    }
    text
}

/// Version 00 of W3C Trace Context §3.2: `00-<32 hex>-<16 hex>-<2 hex>`, no id all zero.
fn is_traceparent(text: &str) -> bool {
    let hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let zero = |part: &str| part.bytes().all(|byte| byte == b'0');
    let parts: Vec<&str> = text.split('-').collect();
    matches!(parts[..], ["00", trace, parent, flags]
        if hex(trace, 32) && !zero(trace) && hex(parent, 16) && !zero(parent) && hex(flags, 2))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use http::HeaderValue;

    use super::*;

    fn with_host(host: Option<&str>, version: Version) -> RequestHeader {
        let mut request = RequestHeader::build("GET", b"/", None).expect("a request");
        request.set_version(version);
        if let Some(host) = host {
            request.insert_header("host", host).expect("a value");
        }
        request
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    /// Whom the balancer at 10.0.0.1 passes on.
    fn client(fields: &HeaderMap) -> String {
        let trusted: [IpNet; 1] = ["10.0.0.0/8".parse().expect("a network")];
        forwarded_client(fields, &trusted, Ipv4Addr::new(10, 0, 0, 1).into()).to_string()
    }

    #[test]
    fn a_client_address_is_what_the_last_untrusted_hop_says() {
        for (chain, found) in [
            ("1.2.3.4", "1.2.3.4"),
            ("6.6.6.6, 1.2.3.4, 10.0.0.7", "1.2.3.4"),
            ("10.0.0.9, 10.0.0.7", "10.0.0.9"),
            ("6.6.6.6, ::ffff:1.2.3.4, ::ffff:10.0.0.7", "1.2.3.4"),
            ("garbage, 1.2.3.4", "1.2.3.4"),
            ("6.6.6.6, garbage", "10.0.0.1"),
            ("6.6.6.6, unknown, 10.0.0.7", "10.0.0.7"),
            ("6.6.6.6, 1.2.3.4:5678, 10.0.0.7:1", "1.2.3.4"),
            ("6.6.6.6, [2001:db8::1]:443", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("1.2.3.4:", "10.0.0.1"),
            ("1.2.3.4:x", "10.0.0.1"),
            ("", "10.0.0.1"),
        ] {
            assert_eq!(client(&headers(&[("x-forwarded-for", chain)])), found, "{chain}");
        }
        assert_eq!(client(&HeaderMap::new()), "10.0.0.1");
    }

    #[test]
    fn what_is_no_text_hides_nothing_that_a_nearer_proxy_says() {
        for (name, value, found) in [
            ("x-forwarded-for", &b"\xff, 203.0.113.9"[..], "203.0.113.9"),
            ("x-forwarded-for", b"6.6.6.6, \xff", "10.0.0.1"),
            ("x-forwarded-for", b"6.6.6.6, \xff, 10.0.0.7", "10.0.0.7"),
            ("forwarded", b"for=\xff, for=203.0.113.9", "203.0.113.9"),
            ("forwarded", b"for=6.6.6.6, for=\xff", "10.0.0.1"),
        ] {
            let mut fields = HeaderMap::new();
            fields.insert(name, HeaderValue::from_bytes(value).expect("a value"));
            assert_eq!(client(&fields), found, "{name}: {}", value.escape_ascii());
        }
        let mut fields = headers(&[("forwarded", "proto=https")]);
        fields.insert("x-forwarded-proto", HeaderValue::from_bytes(b"\xff, http").expect("a value"));
        assert_eq!(forwarded_proto(&fields), Some("http"));
        fields.insert("x-forwarded-proto", HeaderValue::from_bytes(b"https, \xff").expect("a value"));
        assert_eq!(forwarded_proto(&fields), None);
    }

    #[test]
    fn forwarded_is_understood_where_nobody_says_x_forwarded_for() {
        for (chain, found) in [
            ("for=1.2.3.4", "1.2.3.4"),
            ("for=6.6.6.6, For=\"1.2.3.4:80\";proto=https, for=10.0.0.7", "1.2.3.4"),
            ("for=6.6.6.6;by=_x, proto=http;for=\"[2001:db8::1]:80\"", "2001:db8::1"),
            ("for=6.6.6.6, for=unknown", "10.0.0.1"),
            ("for=6.6.6.6, for=_hidden", "10.0.0.1"),
            ("for=6.6.6.6, by=10.0.0.7", "10.0.0.1"),
            ("for=\"6.6.6.6, for=1.2.3.4\"", "10.0.0.1"),
        ] {
            assert_eq!(client(&headers(&[("forwarded", chain)])), found, "{chain}");
        }
        assert_eq!(client(&headers(&[("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "1.2.3.4")])), "1.2.3.4");
    }

    #[test]
    fn of_several_protocols_the_nearest_proxys_counts() {
        let mut several = headers(&[("x-forwarded-proto", "https")]);
        several.append("x-forwarded-proto", HeaderValue::from_static("https, http"));
        assert_eq!(forwarded_proto(&several), Some("http"));
        assert_eq!(forwarded_proto(&headers(&[("forwarded", "proto=http, for=1.2.3.4;proto=HTTPS")])), Some("HTTPS"));
        assert_eq!(forwarded_proto(&headers(&[("forwarded", "proto=https, for=1.2.3.4")])), None);
    }

    #[test]
    fn a_host_loses_its_port_case_and_final_dot() {
        for (host, name) in [
            ("Api.Example:8080", "api.example"),
            ("api.example.", "api.example"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("a:", "a"),
            ("a.:", "a"),
            ("[::1]:", "[::1]"),
        ] {
            assert_eq!(&*host_of(&with_host(Some(host), Version::HTTP_11)).expect("a host"), name);
        }
    }

    #[test]
    fn a_host_that_could_be_read_in_two_ways_is_refused() {
        for host in [
            "a b",
            "evil/../x",
            "evil,x",
            "evil?x",
            "evil#",
            "%45vil",
            "user@evil",
            "a\tb",
            "",
            ".",
            "a..",
            "a..b",
            ":80",
            ":",
            "a::",
            "a:b",
            "a:1:2",
            "a:+1",
            "a:99999",
            "[::1",
            "::1",
            "a]b",
            "[::1]x",
            "[::1]:x",
            "[a]",
            "[::1].",
            "[]",
        ] {
            assert!(host_of(&with_host(Some(host), Version::HTTP_11)).is_err(), "{host}");
        }
        assert!(host_of(&with_host(None, Version::HTTP_11)).is_err());
        assert!(host_of(&with_host(None, Version::HTTP_10)).is_ok());
    }

    #[test]
    fn fields_of_http_2_say_no_more_than_those_of_http_1() {
        let read = |target: &str, fields: &[(&'static str, &'static str)], max_header_bytes| {
            let mut request = RequestHeader::build("GET", b"/", None).expect("a request");
            request.set_uri(target.parse().expect("a target"));
            for (name, value) in fields {
                request.append_header(*name, *value).expect("a value");
            }
            let trusted_proxies = Box::default();
            let limits = ReadLimits { max_header_bytes, max_uri_bytes: 100, max_header_fields: 10, trusted_proxies };
            Inbound::check_http2(&request, &limits).map_err(|refusal| refusal.code())
        };
        // Each field costs four bytes more than its name and value.
        assert_eq!(read("/", &[("a", "bc")], 7), Ok(()));
        assert_eq!(read("/", &[("a", "bc")], 6), Err("headers_too_large"));
        for (target, is_read) in [("http://a.test/", true), ("HTTPS://a.test/", true), ("ftp://a.test/", false)] {
            assert_eq!(read(target, &[], 100).is_ok(), is_read, "{target}");
        }
        for (fields, said) in [
            (&[("a", "b c"), ("authorization", "d"), ("content-length", "12"), ("expect", "100-Continue")][..], Ok(())),
            (&[("a", " b")], Err("malformed")),
            (&[("a", "b\t")], Err("malformed")),
            (&[("authorization", "b"), ("authorization", "b")], Err("ambiguous_credentials")),
            (&[("content-length", "+1")], Err("malformed")),
            (&[("content-length", "1"), ("content-length", "1")], Err("malformed")),
            (&[("expect", "100-continue"), ("expect", "x")], Err("expectation_failed")),
        ] {
            assert_eq!(read("/", fields, 200), said, "{fields:?}");
        }
    }

    #[test]
    fn a_name_of_http_2_is_a_word() {
        let trusted_proxies = Box::default();
        let limits = ReadLimits { max_header_bytes: 100, max_uri_bytes: 100, max_header_fields: 10, trusted_proxies };
        for (name, is_read) in [(&b"a!b"[..], true), (b"a_b", true), (b"a\"b", false), (b"\"", false)] {
            let mut parts = http::Request::new(()).into_parts().0;
            // As the library makes one of what comes by HTTP/2.
            let name = HeaderName::from_lowercase(name).expect("a name to the library");
            parts.headers.insert(name.clone(), HeaderValue::from_static("c"));
            assert_eq!(Inbound::check_http2(&parts.into(), &limits).is_ok(), is_read, "{name}");
        }
    }

    #[test]
    fn a_length_is_known_where_it_is_declared() {
        let declared = |fields| Inbound::declared_length(&headers(fields));
        assert_eq!(declared(&[("content-length", "12")]), Some(12));
        assert_eq!(declared(&[]).or(declared(&[("content-length", "x")])), None);
    }

    #[test]
    fn a_requests_name_is_read_as_it_is_written_and_nothing_else_is_one() {
        let id = RequestId::of(0xabc);
        assert_eq!(RequestId::read(id.as_str()).map(|read| read.0), Some(id.0));
        for text in ["", "abc", &"G".repeat(32), &"A".repeat(32), &"0".repeat(33), &"\u{e9}".repeat(16)] {
            assert!(RequestId::read(text).is_none(), "{text}");
        }
    }

    #[test]
    fn only_a_well_formed_traceparent_is_passed_on() {
        let id = RequestId::of(0xabc);
        assert_eq!(id.as_str(), format!("{:032x}", 0xabc));
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let traceparent = |text| {
            let (mut fields, mut out) = (Fields::with_capacity(64), HeaderMap::new());
            id.trace(&headers(&[("traceparent", text)]), &mut fields);
            fields.set(&mut out);
            out.remove(TRACEPARENT).expect("a trace")
        };
        assert_eq!(traceparent(good), good);
        for bad in [
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "",
        ] {
            let fresh = traceparent(bad);
            let fresh = fresh.to_str().expect("text");
            assert!(is_traceparent(fresh) && fresh.contains("00000abc-"), "{bad} became {fresh}");
        }
    }
}
