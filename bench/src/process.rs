//! What the three programs have in common: a listener, a ready line on stdout, an end on SIGTERM.

use std::{
    io::Write as _,
    net::{SocketAddr, TcpListener},
};

use anyhow::Context as _;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// Listens on `address` (port 0: the system chooses), ready for tokio.
pub fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// One line on stdout: `{"ready":true,"http":"http://…"}`, as the gateway's own.
pub fn announce(address: SocketAddr) -> anyhow::Result<()> {
    let line = serde_json::json!({ "ready": true, "http": format!("http://{address}") });
    writeln!(std::io::stdout(), "{line}").context("stdout is gone")
}

/// Turns true at the first SIGTERM or SIGINT.
pub fn told_to_stop() -> anyhow::Result<watch::Receiver<bool>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        stop.send_replace(true);
    });
    Ok(stopped)
}
