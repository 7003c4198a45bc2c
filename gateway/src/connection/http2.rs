//! One HTTP/2 connection: its requests, side by side, until the client leaves, is idle for too long, or has to go.
//!
//! Pingora's own loop does the same but tells nobody of the heads that it refuses itself: two hosts, no authority, user information
//! (RFC 9113 §8.3.1), lengths that contradict each other. Those get its bare 400 or a reset, since their stream is already answered
//! when it is handed out; here they are counted, logged, and bounded. So are connections that h2 ends for what came on them.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use h2::{Reason, server::Connection};
use pingora::{
    apps::HttpServerApp,
    protocols::{
        Digest, GetProxyDigest, GetSocketDigest, GetTimingDigest, Ssl, Stream,
        http::{
            ServerSession,
            v2::server::{H2Accept, HttpSession, handshake},
        },
    },
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{Facts, Limits, followed::Ending, guarded::Guarded};
use crate::metrics::{ConnectionMetrics, Unheard};

/// Heads that a connection may have refused; an honest client has none.
const MOST_REFUSED: u32 = 100;
/// How long a client that was told to go (GOAWAY) may begin requests: until it has heard it. h2 refuses them only once it has said that
/// it has (RFC 9113 §6.8), and who says nothing would stay for ever.
const LEAVE: Duration = Duration::from_secs(10);
/// How long a client that is sent away may take to hear why.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Tells of a connection that h2 ends.
struct Witness<'a> {
    client: Option<String>,
    ending: Arc<Ending>,
    metrics: &'a ConnectionMetrics,
}

/// Serves the requests of one connection. `stop`: no new ones; those under way are finished.
pub(crate) async fn converse<A: HttpServerApp + Send + Sync + 'static>(
    app: &Arc<A>,
    guarded: Guarded,
    limits: &Limits,
    stop: &watch::Receiver<bool>,
    metrics: &ConnectionMetrics,
) {
    let retired = guarded.retire().subscribe();
    let witness = Witness { client: guarded.client(), ending: guarded.ending(), metrics };
    let digest = Arc::new(Digest {
        ssl_digest: guarded.get_ssl_digest(),
        timing_digest: guarded.get_timing_digest(),
        proxy_digest: guarded.get_proxy_digest(),
        socket_digest: guarded.get_socket_digest(),
    });
    let idle = app.server_options().and_then(|options| options.h2_idle_timeout).unwrap_or(Duration::MAX);
    let mut connection = match handshake(Box::new(guarded), app.h2_options()).await {
        Ok(connection) => connection,
        Err(error) => return witness.tell_of(error.root_cause().downcast_ref()),
    };
    let left = Facts::carried_by(&digest).map_or(Duration::MAX, |facts| facts.left(store::clock::now()));
    let mut ending = pin!(ended(retired, stop.clone(), left));
    // Its time begins when it is first asked for.
    let mut overstays = pin!(async { sleep(LEAVE).await });
    let (mut requests, mut is_ending, mut refused) = (JoinSet::new(), false, 0);
    loop {
        tokio::select! {
            biased;
            () = &mut ending, if !is_ending => {
                connection.graceful_shutdown();
                is_ending = true;
            }
            () = &mut overstays, if is_ending => return finish(connection, requests, &witness).await,
            Some(_) = requests.join_next() => {}
            accepted = HttpSession::from_h2_conn(&mut connection, Arc::clone(&digest)) => match accepted {
                Ok(Some(H2Accept::Session(session))) => {
                    let (app, stop) = (Arc::clone(app), stop.clone());
                    requests.spawn(async move {
                        app.process_new_http(ServerSession::new_http2(session), &stop).await;
                    });
                    if requests.len() >= limits.streams {
                        metrics.had_most_streams.inc();
                    }
                }
                Ok(Some(H2Accept::Rejected)) if refused < MOST_REFUSED => {
                    refused += 1;
                    metrics.unheard(Unheard::Http2Head);
                    tracing::info!(client = witness.client, "the head of an HTTP/2 request was refused");
                }
                Ok(Some(H2Accept::Rejected)) => {
                    requests.detach_all();
                    return dismiss(connection, Reason::ENHANCE_YOUR_CALM).await;
                }
                Ok(None) => break,
                Err(error) => {
                    witness.tell_of(error.root_cause().downcast_ref());
                    break;
                }
            },
            // Also of a client that was told to go and says nothing.
            () = sleep(idle), if requests.is_empty() => break,
        }
    }
    // Whoever has left is still recorded.
    requests.detach_all();
}

/// Lets the requests under way end, of a client that was told to go and makes others all the same: those are refused as not begun
/// (RFC 9113 §8.7).
async fn finish(mut connection: Connection<Stream, Bytes>, mut requests: JoinSet<()>, witness: &Witness<'_>) {
    let (mut refused, mut said) = (0, pin!(async { sleep(LEAVE).await }));
    while refused < MOST_REFUSED {
        tokio::select! {
            Some(_) = requests.join_next() => {}
            accepted = connection.accept() => match accepted {
                Some(Ok((_, mut answer))) => {
                    refused += 1;
                    witness.metrics.unheard(Unheard::Http2Overstayed);
                    answer.send_reset(Reason::REFUSED_STREAM);
                }
                Some(Err(error)) => {
                    witness.tell_of(Some(&error));
                    break;
                }
                None => break,
            },
            // What has been answered may still be on its way.
            () = &mut said, if requests.is_empty() => break,
        }
    }
    requests.detach_all();
    dismiss(connection, if refused < MOST_REFUSED { Reason::NO_ERROR } else { Reason::ENHANCE_YOUR_CALM }).await;
}

/// Ends the connection, and says why.
async fn dismiss(mut connection: Connection<Stream, Bytes>, why: Reason) {
    connection.abrupt_shutdown(why);
    // Whoever takes nothing will not hear it.
    drop(timeout(LAST_WORDS, poll_fn(|cx| connection.poll_closed(cx))).await);
}

/// When no new requests are to come: the connection has had enough of them, it is good for no longer, or the gateway stops.
async fn ended(mut retired: watch::Receiver<bool>, mut stop: watch::Receiver<bool>, left: Duration) {
    tokio::select! {
        _ = retired.wait_for(|retired| *retired) => {}
        _ = stop.wait_for(|stop| *stop) => {}
        () = sleep(left), if left < Duration::MAX => {}
    }
}

// === impl Witness ===

impl Witness<'_> {
    /// Counts and logs what h2 has ended the connection for; not that the client has left, or said itself why it goes. Of what was too much h2
    /// tells only that it was.
    fn tell_of(&self, error: Option<&h2::Error>) {
        let Some(reason) = error.and_then(|error| self.reason(error)) else { return };
        self.metrics.unheard(match reason {
            Reason::ENHANCE_YOUR_CALM if self.ending.is_resetting.load(Ordering::Relaxed) => Unheard::Http2Resets,
            Reason::ENHANCE_YOUR_CALM => Unheard::Http2Control,
            _ => Unheard::Http2Protocol,
        });
        tracing::info!(client = self.client, ?reason, "an HTTP/2 connection was ended for what came on it");
    }

    /// Why h2 has ended the connection, if it did. A client that only said why it goes was sent away without a reason.
    fn reason(&self, error: &h2::Error) -> Option<Reason> {
        let sent = || Reason::from(self.ending.why.load(Ordering::Relaxed));
        match (error.is_go_away(), error.is_library()) {
            (false, _) => None,
            (true, true) => error.reason(),
            (true, false) => Some(sent()).filter(|why| *why != Reason::NO_ERROR),
        }
    }
}
