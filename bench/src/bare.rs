//! Pingora with nothing in it: every request goes to one upstream. The denominator of every ratio.
//!
//! It runs as the gateway does: a service inside our own tokio runtime, on a listener bound beforehand, the same
//! keep-alive towards clients and upstream. What the gateway adds on top is what the ratio shows.

use std::{
    net::{SocketAddr, TcpListener},
    os::fd::IntoRawFd as _,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use async_trait::async_trait;
use pingora::{
    apps::HttpServerOptions,
    listeners::tls::TlsSettings,
    prelude::{HttpPeer, Result},
    protocols::TcpKeepalive,
    proxy::{HttpProxy, ProxyHttp, Session},
    server::{Fds, ShutdownWatch, configuration::ServerConf},
    services::{Service as _, listening::Service},
};

/// What clients speak.
pub enum Downstream {
    /// HTTP/1.1, or HTTP/2 by prior knowledge if so chosen.
    Clear {
        /// Is the first thing on a connection looked at for HTTP/2's preface?
        h2c: bool,
    },
    /// HTTP/1.1 or HTTP/2 within TLS, with a certificate and its key, as PEM files.
    Tls(PathBuf, PathBuf),
}

/// Idle connections to the upstream that are kept: as many as the gateway keeps (`gateway/src/serving.rs`). Pingora's own 128 are fewer than
/// streams that end together, and then the next ones wait for connections here and not there.
const UPSTREAM_POOL: usize = 1024;

/// Forwards everything to one address.
struct Bare {
    upstream: SocketAddr,
}

/// Serves until `stop` turns true.
///
/// # Errors
/// When the certificate or its key cannot be used.
pub async fn serve(
    listener: TcpListener,
    downstream: Downstream,
    upstream: SocketAddr,
    stop: ShutdownWatch,
) -> anyhow::Result<()> {
    // Pingora would install ring if nobody came first; the gateway runs on aws-lc. An earlier installation is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let address = listener.local_addr()?.to_string();
    let mut sockets = Fds::new();
    sockets.add(address.clone(), listener.into_raw_fd());
    let conf = ServerConf { upstream_keepalive_pool_size: UPSTREAM_POOL, ..ServerConf::default() };
    let mut proxy = HttpProxy::new(Bare { upstream }, Arc::new(conf));
    if matches!(downstream, Downstream::Clear { h2c: true }) {
        let mut options = HttpServerOptions::default();
        options.h2c = true;
        proxy.server_options = Some(options);
    }
    proxy.handle_init_modules();
    let mut service = Service::new("bare".to_owned(), proxy);
    match downstream {
        Downstream::Clear { .. } => service.add_tcp(&address),
        Downstream::Tls(certificate, key) => {
            let (certificate, key) = (certificate.to_str(), key.to_str());
            let files = certificate.zip(key).context("the certificate's path is not text")?;
            let mut tls = TlsSettings::intermediate(files.0, files.1)?;
            tls.enable_h2();
            service.add_tls_with_settings(&address, None, tls);
        }
    }
    service.start_service(Some(Arc::new(parking_lot::Mutex::new(sockets))), stop, 1).await;
    Ok(())
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
