//! A guarded connection as one of Pingora's streams: what it tells of itself.

use std::{any::Any, fmt, sync::Arc};

use async_trait::async_trait;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType, raw_connect::ProxyDigest, tls::SslDigest,
};
use tokio::io::AsyncWriteExt;

use super::guarded::Guarded;

#[async_trait]
impl Shutdown for Guarded {
    async fn shutdown(&mut self) {
        // Whoever has left need not be told.
        drop(AsyncWriteExt::shutdown(self).await);
    }
}

impl UniqueID for Guarded {
    fn id(&self) -> UniqueIDType {
        self.transport.fd()
    }
}

impl Ssl for Guarded {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.digests.tls.clone()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        Some(if self.is_http2() { ALPN::H2 } else { ALPN::H1 })
    }
}

impl GetTimingDigest for Guarded {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Guarded {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        Some(Arc::clone(&self.digests.facts))
    }
}

impl GetSocketDigest for Guarded {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(Arc::clone(&self.digests.socket))
    }
}

impl Peek for Guarded {}

impl fmt::Debug for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded").field("fd", &self.transport.fd()).finish_non_exhaustive()
    }
}

/// The guarded connection behind one of Pingora's streams.
pub(crate) fn guarded(stream: &dyn Any) -> Option<&Guarded> {
    stream.downcast_ref()
}
