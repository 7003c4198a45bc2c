//! One HTTP/2 connection: its requests, side by side, until the client leaves, is idle for too long, or has to go.
//!
//! Pingora's own loop does the same but tells nobody of the heads that it refuses itself: two hosts, no authority, user information
//! (RFC 9113 §8.3.1), lengths that contradict each other. Those get its bare 400 or a reset, since their stream is already answered
//! when it is handed out; here they are counted, logged, and bounded.

use std::{pin::pin, sync::Arc, time::Duration};

use pingora::{
    apps::HttpServerApp,
    protocols::{
        Digest, GetProxyDigest, GetSocketDigest, GetTimingDigest, Ssl,
        http::{
            ServerSession,
            v2::server::{H2Accept, HttpSession, handshake},
        },
    },
};
use tokio::{sync::watch, task::JoinSet, time::sleep};

use super::{Limits, guarded::Guarded};
use crate::metrics::ConnectionMetrics;

/// Heads that a connection may have refused; an honest client has none.
const MOST_REFUSED: u32 = 100;

/// Serves the requests of one connection. `stop`: no new ones; those under way are finished.
pub(crate) async fn converse<A: HttpServerApp + Send + Sync + 'static>(
    app: &Arc<A>,
    guarded: Guarded,
    limits: &Limits,
    stop: &watch::Receiver<bool>,
    metrics: &ConnectionMetrics,
) {
    let (client, retired) = (guarded.client(), guarded.retire().subscribe());
    let digest = Arc::new(Digest {
        ssl_digest: guarded.get_ssl_digest(),
        timing_digest: guarded.get_timing_digest(),
        proxy_digest: guarded.get_proxy_digest(),
        socket_digest: guarded.get_socket_digest(),
    });
    let idle = app.server_options().and_then(|options| options.h2_idle_timeout).unwrap_or(Duration::MAX);
    let Ok(mut connection) = handshake(Box::new(guarded), app.h2_options()).await else { return };
    let mut ending = pin!(ended(retired, stop.clone()));
    let (mut requests, mut is_ending, mut refused) = (JoinSet::new(), false, 0);
    loop {
        tokio::select! {
            biased;
            () = &mut ending, if !is_ending => {
                connection.graceful_shutdown();
                is_ending = true;
            }
            Some(_) = requests.join_next() => {}
            accepted = HttpSession::from_h2_conn(&mut connection, Arc::clone(&digest)) => match accepted {
                Ok(Some(H2Accept::Session(session))) => {
                    let (app, stop) = (Arc::clone(app), stop.clone());
                    requests.spawn(async move {
                        app.process_new_http(ServerSession::new_http2(session), &stop).await;
                    });
                    if requests.len() >= limits.streams {
                        metrics.reached("http2_streams");
                    }
                }
                Ok(Some(H2Accept::Rejected)) if refused < MOST_REFUSED => {
                    refused += 1;
                    metrics.refused("http2_head");
                    tracing::info!(client, "the head of an HTTP/2 request was refused");
                }
                Ok(Some(H2Accept::Rejected) | None) | Err(_) => break,
            },
            // Also of a client that was told to go and says nothing.
            () = sleep(idle), if requests.is_empty() => break,
        }
    }
    // Whoever has left is still recorded.
    requests.detach_all();
}

/// When no new requests are to come: the connection has had enough of them, or the gateway stops.
async fn ended(mut retired: watch::Receiver<bool>, mut stop: watch::Receiver<bool>) {
    tokio::select! {
        _ = retired.wait_for(|retired| *retired) => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
}
