//! The other direction of a guarded connection: what Pingora answers, gathered into as few writes as can be.

use std::{
    io::{self, ErrorKind},
    pin::Pin,
    sync::atomic::Ordering,
    task::{Context, Poll, Waker, ready},
};

use tokio::io::AsyncWrite;

use super::{
    farewell::Farewell,
    guarded::{Guarded, Protocol},
    http1::Awaited,
};
use crate::{metrics::Unheard, streams::cut};

/// Bytes of an answer that are gathered; a head with a small body.
const GATHERED: usize = 4096;

impl AsyncWrite for Guarded {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let is_http2 = this.is_http2();
        if let Some(farewell) = &mut this.farewell {
            // h2 would end the connection at once, with the client's bytes unread; so it waits until all is said. If what it writes were
            // taken meanwhile, it would ask servers for more of it.
            if is_http2 {
                ready!(farewell.poll(&mut this.transport, cx))?;
            }
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        this.wrote_to_half_closed();
        if this.gathers() && this.gathered.len() + bytes.len() <= GATHERED {
            this.sees_written(bytes);
            this.gathered.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        ready!(this.send_gathered(cx))?;
        match Pin::new(&mut this.transport).poll_write(cx, bytes) {
            Poll::Pending => this.wait_for_reader(cx).map(Err),
            written @ Poll::Ready(_) => {
                if let Poll::Ready(Ok(written)) = &written {
                    this.sees_written(&bytes[..*written]);
                    this.writing.end();
                }
                written
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.waits_for_more() {
            return Poll::Ready(Ok(()));
        }
        ready!(this.give_way(cx));
        ready!(this.send_gathered(cx))?;
        match Pin::new(&mut this.transport).poll_flush(cx) {
            Poll::Pending => this.wait_for_reader(cx).map(Err),
            ready @ Poll::Ready(_) => ready,
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.send_gathered(cx))?;
        if this.farewell.is_none() && this.is_owed_a_body() {
            // It has not read yet what it was told.
            this.farewell = Some(Box::new(Farewell::of_silence()));
        }
        if let Some(farewell) = &mut this.farewell {
            return farewell.poll(&mut this.transport, cx);
        }
        // TLS has a last word too.
        match Pin::new(&mut this.transport).poll_shutdown(cx) {
            Poll::Pending => this.wait_for_reader(cx).map(Err),
            ready @ Poll::Ready(_) => ready,
        }
    }
}

impl Guarded {
    /// Pingora writes the head of an answer and its body one after the other, and then flushes: together they are one write to
    /// the kernel. HTTP/2 gathers its frames itself; a tunnel waits for nothing.
    fn gathers(&self) -> bool {
        matches!(&self.speaks, Protocol::Http1(http1) if !http1.is_tunnel())
    }

    /// Pingora flushes the head of an answer of unknown length by itself. Mostly the first of its body has come with it and is written next:
    /// then both leave together, one write and one turn earlier. Where it has not, Pingora listens to the client, and the head leaves then.
    fn waits_for_more(&mut self) -> bool {
        let Protocol::Http1(http1) = &mut self.speaks else { return false };
        !self.gathered.is_empty() && http1.may_wait_for_more()
    }

    /// Does the client of an HTTP/1 connection still send a body?
    fn is_owed_a_body(&self) -> bool {
        matches!(&self.speaks, Protocol::Http1(http1) if http1.awaits() == Awaited::Body)
    }

    fn sees_written(&mut self, bytes: &[u8]) {
        match &mut self.speaks {
            Protocol::Http1(http1) => {
                http1.sees_written(bytes);
                self.digests.has_begun.store(http1.has_begun(), Ordering::Relaxed);
            }
            Protocol::Http2(http2) => {
                http2.sees_farewell(bytes);
                http2.sent.follow(bytes);
                self.digests.room.set(http2.sent.allowed() > http2.frames.data());
            }
        }
    }

    /// Lets what has come meanwhile be worked on before an answer is sent, so that answers leave one right after the other: a
    /// client that the first one wakes is awake for the second (docs/performance.md).
    fn give_way(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.gave_way = !self.gave_way && !self.gathered.is_empty();
        if !self.gave_way {
            return Poll::Ready(());
        }
        // Not `yield_now`, which would wake the task a second time if whoever brought the answer has woken it already.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    pub(super) fn send_gathered(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.gathered.is_empty() {
            match Pin::new(&mut self.transport).poll_write(cx, &self.gathered) {
                Poll::Pending => return self.wait_for_reader(cx).map(Err),
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                Poll::Ready(written) => {
                    self.gathered.drain(..written?);
                    self.writing.end();
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// What has been answered when an upstream breaks off is sent, although nobody is left to flush it.
impl Drop for Guarded {
    fn drop(&mut self) {
        if !self.gathered.is_empty() {
            let cx = &mut Context::from_waker(Waker::noop());
            // As much as can be taken at once; who takes nothing would not be waited for.
            let _ = Pin::new(&mut self.transport).poll_write(cx, &self.gathered);
            let _ = Pin::new(&mut self.transport).poll_flush(cx);
        }
    }
}

impl Guarded {
    /// The client takes nothing: for how long may it?
    fn wait_for_reader(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if cut::is_over() {
            return Poll::Ready(ErrorKind::TimedOut.into());
        }
        cut::excuse();
        ready!(self.writing.poll(Awaited::Nothing, self.patience.write, u64::MAX, cx));
        self.metrics.unheard(Unheard::SlowReader);
        Poll::Ready(io::Error::new(ErrorKind::TimedOut, "the client takes nothing of its answer"))
    }
}
