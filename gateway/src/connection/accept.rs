//! From a listener to a guarded connection: who may come in, who is behind a balancer, TLS, and then Pingora.
//!
//! Pingora's own listeners know no cap, no deadline before the first request and no PROXY protocol (DEPENDENCIES §1.6), so ours
//! accept, and hand it each connection.

use std::{future::Future, io, net::SocketAddr, os::fd::AsRawFd, sync::Arc, time::Duration};

use ipnet::IpNet;
use pingora::{
    apps::{HttpServerApp, ReusedHttpStream},
    protocols::{SocketDigest, http::ServerSession, l4::socket, tls::SslDigest},
};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    sync::watch,
};

use super::{
    Facts, Limits,
    client_certificate::ClientCertificate,
    gate::{Entered, Gate},
    guarded::{Digests, Guarded},
    http2,
    proxy_protocol::{self, Announced, NotProxied},
    stream,
    tls::TlsServer,
    transport::Transport,
};
use crate::{
    metrics::{ConnectionMetrics, Unheard},
    streams::cut,
};

/// How long to wait when the system gives no more descriptors: others will end meanwhile.
const NO_DESCRIPTORS: Duration = Duration::from_millis(50);

/// What one listener does with whoever connects.
pub(crate) struct Listener<A> {
    pub(crate) app: Arc<A>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) limits: Limits,
    /// None: plain HTTP.
    pub(crate) tls: Option<Arc<TlsServer>>,
    /// Balancers that must announce whose connection it is; none: nobody does.
    pub(crate) announcers: Option<Arc<[IpNet]>>,
    pub(crate) metrics: ConnectionMetrics,
    pub(crate) stop: watch::Receiver<bool>,
}

/// Why a connection ended before its first request.
enum Ended {
    /// Counted under this reason.
    Refused(Unheard),
    /// The client left.
    Gone,
}

// === impl Ended ===

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::TimedOut { Self::Refused(Unheard::Idle) } else { Self::Gone }
    }
}

// === impl Listener ===

impl<A: HttpServerApp + Send + Sync + 'static> Listener<A> {
    /// Accepts until told to stop; connections go on by themselves.
    pub(crate) async fn serve(self, listener: TcpListener) {
        let this = Arc::new(self);
        let mut stop = this.stop.clone();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            match accepted {
                Ok((stream, peer)) => this.admit(stream, peer),
                Err(error) => {
                    if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
                        this.metrics.unheard(Unheard::NoDescriptors);
                        tracing::warn!(%error, "a connection cannot be accepted");
                        tokio::time::sleep(NO_DESCRIPTORS).await;
                    }
                }
            }
        }
    }

    fn admit(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        let Some(entered) = self.gate.enter() else {
            self.metrics.unheard(Unheard::TooManyConnections);
            return;
        };
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let _open = this.metrics.opened();
            match this.prepare(stream, peer, entered).await {
                // The place is given back when the connection ends.
                Ok((guarded, _entered)) => this.converse(guarded).await,
                Err(Ended::Refused(reason)) => this.metrics.unheard(reason),
                Err(Ended::Gone) => {}
            }
        });
    }

    async fn prepare(
        &self,
        mut stream: TcpStream,
        peer: SocketAddr,
        mut entered: Entered,
    ) -> Result<(Guarded, Entered), Ended> {
        // An answer is written at once and whole; waiting for more would only delay it.
        drop(stream.set_nodelay(true));
        let (client, is_of_stranger) = self.in_time(self.announced(&mut stream, peer)).await?;
        let Some(address) = entered.count_for(client.ip()) else {
            return Err(Ended::Refused(Unheard::TooManyConnectionsOfAddress));
        };
        let socket = SocketDigest::from_raw_fd(stream.as_raw_fd());
        // Whom a balancer announces is the client for everybody after this. The cell is new, so it can be set.
        drop(socket.peer_addr.set(Some(socket::SocketAddr::Inet(client))));
        let (transport, tls, client_certificate) = self.in_time(self.secured(stream)).await?;
        let (room, has_begun) = (Arc::default(), Arc::default());
        let facts = Facts {
            client_certificate,
            is_of_stranger,
            address,
            room: Arc::clone(&room),
            has_begun: Arc::clone(&has_begun),
        };
        let facts = Arc::new(facts.into_digest());
        let digests = Digests { socket: Arc::new(socket), tls, facts, room, has_begun };
        let guarded = Guarded::begin(transport, digests, &self.limits, &self.metrics).await?;
        Ok((guarded, entered))
    }

    async fn in_time<T>(&self, step: impl Future<Output = Result<T, Ended>>) -> Result<T, Ended> {
        tokio::time::timeout(self.limits.patience.header, step).await.unwrap_or(Err(Ended::Refused(Unheard::Idle)))
    }

    /// Who is connecting: the peer, or whom a balancer announces. Is it somebody of whom the balancer knows no address?
    async fn announced(&self, stream: &mut TcpStream, peer: SocketAddr) -> Result<(SocketAddr, bool), Ended> {
        let Some(announcers) = &self.announcers else { return Ok((peer, false)) };
        if !announcers.iter().any(|network| network.contains(&peer.ip().to_canonical())) {
            return Err(Ended::Refused(Unheard::NotATrustedProxy));
        }
        let mut header = Vec::new();
        loop {
            match proxy_protocol::read(&header) {
                Ok(Some(Announced { client, is_relayed, .. })) => {
                    return Ok((client.unwrap_or(peer), is_relayed && client.is_none()));
                }
                Ok(None) => {
                    let begin = header.len();
                    header.resize(begin + proxy_protocol::missing(&header), 0);
                    stream.read_exact(&mut header[begin..]).await.map_err(|_| Ended::Gone)?;
                }
                Err(NotProxied) => return Err(Ended::Refused(Unheard::NoProxyProtocol)),
            }
        }
    }

    async fn secured(&self, stream: TcpStream) -> Result<Secured, Ended> {
        let Some(tls) = &self.tls else { return Ok((Transport::Plain(stream), None, None)) };
        let stream = tls.acceptor().accept(stream).await.map_err(|error| {
            tracing::debug!(%error, "a TLS handshake failed");
            Ended::Refused(Unheard::TlsHandshake)
        })?;
        let session = stream.get_ref().1;
        let certificate = session.peer_certificates().and_then(<[_]>::first).and_then(ClientCertificate::read);
        let cipher = session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or_default();
        let version = session.protocol_version().and_then(|version| version.as_str()).unwrap_or_default();
        let digest = SslDigest::new(cipher, version, None, None, Vec::new());
        Ok((Transport::Tls(Box::new(stream)), Some(Arc::new(digest)), certificate))
    }

    /// Hands the connection to Pingora, request by request.
    async fn converse(&self, guarded: Guarded) {
        if guarded.is_http2() {
            return http2::converse(&self.app, guarded, &self.limits, &self.stop, &self.metrics).await;
        }
        cut::scope(self.converse_http1(guarded)).await;
    }

    async fn converse_http1(&self, guarded: Guarded) {
        let mut session = ServerSession::new_http1(Box::new(guarded));
        // Without a timer of Pingora's: the first head has its own deadline, the next ones `cut::await_request`.
        session.set_keepalive(Some(0));
        session.set_keepalive_reuses_remaining(Some(self.limits.requests.saturating_sub(1)));
        let mut done = self.app.process_new_http(session, &self.stop).await;
        let mut requests = 1;
        while let Some((stream, settings)) = done.map(ReusedHttpStream::consume) {
            if let Some(guarded) = stream::guarded((*stream).as_any()) {
                guarded.expect_request();
            }
            let mut session = ServerSession::new_http1(stream);
            if let Some(settings) = settings {
                settings.apply_to_session(&mut session);
            }
            done = self.app.process_new_http(session, &self.stop).await;
            requests += 1;
        }
        if requests >= self.limits.requests {
            self.metrics.had_most_requests.inc();
        }
    }
}

type Secured = (Transport, Option<Arc<SslDigest>>, Option<ClientCertificate>);
