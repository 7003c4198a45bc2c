//! Listeners and their end: Pingora on ours, the operators' beside it, and a stop that loses no request in flight.
//!
//! Pingora's proxy runs inside our own run time on connections that we accept ourselves ([`crate::connection`]); its `Server`
//! would start run times of its own and cannot be told port 0 (DEPENDENCIES §1.8–1.10).

use std::{
    future::Future,
    io,
    net::{SocketAddr, TcpListener},
    panic::AssertUnwindSafe,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::get,
};
use futures_util::FutureExt;
use pingora::{
    apps::{HttpServerApp, HttpServerOptions},
    protocols::http::v2::server::default_h2_options,
    proxy::HttpProxy,
    server::configuration::ServerConf,
};
use prometheus::IntGaugeVec;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{oneshot, watch},
    task::JoinHandle,
};

use crate::{
    cli::Failure,
    config::{Config, Server, Settings, UpstreamSettings},
    connection::{
        Limits, Patience,
        accept::Listener,
        frames::FrameLimits,
        gate::Gate,
        head::HeadLimits,
        tls::{self, Ends, TlsServer},
    },
    door::Door,
    handover::Taken,
    limits,
    metrics::Metrics,
    readiness::Readiness,
    streams::cancellable::Cancellable,
};

/// How often a stop looks whether the last request has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long connections without a request are kept open at a stop.
const LINGER: Duration = Duration::from_secs(1);
/// How often the files of certificates are looked at.
const CERTIFICATES_EVERY: Duration = Duration::from_secs(1);
/// Idle connections to upstreams that are kept, over all of them.
const UPSTREAM_POOL: usize = 1024;
/// What an HTTP/2 client may send before we have taken it, over all streams of a connection. Envoy's advice for the edge.
const HTTP2_WINDOW: u32 = 1024 * 1024;
/// And on one stream: with 64 KiB, the default of HTTP/2, an upload waits for its updates more than for the network.
const HTTP2_STREAM_WINDOW: u32 = 256 * 1024;
/// Small frames of HTTP/2 that have come and are not taken cost 256 bytes each; a connection over this is ended, since they fill memory
/// beside the window. A window full of frames of 16 bytes costs less: a backend that takes nothing of one stream ends no other.
const HTTP2_SMALL_FRAMES: usize = 16 * 1024 * 1024;
/// What is kept of an answer for a stream of HTTP/2 that takes nothing; h2's default is 400 KiB, of each of a hundred streams.
const HTTP2_SEND_BUFFER: usize = 64 * 1024;
/// Streams of a connection that h2 may reset because the client broke them, in its life. Its default of 1024 would let a client have ten times
/// as many requests begun and dropped as by resets of its own (CVE-2025-8671).
const HTTP2_BROKEN_STREAMS: usize = 100;

/// SIGTERM and SIGINT. To be made before a start that may take its time: process 1, as in a container, hears only what it listens to.
pub(crate) struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for either.
    pub(crate) async fn told(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Binds, or says in one line which address is not to be had. What another process had bound is used as it is.
fn bind(what: &str, address: SocketAddr, taken: &mut Taken) -> Result<(TcpListener, SocketAddr), Failure> {
    let bound = taken.bound_to(address).map_or_else(|| TcpListener::bind(address), Ok);
    let bound = bound.and_then(|listener| {
        listener.set_nonblocking(true)?;
        let real = listener.local_addr()?;
        Ok((listener, real))
    });
    bound.map_err(|error| Failure::Unavailable(format!("cannot listen on {address} ({what}): {error}")))
}

/// Every listener, bound before anything else is begun, and where it is.
pub(crate) struct Sockets {
    pub(crate) http: (TcpListener, SocketAddr),
    pub(crate) https: Option<(TcpListener, SocketAddr, Arc<TlsServer>)>,
    pub(crate) operators: (TcpListener, SocketAddr),
}

/// Where they are.
#[derive(Clone, Copy)]
pub(crate) struct Addresses {
    pub(crate) http: SocketAddr,
    pub(crate) https: Option<SocketAddr>,
    pub(crate) operators: SocketAddr,
}

// === impl Sockets ===

impl Sockets {
    pub(crate) fn addresses(&self) -> Addresses {
        let https = self.https.as_ref().map(|(_, address, _)| *address);
        Addresses { http: self.http.1, https, operators: self.operators.1 }
    }

    pub(crate) fn bind(settings: &Settings, taken: &mut Taken) -> Result<Self, Failure> {
        let listen = &settings.listen;
        let http = bind("listen.http", listen.http, taken)?;
        let https = listen.https.map(|address| -> Result<_, Failure> {
            // They could be read a moment ago: see `must_hold`.
            let tls = TlsServer::new(&settings.tls)
                .map_err(|error| Failure::Config(vec![format!("gateway.toml: [tls]: {error:#}")]))?;
            let (socket, address) = bind("listen.https", address, taken)?;
            Ok((socket, address, Arc::new(tls)))
        });
        // In the order in which they are handed over, since port 0 fits any.
        Ok(Self { http, https: https.transpose()?, operators: bind("listen.metrics", listen.metrics, taken)? })
    }
}

/// Refuses what could be read and does not hold all the same: certificates that could not be shown, and cases that fail.
pub(crate) fn must_hold(config: &Config) -> Result<(), Failure> {
    let Settings { listen, tls, .. } = &config.settings;
    let tls = listen.https.map_or_else(Vec::new, |_| tls::faults(tls));
    let wrong: Vec<_> = tls.into_iter().chain(config.try_cases().err().unwrap_or_default()).collect();
    if wrong.is_empty() { Ok(()) } else { Err(Failure::Config(wrong)) }
}

/// Reads certificates again when their files change, for as long as the process lives.
pub(crate) fn watch_certificates(sockets: &Sockets, metrics: &Metrics) -> impl Future<Output = ()> + use<> {
    let tls = sockets.https.as_ref().map(|(_, _, tls)| Arc::clone(tls));
    let (reloads, expiry) = (metrics.certificate_reloads.clone(), metrics.certificate_expiry.clone());
    let mut told = Vec::new();
    async move {
        let Some(tls) = tls else { return };
        let mut ticks = tokio::time::interval(CERTIFICATES_EVERY);
        loop {
            ticks.tick().await;
            let read = tls.refresh();
            if matches!(read, Some(Ok(()))) {
                told.clear();
            }
            watch_expiry(&tls.ends(), &expiry, &mut told);
            match read {
                None => {}
                Some(Ok(())) => {
                    reloads.with_label_values(&["applied"]).inc();
                    tracing::info!("new certificates are in force");
                }
                Some(Err(error)) => {
                    reloads.with_label_values(&["refused"]).inc();
                    tracing::error!(error = format!("{error:#}"), "the certificates cannot be read; the old ones stay");
                }
            }
        }
    }
}

/// Shows when the certificates end, and tells once of each that is over: clients refuse it, and nothing else says why.
fn watch_expiry(ends: &Ends, expiry: &IntGaugeVec, told: &mut Vec<PathBuf>) {
    let now = store::clock::now().timestamp();
    for (file, end) in ends {
        let name = file.display().to_string();
        expiry.with_label_values(&[&name]).set(*end);
        if *end <= now && !told.contains(file) {
            tracing::warn!(file = name, "the certificate has expired; no client that looks at it connects");
            told.push(file.clone());
        }
    }
}

/// Serves the door until `stop` says otherwise; the handle ends when no connection is accepted any more, and none waits for its
/// next request.
pub(crate) fn serve_door(
    door: Door,
    sockets: Sockets,
    settings: &Settings,
    stop: &watch::Receiver<bool>,
) -> io::Result<JoinHandle<()>> {
    let server = &settings.server;
    let metrics = door.metrics.connections.clone();
    let most = limits::connections_at_once(server.max_connections, server.max_connections_percent);
    let gate = Gate::new(most, server.max_connections_per_address.min(most));
    let app = Arc::new(Cancellable::new(pingora_proxy(door, server)));
    let announcers = settings.listen.proxy_protocol.then(|| Arc::from(server.trusted_proxies.clone()));
    let listener = |tls| Listener {
        app: Arc::clone(&app),
        gate: Arc::clone(&gate),
        limits: connection_limits(server),
        tls,
        announcers: announcers.clone(),
        metrics: metrics.clone(),
        stop: stop.clone(),
    };
    let http = listener(None).serve(tokio::net::TcpListener::from_std(sockets.http.0)?);
    let https = match sockets.https {
        Some((socket, _, tls)) => Some(listener(Some(tls)).serve(tokio::net::TcpListener::from_std(socket)?)),
        None => None,
    };
    let (app, open) = (Arc::clone(&app), metrics.open.clone());
    Ok(tokio::spawn(async move {
        match https {
            Some(https) => drop(tokio::join!(http, https)),
            None => http.await,
        }
        // Whoever is about to send a request on an open connection is answered, and told that it was the last one there.
        until_idle(LINGER, || open.get() == 0).await;
        app.http_cleanup().await;
    }))
}

fn pingora_proxy(door: Door, server: &Server) -> HttpProxy<Door> {
    let conf = Arc::new(ServerConf {
        upstream_keepalive_pool_size: UPSTREAM_POOL,
        // Pingora counts the first try as a retry; its default is 16.
        max_retries: UpstreamSettings::MOST_TRIES,
        ..ServerConf::default()
    });
    let mut proxy = HttpProxy::new(door, conf);
    proxy.handle_init_modules();
    let mut options = HttpServerOptions::default();
    options.h2_idle_timeout = Some(server.keepalive);
    // Pingora would refuse CONNECT in words of its own. No route takes it, and so no server gets it.
    options.allow_connect_method_proxying = true;
    proxy.server_options = Some(options);
    let mut http2 = default_h2_options();
    http2
        .max_concurrent_streams(server.http2_max_streams)
        // Twice as much as is let in (`inbound`), since what is over this is refused without a word.
        .max_header_list_size(u32::try_from(server.max_header_bytes.saturating_mul(2)).unwrap_or(u32::MAX))
        .initial_window_size(HTTP2_STREAM_WINDOW)
        .initial_connection_window_size(HTTP2_WINDOW)
        .data_frame_budget(HTTP2_SMALL_FRAMES)
        .max_send_buffer_size(HTTP2_SEND_BUFFER)
        .max_local_error_reset_streams(Some(HTTP2_BROKEN_STREAMS));
    proxy.h2_options = Some(http2);
    proxy
}

fn connection_limits(server: &Server) -> Limits {
    Limits {
        head: HeadLimits { bytes: server.max_header_bytes, fields: server.max_header_fields },
        frames: FrameLimits { resets: server.http2_max_resets, control: server.http2_max_control_frames },
        patience: Patience {
            header: server.header_timeout,
            body_rate: server.min_body_rate,
            write: server.write_timeout,
        },
        requests: server.max_requests_per_connection,
        streams: server.http2_max_streams as usize,
    }
}

/// Serves `/metrics`, `/healthz` and `/readyz` to operators, until what it gives is dropped.
pub(crate) fn serve_operators(
    sockets: &Sockets,
    metrics: Metrics,
    readiness: Arc<Readiness>,
) -> io::Result<oneshot::Sender<()>> {
    let listener = tokio::net::TcpListener::from_std(sockets.operators.0.try_clone()?)?;
    let exposition = move || async move { ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], metrics.render()) };
    let probe = move |uri: Uri| async move {
        readiness.at(uri.path()).map_or_else(|| StatusCode::NOT_FOUND.into_response(), |answer| respond(&answer))
    };
    let router = Router::new().route("/metrics", get(exposition)).fallback(get(probe));
    let (serves, over) = oneshot::channel();
    tokio::spawn(async move {
        let over = async move { drop(over.await) };
        if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(over).await {
            tracing::error!(%error, "the operators' listener failed");
        }
    });
    Ok(serves)
}

fn respond(answer: &crate::answer::LocalAnswer) -> Response {
    let status = StatusCode::from_u16(answer.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, "application/json")], answer.body().clone()).into_response()
}

/// Waits until `idle` has held twice in a row, or the deadline has passed. Says whether it held.
pub(crate) async fn until_idle(deadline: Duration, idle: impl Fn() -> bool) -> bool {
    let began = Instant::now();
    let mut held = 0;
    while held < 2 && began.elapsed() < deadline {
        tokio::time::sleep(LOOK_EVERY).await;
        held = if idle() { held + 1 } else { 0 };
    }
    held >= 2
}

/// Runs `work` in the background; the process outlives its failure, and the log tells of it.
pub(crate) fn in_background(what: &'static str, work: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(async move {
        // What it has left half done nobody looks at any more.
        if AssertUnwindSafe(work).catch_unwind().await.is_ok() {
            tracing::debug!(what, "a background task has ended");
        } else {
            tracing::error!(what, "a background task has failed; only another start begins it again");
        }
    })
}
