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

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, net::Ipv4Addr, os::fd::AsRawFd, sync::Arc, time::Duration};

    use pingora::protocols::SocketDigest;
    use tokio::{
        io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf},
        net::{TcpListener, TcpStream},
    };

    use super::*;
    use crate::{
        connection::{
            Facts, Limits, Patience, frames::FrameLimits, gate::Gate, guarded::Digests, head::HeadLimits,
            transport::Transport,
        },
        metrics::Metrics,
    };

    const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    const POST: &[u8] = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi";
    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    const CHUNK: &[u8] = b"2\r\nok\r\n";

    /// A connection whose request has been read, and its client.
    async fn asked(request: &[u8]) -> (Guarded, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let mut client = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("a connection");
        let (stream, _) = listener.accept().await.expect("a connection");
        client.write_all(request).await.expect("a request");
        let patience = Patience { header: Duration::from_mins(1), body_rate: 0, write: Duration::from_mins(1) };
        let head = HeadLimits { bytes: 4096, fields: 16 };
        let limits =
            Limits { head, frames: FrameLimits { resets: 1, control: 1 }, patience, requests: 100, streams: 1 };
        let (room, has_begun) = (Arc::default(), Arc::default());
        let address = Gate::new(1, 1).enter().expect("room").count_for(Ipv4Addr::LOCALHOST.into());
        let facts = Facts {
            client_certificate: None,
            is_of_stranger: false,
            address: address.expect("room"),
            room: Arc::clone(&room),
            has_begun: Arc::clone(&has_begun),
        };
        let socket = Arc::new(SocketDigest::from_raw_fd(stream.as_raw_fd()));
        let digests = Digests { socket, tls: None, facts: Arc::new(facts.into_digest()), room, has_begun };
        let metrics = Metrics::new().expect("metrics").connections;
        let guarded = Guarded::begin(Transport::Plain(stream), digests, &limits, &metrics).await;
        let (mut guarded, mut read) = (guarded.expect("a connection"), vec![0; request.len()]);
        guarded.read_exact(&mut read).await.expect("a request");
        assert_eq!(read, request);
        (guarded, client)
    }

    async fn answer(guarded: &mut Guarded, bytes: &[u8]) {
        guarded.write_all(bytes).await.expect("an answer");
        guarded.flush().await.expect("an answer");
    }

    /// The next bytes of the answer; as many as are `expected`.
    async fn assert_received(client: &mut TcpStream, expected: &[u8]) {
        let mut received = vec![0; expected.len()];
        client.read_exact(&mut received).await.expect("an answer");
        assert_eq!(received, expected);
    }

    #[tokio::test]
    async fn a_head_of_unknown_length_leaves_with_its_first_chunk() {
        let (mut guarded, mut client) = asked(GET).await;
        answer(&mut guarded, HEAD).await;
        assert_eq!(guarded.gathered, HEAD, "it waits");
        answer(&mut guarded, CHUNK).await;
        assert!(guarded.gathered.is_empty());
        assert_received(&mut client, &[HEAD, CHUNK].concat()).await;
    }

    #[tokio::test]
    async fn a_head_that_nothing_follows_leaves_when_the_client_is_listened_to_or_is_flushed_again() {
        let (mut guarded, mut client) = asked(GET).await;
        answer(&mut guarded, HEAD).await;
        let mut room = [0; 16];
        let mut into = ReadBuf::new(&mut room);
        let is_silent = poll_fn(|cx| Poll::Ready(Pin::new(&mut guarded).poll_read(cx, &mut into).is_pending())).await;
        assert!(is_silent && guarded.gathered.is_empty());
        assert_received(&mut client, HEAD).await;
        let (mut guarded, mut client) = asked(GET).await;
        answer(&mut guarded, HEAD).await;
        guarded.flush().await.expect("an answer");
        assert!(guarded.gathered.is_empty());
        assert_received(&mut client, HEAD).await;
    }

    #[tokio::test]
    async fn a_head_whose_request_had_a_body_waits_for_nothing() {
        let (mut guarded, mut client) = asked(POST).await;
        answer(&mut guarded, HEAD).await;
        assert!(guarded.gathered.is_empty());
        assert_received(&mut client, HEAD).await;
    }
}
