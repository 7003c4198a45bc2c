//! Pingora with nothing in it: every request goes to one upstream. The denominator of every ratio.
//!
//! It runs as the gateway does: a service inside our own tokio runtime, on a listener bound beforehand, the same
//! keep-alive towards clients and upstream. What the gateway adds on top is what the ratio shows.

use std::{
    net::{SocketAddr, TcpListener},
    os::fd::IntoRawFd as _,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use pingora::{
    prelude::{HttpPeer, Result},
    protocols::TcpKeepalive,
    proxy::{ProxyHttp, Session, http_proxy_service},
    server::{Fds, ShutdownWatch, configuration::ServerConf},
    services::Service as _,
};

/// Forwards everything to one address.
struct Bare {
    upstream: SocketAddr,
}

/// Serves until `stop` turns true.
///
/// # Panics
/// When the listener has no address, which a bound one has.
pub async fn serve(listener: TcpListener, upstream: SocketAddr, stop: ShutdownWatch) {
    // Pingora would install ring if nobody came first; the gateway runs on aws-lc. An earlier installation is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let address = listener.local_addr().expect("a bound listener has an address").to_string();
    let mut sockets = Fds::new();
    sockets.add(address.clone(), listener.into_raw_fd());
    let mut service = http_proxy_service(&Arc::new(ServerConf::default()), Bare { upstream });
    service.add_tcp(&address);
    service.start_service(Some(Arc::new(parking_lot::Mutex::new(sockets))), stop, 1).await;
}

// === impl Bare ===

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        let mut peer = HttpPeer::new(self.upstream, false, String::new());
        peer.options.idle_timeout = Some(Duration::from_mins(1));
        peer.options.tcp_keepalive = Some(TcpKeepalive {
            idle: Duration::from_mins(1),
            interval: Duration::from_secs(10),
            count: 3,
            user_timeout: Duration::ZERO,
        });
        Ok(Box::new(peer))
    }
}
