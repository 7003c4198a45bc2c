//! The PROXY protocol, versions 1 and 2: a balancer's word for who is behind a connection (haproxy.org's proxy-protocol.txt).
//!
//! Believed only from trusted proxies, and demanded of them: who may leave it out could speak for anybody by writing it into his
//! first request. Pure: bytes in, an address out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What a connection begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Announced {
    /// The client's address; `None` when the balancer speaks for itself (health checks), or does not know it.
    pub(crate) client: Option<SocketAddr>,
    /// Does the balancer pass on what somebody else says?
    pub(crate) is_relayed: bool,
    /// Bytes of the header.
    pub(crate) len: usize,
}

/// Not the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotProxied;

/// Version 1's longest line, its CRLF included.
const LONGEST_LINE: usize = 107;
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const FIXED: usize = 16;
/// Addresses and extensions (TLVs) together; the standard allows 65535, balancers send dozens.
const LONGEST_REST: usize = 1024;

/// Reads the header as far as it has come. `None` until it is whole.
pub(crate) fn read(bytes: &[u8]) -> Result<Option<Announced>, NotProxied> {
    let begins = |with: &[u8]| bytes.iter().zip(with).all(|(one, other)| one == other);
    if begins(SIGNATURE) {
        version_2(bytes)
    } else if begins(b"PROXY ") {
        version_1(bytes)
    } else {
        Err(NotProxied)
    }
}

/// How many bytes the header has more than these at least, so that none of what follows it is read.
pub(crate) fn missing(bytes: &[u8]) -> usize {
    let Some(begin) = bytes.first_chunk::<12>() else { return SIGNATURE.len() - bytes.len() };
    match bytes.first_chunk::<FIXED>() {
        _ if begin != SIGNATURE => 1,
        None => FIXED - bytes.len(),
        Some([.., high, low]) => (FIXED + usize::from(u16::from_be_bytes([*high, *low]))).saturating_sub(bytes.len()),
    }
}

fn version_1(bytes: &[u8]) -> Result<Option<Announced>, NotProxied> {
    let Some(end) = bytes.iter().take(LONGEST_LINE).position(|byte| *byte == b'\n') else {
        return if bytes.len() < LONGEST_LINE { Ok(None) } else { Err(NotProxied) };
    };
    let line = bytes[..end].strip_suffix(b"\r").and_then(|line| std::str::from_utf8(line).ok()).ok_or(NotProxied)?;
    let client = match line.split(' ').collect::<Vec<_>>()[..] {
        ["PROXY", "UNKNOWN", ..] => None,
        ["PROXY", family @ ("TCP4" | "TCP6"), source, destination, port, destination_port] => {
            let address = |text: &str| text.parse().ok().filter(|ip: &IpAddr| ip.is_ipv4() == (family == "TCP4"));
            address(destination).zip(self::port(destination_port)).ok_or(NotProxied)?;
            Some(address(source).zip(self::port(port)).ok_or(NotProxied)?.into())
        }
        _ => return Err(NotProxied),
    };
    Ok(Some(Announced { client, is_relayed: true, len: end + 1 }))
}

/// Digits alone: `parse` would take a sign.
fn port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

fn version_2(bytes: &[u8]) -> Result<Option<Announced>, NotProxied> {
    let Some(fixed) = bytes.first_chunk::<FIXED>() else { return Ok(None) };
    let [.., command, family, high, low] = *fixed;
    let rest = usize::from(u16::from_be_bytes([high, low]));
    if command >> 4 != 2 || command & 0xf > 1 || rest > LONGEST_REST {
        return Err(NotProxied);
    }
    let len = FIXED + rest;
    let Some(rest) = bytes.get(FIXED..len) else { return Ok(None) };
    let client = match (command & 0xf, family >> 4) {
        (1, 1) => Some(inet(rest).ok_or(NotProxied)?),
        (1, 2) => Some(inet6(rest).ok_or(NotProxied)?),
        // LOCAL, or a family without an address of the Internet.
        _ => None,
    };
    Ok(Some(Announced { client, is_relayed: command & 0xf == 1, len }))
}

fn inet(rest: &[u8]) -> Option<SocketAddr> {
    let (source, rest) = rest.split_first_chunk::<4>()?;
    Some((Ipv4Addr::from(*source), source_port(rest, 4)?).into())
}

fn inet6(rest: &[u8]) -> Option<SocketAddr> {
    let (source, rest) = rest.split_first_chunk::<16>()?;
    Some((Ipv6Addr::from(*source).to_canonical(), source_port(rest, 16)?).into())
}

/// After the destination's address.
fn source_port(rest: &[u8], destination: usize) -> Option<u16> {
    let (port, _) = rest.get(destination..)?.split_first_chunk::<2>()?;
    rest.get(destination + 4 - 1)?;
    Some(u16::from_be_bytes(*port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(bytes: &[u8]) -> Result<Option<Announced>, NotProxied> {
        for cut in 0..bytes.len() {
            assert_eq!(read(&bytes[..cut]), Ok(None), "cut at {cut}");
            assert!((1..=bytes.len() - cut).contains(&missing(&bytes[..cut])), "cut at {cut}");
        }
        read(&[bytes, b"GET /"].concat())
    }

    fn announced(client: Option<&str>, len: usize) -> Announced {
        Announced { client: client.map(|client| client.parse().expect("an address")), is_relayed: true, len }
    }

    /// By a balancer that speaks for itself.
    fn local(len: usize) -> Announced {
        Announced { is_relayed: false, ..announced(None, len) }
    }

    fn version_2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = (rest.len() as u16).to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    #[test]
    fn version_1_names_the_client() {
        let line = b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n";
        assert_eq!(client(line), Ok(Some(announced(Some("192.0.2.1:56324"), line.len()))));
        let line = b"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n";
        assert_eq!(client(line), Ok(Some(announced(Some("[2001:db8::1]:1"), line.len()))));
        assert_eq!(client(b"PROXY UNKNOWN\r\n"), Ok(Some(announced(None, 15))));
    }

    #[test]
    fn version_2_names_the_client() {
        let rest = [192, 0, 2, 1, 198, 51, 100, 1, 0xdc, 0x04, 1, 187, /* a TLV */ 4, 0, 1, 0];
        assert_eq!(client(&version_2(0x21, 0x11, &rest)), Ok(Some(announced(Some("192.0.2.1:56324"), 32))));
        let rest = [&[0x20, 1, 0xd, 0xb8][..], &[0; 27], &[1, 0, 80, 1, 187]].concat();
        assert_eq!(client(&version_2(0x21, 0x21, &rest)), Ok(Some(announced(Some("[2001:db8::]:80"), 52))));
        assert_eq!(client(&version_2(0x20, 0, &[])), Ok(Some(local(16))));
    }

    #[test]
    fn as_much_is_read_at_once_as_the_header_has_at_least() {
        let rest = [0; 12];
        let header = version_2(0x21, 0x11, &rest);
        for (came, more) in [(0, 12), (11, 1), (12, 4), (15, 1), (16, 12), (27, 1)] {
            assert_eq!(missing(&header[..came]), more, "{came}");
        }
        assert_eq!((missing(b"PROXY TCP4 1"), missing(b"PROXY UNKNOWN\r")), (1, 1));
    }

    #[test]
    fn a_header_is_as_long_as_it_may_be_and_no_longer() {
        let line = |len: usize| format!("PROXY UNKNOWN {}\r\n", "a".repeat(len - 16)).into_bytes();
        assert_eq!(client(&line(107)), Ok(Some(announced(None, 107))));
        assert_eq!(read(&line(108)), Err(NotProxied));
        assert_eq!((read(&line(200)[..106]), read(&line(200)[..107])), (Ok(None), Err(NotProxied)));
        assert_eq!(client(&version_2(0x20, 0, &[0; 1024])), Ok(Some(local(1040))));
        // Addresses and nothing after them.
        let rest = [192, 0, 2, 1, 198, 51, 100, 1, 0xdc, 0x04, 1, 187];
        assert_eq!(client(&version_2(0x21, 0x11, &rest)), Ok(Some(announced(Some("192.0.2.1:56324"), 28))));
    }

    #[test]
    fn an_address_of_another_family_is_none_and_a_mapped_one_is_what_it_stands_for() {
        let mapped = [&[0; 10][..], &[0xff, 0xff, 192, 0, 2, 1], &[0; 16], &[0, 80, 1, 187]].concat();
        assert_eq!(client(&version_2(0x21, 0x21, &mapped)), Ok(Some(announced(Some("192.0.2.1:80"), 52))));
        for family in [0x31, 0x01] {
            assert_eq!(client(&version_2(0x21, family, &[0; 12])), Ok(Some(announced(None, 28))), "{family}");
        }
        assert_eq!(client(&version_2(0x20, 0x11, &[0; 12])), Ok(Some(local(28))));
    }

    #[test]
    fn what_is_not_the_protocol_is_refused() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\n",
            b"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.1 +1 2\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.1 1 2\n",
            b"PROXY TCP9 192.0.2.1 198.51.100.1 1 2\r\n",
            &[b"PROXY UNKNOWN ", &[b'a'; 100][..]].concat(),
            &version_2(0x11, 0x11, &[0; 12]),
            &version_2(0x22, 0x11, &[0; 12]),
            &version_2(0x21, 0x11, &[0; 11]),
            &version_2(0x21, 0x21, &[0; 35]),
            &version_2(0x21, 0x11, &[0; 1025]),
        ] {
            assert_eq!(read(bytes), Err(NotProxied), "{:?}", String::from_utf8_lossy(bytes));
        }
    }
}
