//! Upstreams: named pools of servers, and which server the next request goes to.
//!
//! Round robin over resolved addresses, every timeout set (Pingora's own defaults are "none", DEPENDENCIES §1.6), and a
//! pool key per upstream so that two upstreams on one address never share a connection. Picking a server takes a
//! [`Permit`]: forwarding without a decision does not compile. Health checks and other balancing come later.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use pingora::{
    protocols::TcpKeepalive,
    upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy},
};
use policies::{Permit, Refusal, Timeouts};

use crate::config::{IdentityHeader, UpstreamSettings};

/// A named pool.
pub(crate) struct Upstream {
    pub(crate) name: Arc<str>,
    /// Which identity headers its servers are sent.
    pub(crate) headers: Box<[IdentityHeader]>,
    /// One ready-made peer per server, and its address as text; a request clones one and sets its route's timeouts.
    peers: Box<[(HttpPeer, Arc<str>)]>,
    next: AtomicUsize,
}

/// Why a pool could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamError {
    #[error("upstream `{upstream}`: `{server}` cannot be resolved: {source}")]
    Resolve { upstream: Arc<str>, server: String, source: std::io::Error },
    #[error("upstream `{upstream}`: the socket's path cannot be used: {reason}")]
    Socket { upstream: Arc<str>, reason: String },
}

// === impl Upstream ===

impl Upstream {
    /// Resolves every server of the pool; a name that stands for several addresses adds them all.
    pub(crate) async fn resolve(name: &str, settings: &UpstreamSettings) -> Result<Self, UpstreamError> {
        let name: Arc<str> = name.into();
        let mut peers = Vec::new();
        for server in &settings.servers {
            let addresses = tokio::net::lookup_host(server.as_str()).await.map_err(|source| {
                UpstreamError::Resolve { upstream: Arc::clone(&name), server: server.clone(), source }
            })?;
            peers.extend(addresses.map(|address: SocketAddr| HttpPeer::new(address, false, String::new())));
        }
        Ok(Self::of(name, peers, settings))
    }

    /// The pool whose one server listens on a Unix socket.
    pub(crate) fn unix(name: &str, socket: &Path, settings: &UpstreamSettings) -> Result<Self, UpstreamError> {
        let name: Arc<str> = name.into();
        let path = socket.to_string_lossy();
        let peer = HttpPeer::new_uds(&path, false, String::new())
            .map_err(|error| UpstreamError::Socket { upstream: Arc::clone(&name), reason: error.to_string() })?;
        Ok(Self::of(name, vec![peer], settings))
    }

    fn of(name: Arc<str>, mut peers: Vec<HttpPeer>, settings: &UpstreamSettings) -> Self {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        let group_key = hasher.finish();
        for peer in &mut peers {
            // Pingora's own reuse key leaves out what makes two upstreams differ (DEPENDENCIES §1.8).
            peer.group_key = group_key;
            let options = &mut peer.options;
            options.connection_timeout = Some(settings.connect_timeout);
            options.total_connection_timeout = Some(settings.connect_timeout);
            options.read_timeout = Some(settings.response_timeout);
            options.write_timeout = Some(settings.response_timeout);
            options.idle_timeout = Some(settings.idle_timeout);
            // WebSockets have a way of their own (`tunnel`); nothing else is upgraded.
            options.http_upstream_request_policy = HttpUpstreamRequestPolicy::deny_upgrades();
            options.tcp_keepalive = Some(TcpKeepalive {
                idle: std::time::Duration::from_mins(1),
                interval: std::time::Duration::from_secs(10),
                count: 3,
                user_timeout: std::time::Duration::from_secs(0),
            });
        }
        Self {
            name,
            headers: settings.headers.clone(),
            peers: peers.into_iter().map(named).collect(),
            next: AtomicUsize::new(0),
        }
    }

    /// How many servers may be tried before the request is given up.
    pub(crate) fn tries(&self) -> usize {
        self.peers.len().clamp(1, 3)
    }

    /// The next server in turn, with the timeouts of the permitted route, and its address as the log calls it.
    pub(crate) fn pick(&self, permit: &Permit) -> Result<(Box<HttpPeer>, Arc<str>), Refusal> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let (peer, name) = self.peers.get(turn % self.peers.len().max(1)).ok_or(Refusal::UpstreamConnect)?;
        let mut peer = Box::new(peer.clone());
        let Timeouts { connect, response, idle } = permit.route().timeouts;
        let options = &mut peer.options;
        if let Some(connect) = connect {
            options.connection_timeout = Some(connect);
            options.total_connection_timeout = Some(connect);
        }
        if let Some(response) = response {
            options.read_timeout = Some(response);
            options.write_timeout = Some(response);
        }
        if let Some(idle) = idle {
            options.idle_timeout = Some(idle);
        }
        Ok((peer, Arc::clone(name)))
    }
}

fn named(peer: HttpPeer) -> (HttpPeer, Arc<str>) {
    let name = peer._address.to_string().into();
    (peer, name)
}
