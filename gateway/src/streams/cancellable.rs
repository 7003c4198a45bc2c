//! The application of a connection, each of whose requests can be ended from outside ([`cut`]), and whose clients are told.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use async_trait::async_trait;
use pingora::{
    apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream},
    protocols::http::{ServerSession, v2::server::H2Options},
    server::ShutdownWatch,
};
use policies::Refusal;

use super::{
    GRACE,
    cut::{self, End},
};
use crate::{answer, journey::Journey};

/// An application whose requests can be cut off.
///
/// It costs each request a few nanoseconds each time it is polled; there is no other place from which a request can be
/// reached that waits for its backend alone.
pub(crate) struct Cancellable<A>(Arc<A>);

/// Runs a request until it ends or is cut off.
struct Until<F>(F);

// === impl Cancellable ===

impl<A> Cancellable<A> {
    pub(crate) fn new(app: A) -> Self {
        Self(Arc::new(app))
    }
}

#[async_trait]
impl<A: HttpServerApp + Send + Sync + 'static> HttpServerApp for Cancellable<A> {
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        // Requests of HTTP/2 run in tasks of their own, those of HTTP/1 in their connection's.
        let in_connection = cut::begin();
        let told = told_if_dropped(Until(self.0.process_new_http(session, shutdown)));
        if in_connection { told.await } else { cut::scope(told).await }.flatten()
    }

    fn h2_options(&self) -> Option<H2Options> {
        self.0.h2_options()
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        self.0.server_options()
    }

    async fn http_cleanup(&self) {
        self.0.http_cleanup().await;
    }
}

/// Runs a request. If it is dropped before it was answered, whoever stood guard has the client's session, and the client is told.
async fn told_if_dropped<F: Future + Unpin>(request: Until<F>) -> Option<F::Output> {
    let done = request.await;
    if done.is_none()
        && let Some((guard, journey)) = cut::dropped()
        && let Some(session) = guard.given_back().filter(|session| !answer::is_begun(session))
    {
        // Boxed, so that other requests do not carry room for it.
        Box::pin(tell(session, journey)).await;
    }
    done
}

async fn tell(mut session: ServerSession, mut journey: Box<Journey>) {
    let why = journey.refusal.clone().unwrap_or(Refusal::UpstreamTimeout);
    session.set_keepalive(None);
    match tokio::time::timeout(GRACE, answer::refuse(&mut session, &why, &journey)).await {
        Ok(Ok(())) => journey.told(why),
        Ok(Err(error)) => tracing::debug!(%error, "the client left before it could be told"),
        Err(_) => tracing::debug!("the client does not take what it is told"),
    }
    // It is over, whatever the client still sends; on HTTP/1 so is its connection.
    drop(journey);
    if !session.is_http2() {
        session.shutdown().await;
    }
}

// === impl Until ===

impl<F: Future + Unpin> Future for Until<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            // The request first: it may only now ask to be heard, and whose time is over hears it so.
            if let Poll::Ready(done) = Pin::new(&mut self.0).poll(cx) {
                return Poll::Ready(Some(done));
            }
            match ready!(cut::poll_end(cx)) {
                End::Over => {}
                End::Cut => return Poll::Ready(None),
            }
        }
    }
}
