//! From where an API key may be shown: a short list of networks. Whose word on the client's address counts is the door's to say.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};

/// Networks, as a key names them: at least one, none twice, and none with bits beyond its length. What is IPv4 is written so, since
/// addresses are ([`IpAddr::to_canonical`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Networks(Box<[IpNet]>);

/// Why a list of networks is none. Completes a sentence that begins with the field's name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworksError {
    /// Not one, or too many.
    #[error("must hold 1 to {} networks; leave it out for a key that may be shown from anywhere", Networks::MOST)]
    Count,
    /// Which one, the first is 0.
    #[error("must hold networks such as 192.0.2.0/24 or 2001:db8::/32, or single addresses; the one at {0} is neither")]
    Unknown(usize),
}

// === impl Networks ===

impl Networks {
    /// Networks that one key may name: each is compared at every request that shows it.
    pub const MOST: usize = 16;

    /// Reads networks in CIDR notation (RFC 4632 §3.1, RFC 4291 §2.3) and single addresses. Bits beyond a network's length are dropped.
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Self, NetworksError> {
        if !(1..=Self::MOST).contains(&texts.len()) {
            return Err(NetworksError::Count);
        }
        let mut networks = Vec::with_capacity(texts.len());
        for (nth, text) in texts.iter().enumerate() {
            let network = network(text.as_ref()).ok_or(NetworksError::Unknown(nth))?;
            if !networks.contains(&network) {
                networks.push(network);
            }
        }
        Ok(Self(networks.into()))
    }

    /// Is the address in one of them?
    #[must_use]
    pub fn admit(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Does each of them lie within one of the others? A network that only several of those make up together does not.
    #[must_use]
    pub fn are_within(&self, others: &Self) -> bool {
        self.0.iter().all(|network| others.0.iter().any(|other| other.contains(network)))
    }

    /// As they are shown.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }
}

fn network(text: &str) -> Option<IpNet> {
    let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let address: IpAddr = address.parse().ok()?;
    let network = match length {
        None => IpNet::from(address),
        Some(length) => IpNet::new(address, plain_number(length)?).ok()?,
    };
    Some(canonical(network.trunc()))
}

/// Digits alone: others read signs and leading zeros in other ways.
fn plain_number(digits: &str) -> Option<u8> {
    let is_plain = digits == "0" || (!digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit()));
    digits.parse().ok().filter(|_| is_plain)
}

/// An address of IPv4 that is written as one of IPv6 (RFC 4291 §2.5.5.2) is never seen as that.
fn canonical(network: IpNet) -> IpNet {
    let mapped = || {
        let IpNet::V6(network) = network else { return None };
        Ipv4Net::new(network.addr().to_ipv4_mapped()?, network.prefix_len().checked_sub(96)?).ok()
    };
    mapped().map_or(network, IpNet::V4)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    fn read(texts: &[&str]) -> Vec<String> {
        Networks::parse(texts).unwrap().texts()
    }

    #[test]
    fn networks_are_kept_in_one_way_of_writing() {
        assert_eq!(read(&["192.0.2.7"]), ["192.0.2.7/32"]);
        assert_eq!(read(&["192.0.2.7/24", "192.0.2.0/24", "10.0.0.0/8"]), ["192.0.2.0/24", "10.0.0.0/8"]);
        assert_eq!(read(&["2001:DB8:0::7", "2001:db8:0:0::9/32"]), ["2001:db8::7/128", "2001:db8::/32"]);
        assert_eq!(read(&["::ffff:192.0.2.7", "::ffff:10.1.2.3/104"]), ["192.0.2.7/32", "10.0.0.0/8"]);
        assert_eq!(read(&["0.0.0.0/0", "::/0", "::ffff:0:0/96"]), ["0.0.0.0/0", "::/0"]);
        let kept = serde_json::to_string(&Networks::parse(&["10.1.2.3/8"]).unwrap()).unwrap();
        assert_eq!(kept, r#"["10.0.0.0/8"]"#);
    }

    #[test]
    fn what_is_no_network_is_told_by_its_place() {
        for bad in [
            "",
            "localhost",
            "192.0.2.0/33",
            "2001:db8::/129",
            "192.0.2.0/",
            "192.0.2.0/+8",
            "192.0.2.0/08",
            "192.0.2/24",
            "192.0.2.0/24/24",
            "192.0.2.0/255.255.255.0",
            " 192.0.2.0",
            "010.0.0.1",
            "[2001:db8::1]",
            "fe80::1%eth0",
            "*",
        ] {
            assert_eq!(Networks::parse(&["::1", bad]), Err(NetworksError::Unknown(1)), "{bad:?}");
        }
        assert_eq!(Networks::parse(&[""; 0]), Err(NetworksError::Count));
        assert_eq!(Networks::parse(&["::1"; Networks::MOST + 1]), Err(NetworksError::Count));
        assert_eq!(read(&["::1"; Networks::MOST]), ["::1/128"]);
    }

    #[test]
    fn an_address_is_admitted_however_it_is_written() {
        let networks = Networks::parse(&["192.0.2.0/24", "2001:db8::/32"]).unwrap();
        let admits = |text: &str| networks.admit(text.parse().unwrap());
        assert!(admits("192.0.2.255") && admits("::ffff:192.0.2.1") && admits("2001:db8:ffff::1"));
        assert!(
            !admits("192.0.3.0") && !admits("::ffff:192.0.3.0") && !admits("2001:db9::1") && !admits("::192.0.2.1")
        );
        let all_of_six = Networks::parse(&["::/0"]).unwrap();
        assert!(!all_of_six.admit("192.0.2.1".parse().unwrap()), "what is IPv4 is admitted by networks of IPv4 alone");
    }

    #[test]
    fn networks_lie_within_others_one_by_one() {
        let networks = |texts: &[&str]| Networks::parse(texts).unwrap();
        let own = networks(&["10.0.0.0/8", "2001:db8::/32"]);
        assert!(own.are_within(&own) && networks(&["10.1.0.0/16", "2001:db8::1"]).are_within(&own));
        assert!(
            !networks(&["10.1.0.0/16", "11.0.0.0/16"]).are_within(&own) && !networks(&["0.0.0.0/0"]).are_within(&own)
        );
        assert!(!networks(&["::/0"]).are_within(&own));
    }
}
