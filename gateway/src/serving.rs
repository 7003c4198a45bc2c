//! Listeners and their end: Pingora on ours, the operators' beside it, and a stop that loses no request in flight.
//!
//! Pingora's services run inside our own run time on sockets that we bind ourselves (its `Server` would start run times
//! of its own and cannot be told port 0, DEPENDENCIES §1.8–1.10).

use std::{
    future::Future,
    io,
    net::{SocketAddr, TcpListener},
    os::fd::IntoRawFd,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::get,
};
use parking_lot::Mutex;
use pingora::{
    proxy::http_proxy_service,
    server::{Fds, configuration::ServerConf},
    services::Service as _,
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::JoinHandle,
};

use crate::{cli::Failure, config::UpstreamSettings, door::Door, metrics::Metrics, readiness::Readiness};

/// How often a stop looks whether the last request has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Idle connections to upstreams that are kept, over all of them.
const UPSTREAM_POOL: usize = 1024;

/// SIGTERM and SIGINT. To be made before anybody is told that we are ready: until then either ends the process at once.
pub(crate) struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for either.
    pub(crate) async fn told(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Binds, or says in one line which address is not to be had.
pub(crate) fn bind(what: &str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), Failure> {
    let bound = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        let real = listener.local_addr()?;
        Ok((listener, real))
    });
    bound.map_err(|error| Failure::Unavailable(format!("cannot listen on {address} ({what}): {error}")))
}

/// Serves the door on `listener` until `stop` says otherwise; the handle ends when no connection is accepted any more.
pub(crate) fn serve_door(
    door: Door,
    (listener, address): (TcpListener, SocketAddr),
    stop: watch::Receiver<bool>,
) -> JoinHandle<()> {
    let conf = Arc::new(ServerConf {
        upstream_keepalive_pool_size: UPSTREAM_POOL,
        // Pingora counts the first try as a retry; its default is 16.
        max_retries: UpstreamSettings::MOST_TRIES,
        ..ServerConf::default()
    });
    let mut service = http_proxy_service(&conf, door);
    let name = address.to_string();
    service.add_tcp(&name);
    let mut sockets = Fds::new();
    sockets.add(name, listener.into_raw_fd());
    let sockets = Arc::new(Mutex::new(sockets));
    tokio::spawn(async move { service.start_service(Some(sockets), stop, 1).await })
}

/// Serves `/metrics`, `/healthz` and `/readyz` to operators.
pub(crate) fn serve_operators(
    listener: TcpListener,
    metrics: Metrics,
    readiness: Arc<Readiness>,
) -> io::Result<JoinHandle<()>> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let exposition = move || async move { ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], metrics.render()) };
    let probe = move |uri: Uri| async move {
        readiness.probe(uri.path()).map_or_else(|| StatusCode::NOT_FOUND.into_response(), |answer| respond(&answer))
    };
    let router = Router::new().route("/metrics", get(exposition)).fallback(get(probe));
    Ok(tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the operators' listener failed");
        }
    }))
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
        work.await;
        tracing::debug!(what, "a background task has ended");
    })
}
