//! The application of a connection, each of whose requests can be ended from outside ([`cut`]), and whose clients are told.

use std::{future::Future, sync::Arc};

use async_trait::async_trait;
use pingora::{
    apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream},
    protocols::http::{ServerSession, v2::server::H2Options},
    server::ShutdownWatch,
};
use policies::Refusal;

use super::{
    GRACE,
    cut::{self, Until},
};
use crate::answer;

/// An application whose requests can be cut off.
///
/// It costs each request a few nanoseconds each time it is polled; there is no other place from which a request can be
/// reached that waits for its backend alone.
pub(crate) struct Cancellable<A>(Arc<A>);

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
        && let Some((guard, why)) = cut::dropped()
        && let Some(session) = guard.given_back().filter(|session| !answer::is_begun(session))
    {
        // Boxed, so that other requests do not carry room for it.
        Box::pin(tell(session, &why)).await;
    }
    done
}

async fn tell(mut session: ServerSession, why: &Refusal) {
    if let Ok(Err(error)) = tokio::time::timeout(GRACE, answer::say_last(&mut session, why)).await {
        tracing::debug!(%error, "the client left before it could be told");
    }
}
