//! The last resort: a request that does not hear that it is over is cut off.
//!
//! A [`super::guard`] is heard whenever Pingora waits for the client. While it waits for nothing but a backend that takes no
//! more of an upload, it is not; then the whole request is dropped: its connection is closed, or its stream of HTTP/2 reset.

use std::{
    cell::RefCell,
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
use tokio::sync::oneshot;

tokio::task_local! {
    /// Where the request that runs here hears that it is cut off, if it can be.
    static CUT: RefCell<Option<oneshot::Receiver<()>>>;
}

/// An application whose requests can be cut off.
///
/// It costs each request one small allocation and a few nanoseconds each time it is polled; there is no other place from
/// which a request can be reached that waits for its backend alone.
pub(crate) struct Cancellable<A>(Arc<A>);

/// Runs a request until it ends or is cut off.
struct Until<F>(F);

/// Lets the request that runs here be cut off.
pub(crate) fn handle() -> Option<oneshot::Sender<()>> {
    CUT.try_with(|slot| {
        let (cut, heard) = oneshot::channel();
        *slot.borrow_mut() = Some(heard);
        cut
    })
    .ok()
}

// === impl Until ===

impl<F: Future + Unpin> Future for Until<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // The request first: it may only now ask to be heard.
        if let Poll::Ready(done) = Pin::new(&mut self.0).poll(cx) {
            return Poll::Ready(Some(done));
        }
        let heard = CUT.with(|slot| {
            let mut slot = slot.borrow_mut();
            let Some(heard) = slot.as_mut() else { return Poll::Pending };
            let heard = ready!(Pin::new(heard).poll(cx));
            *slot = None;
            Poll::Ready(heard)
        });
        match heard {
            Poll::Ready(Ok(())) => Poll::Ready(None),
            // Nobody will cut it off any more.
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
        }
    }
}

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
        CUT.scope(RefCell::new(None), Until(self.0.process_new_http(session, shutdown))).await.flatten()
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
