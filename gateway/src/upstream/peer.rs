//! How Pingora is told to connect: one mould per upstream, from which the peers of its servers are cast. No default of
//! Pingora's is left: it has none for timeouts, one stream per HTTP/2 connection, and a key for reuse that leaves out whom
//! we trust (DEPENDENCIES §1.6, §1.8).

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use pingora::{
    protocols::{TcpKeepalive, tls::CaType},
    upstreams::peer::{ALPN, HttpPeer, HttpUpstreamRequestPolicy, PeerOptions},
    utils::tls::{CertKey, WrappedX509, parse_x509},
};
use policies::Timeouts;

use super::{attempt::Patience, resolve::Target};
use crate::config::{Protocol, TlsSettings, UpstreamSettings, UpstreamTimeouts};

/// What all peers of an upstream have in common.
pub(super) struct Mould {
    tls: Option<Identity>,
    alpn: ALPN,
    max_h2_streams: usize,
    timeouts: UpstreamTimeouts,
    group_key: u64,
}

/// Who we expect, whom we believe, and who we are.
struct Identity {
    /// Never empty: Pingora verifies nothing without a name.
    sni: String,
    authorities: Option<Arc<CaType>>,
    client: Option<Arc<CertKey>>,
}

// === impl Mould ===

impl Mould {
    pub(super) fn new(name: &str, settings: &UpstreamSettings) -> Self {
        Self {
            tls: settings.tls.as_ref().map(Identity::new),
            alpn: match settings.protocol {
                Protocol::Http1 => ALPN::H1,
                Protocol::Http2 => ALPN::H2,
                Protocol::Negotiated => ALPN::H2H1,
            },
            max_h2_streams: settings.max_h2_streams,
            timeouts: settings.timeouts,
            group_key: group_key(name, settings),
        }
    }

    /// The peer of one server. A socket's path has been checked when the configuration was read.
    pub(super) fn cast(&self, target: &Target) -> pingora::Result<HttpPeer> {
        let (has_tls, sni) = (self.tls.is_some(), self.tls.as_ref().map(|tls| tls.sni.clone()).unwrap_or_default());
        let mut peer = match target {
            Target::Inet(address) => HttpPeer::new(*address, has_tls, sni),
            Target::Unix(path) => HttpPeer::new_uds(&path.to_string_lossy(), has_tls, sni)?,
        };
        peer.group_key = self.group_key;
        self.set(&mut peer.options);
        if let Some(tls) = &self.tls {
            peer.options.ca.clone_from(&tls.authorities);
            peer.client_cert_key.clone_from(&tls.client);
        }
        Ok(peer)
    }

    fn set(&self, options: &mut PeerOptions) {
        let UpstreamTimeouts { connect, first_byte: _, response, total: _, idle } = self.timeouts;
        options.connection_timeout = Some(connect);
        options.total_connection_timeout = Some(connect);
        options.write_timeout = Some(response);
        options.idle_timeout = Some(idle);
        options.alpn = self.alpn.clone();
        options.max_h2_streams = self.max_h2_streams;
        // Each stream has a window of its own within the connection's, so that who reads slowly holds up nobody else.
        options.h2_stream_window_size = Some(H2_STREAM_WINDOW);
        options.h2_connection_window_size = Some(H2_CONNECTION_WINDOW);
        // No pings of HTTP/2's own: gRPC servers close connections that ping more often than every five minutes.
        options.h2_ping_interval = None;
        options.tcp_keepalive = Some(KEEPALIVE);
        // WebSockets have a way of their own (`tunnel`); nothing else is upgraded.
        options.http_upstream_request_policy = HttpUpstreamRequestPolicy::deny_upgrades();
    }

    pub(super) fn total(&self, route: &Timeouts) -> Option<Duration> {
        route.total.or(self.timeouts.total)
    }

    /// How long a server may take for a connection, for the head of an answer, and between two pieces of it.
    pub(super) fn patience(&self, route: &Timeouts) -> Patience {
        let silence = route.response.unwrap_or(self.timeouts.response);
        // What the route says of silence at all is said of the first one too.
        let first_byte = route.first_byte.or(if route.response.is_some() { None } else { self.timeouts.first_byte });
        let connect = route.connect.unwrap_or(self.timeouts.connect);
        Patience { connect, head: first_byte.unwrap_or(silence), silence }
    }
}

/// What the route says of timeouts, in place of what the upstream says; and no longer than what is left of the whole.
///
/// No time for reading is given: Pingora knows but one for every read of a try, and makes a timer for each. [`Patience`] is
/// kept by `streams::cut`.
pub(super) fn adapt(options: &mut PeerOptions, route: &Timeouts, left: Option<Duration>) {
    let Timeouts { connect, response, first_byte: _, total: _, idle } = *route;
    if let Some(connect) = connect {
        options.connection_timeout = Some(connect);
        options.total_connection_timeout = Some(connect);
    }
    if let Some(response) = response {
        options.write_timeout = Some(response);
    }
    if let Some(idle) = idle {
        options.idle_timeout = Some(idle);
    }
    if let Some(left) = left {
        for timeout in
            [&mut options.connection_timeout, &mut options.total_connection_timeout, &mut options.write_timeout]
        {
            *timeout = Some(timeout.map_or(left, |timeout| timeout.min(left)));
        }
    }
}

/// Bytes of one answer that a server may send before they are taken.
const H2_STREAM_WINDOW: u32 = 256 * 1024;
/// And of all. Streams are bounded one by one; this is so large because of what follows from it: small frames that have come
/// and are not taken cost 256 bytes each, and a connection on which they cost half of this is ended, with all its streams. Frames of 20
/// bytes, as language models stream them, fill a stream's window at 3.1 MB, so that more callers would have to take nothing than a
/// connection has streams; of four bytes 32 have to.
const H2_CONNECTION_WINDOW: u32 = 1 << 30;

const KEEPALIVE: TcpKeepalive = TcpKeepalive {
    idle: Duration::from_mins(1),
    interval: Duration::from_secs(10),
    count: 3,
    user_timeout: Duration::ZERO,
};

/// Connections are shared within this key only: whoever expects, believes or shows something else gets others.
fn group_key(name: &str, settings: &UpstreamSettings) -> u64 {
    let mut hasher = DefaultHasher::new();
    (name, settings.protocol, &settings.tls).hash(&mut hasher);
    hasher.finish()
}

// === impl Identity ===

impl Identity {
    /// Certificates have been parsed once when the configuration was read, so that this does not panic.
    fn new(settings: &TlsSettings) -> Self {
        let wrap = |der: &Vec<u8>| WrappedX509::new(der.clone(), parse_x509);
        Self {
            sni: settings.sni.clone(),
            authorities: settings.authorities.as_ref().map(|authorities| authorities.iter().map(wrap).collect()),
            client: settings
                .client
                .as_ref()
                .map(|client| Arc::new(CertKey::new(client.chain.clone(), client.key.clone()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use pingora::upstreams::peer::Peer;

    use super::*;

    fn peer(name: &str, sni: &str, authorities: Option<Vec<Vec<u8>>>) -> HttpPeer {
        let tls = Some(TlsSettings { sni: sni.to_owned(), authorities, client: None });
        // Certificates stay out of the peer here, so that only the key tells them apart.
        let mut mould = Mould::new(name, &UpstreamSettings { tls: None, ..UpstreamSettings::shipped() });
        mould.group_key = group_key(name, &UpstreamSettings { tls, ..UpstreamSettings::shipped() });
        mould.cast(&Target::Inet(([127, 0, 0, 1], 443).into())).expect("an address")
    }

    #[test]
    fn peers_that_trust_others_never_share_a_connection() {
        let one = peer("a", "backend", Some(vec![vec![1]]));
        assert_eq!(one.reuse_hash(), peer("a", "backend", Some(vec![vec![1]])).reuse_hash());
        for other in [
            peer("a", "backend", Some(vec![vec![2]])),
            peer("a", "backend", None),
            peer("a", "other", Some(vec![vec![1]])),
            peer("b", "backend", Some(vec![vec![1]])),
        ] {
            assert_ne!(one.reuse_hash(), other.reuse_hash());
        }
    }

    #[test]
    fn a_route_s_timeouts_and_what_is_left_of_the_whole_bound_a_try() {
        let mould = Mould::new("a", &UpstreamSettings::shipped());
        let adapted = |route: &Timeouts, left| {
            let mut options = mould.cast(&Target::Inet(([127, 0, 0, 1], 80).into())).expect("an address").options;
            adapt(&mut options, route, left);
            options
        };
        let seconds = Duration::from_secs;
        let options = adapted(&Timeouts { response: Some(seconds(9)), ..Timeouts::default() }, None);
        assert_eq!((options.write_timeout, options.connection_timeout), (Some(seconds(9)), Some(seconds(2))));
        for first_byte in [300, 5] {
            let route = Timeouts { first_byte: Some(seconds(first_byte)), ..Timeouts::default() };
            let options = adapted(&route, None);
            assert_eq!((options.read_timeout, options.write_timeout), (None, Some(seconds(60))));
            let patience = Patience { connect: seconds(2), head: seconds(first_byte), silence: seconds(60) };
            assert_eq!(mould.patience(&route), patience);
        }
        let options = adapted(&Timeouts::default(), Some(seconds(1)));
        let all = [options.connection_timeout, options.total_connection_timeout, options.write_timeout];
        assert_eq!(all, [Some(seconds(1)); 3]);
    }
}
