//! A client's connection as Pingora sees it: only bytes that have been judged, and never for longer than is allowed.
//!
//! [`Http1`] and [`super::frames`] judge; this file reads (`writing` writes, `waiting` keeps the deadlines, `followed` heeds what frames
//! mean), and answers what is refused before there is a request that Pingora knows of.

use std::{
    io::{self, ErrorKind},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::{Buf, BytesMut};
use pingora::protocols::{SocketDigest, raw_connect::ProxyDigest, tls::SslDigest};
use policies::Refusal;
use tokio::{
    io::{AsyncRead, AsyncReadExt, ReadBuf},
    sync::watch,
};
use tokio_util::io::poll_read_buf;

use super::{
    deadline::Deadline,
    farewell::Farewell,
    fault::Unreadable,
    followed::Http2,
    frames::PREFACE,
    http1::{Http1, Misread},
    room::Room,
    transport::Transport,
};
use crate::{metrics::ConnectionMetrics, streams::cut};

/// What a client may take its time for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// From the first byte of a head, or from the connection's beginning, to the head's end.
    pub(crate) header: Duration,
    /// Bytes of a body in each ten seconds of waiting; 0: no such demand.
    pub(crate) body_rate: u64,
    /// How long the client may take nothing of what is sent to it.
    pub(crate) write: Duration,
}

/// Bytes that wait for their turn, beside a head: pipelined requests, or a WebSocket's first frames before the 101.
const EARLY: usize = 32 * 1024;

/// The connection.
pub(crate) struct Guarded {
    pub(super) transport: Transport,
    pub(super) speaks: Protocol,
    /// Bytes read and not passed on yet; those before `judged` may be.
    pub(super) stash: BytesMut,
    judged: usize,
    most_stashed: usize,
    /// Set between two requests.
    next_request: AtomicBool,
    /// Has nothing of the next request come?
    pub(super) is_idle: bool,
    /// Boxed, as what is wrong with a body: few connections have one, and all are polled.
    pub(super) farewell: Option<Box<Farewell>>,
    pub(super) is_half_closed: bool,
    /// What is wrong with the body that is being read.
    unreadable: Option<Box<Refusal>>,
    /// What is written when Pingora flushes.
    pub(super) gathered: Vec<u8>,
    /// Has it let others go first?
    pub(super) gave_way: bool,
    pub(super) patience: Patience,
    pub(super) reading: Deadline,
    pub(super) writing: Deadline,
    began: Instant,
    pub(super) digests: Digests,
    pub(super) most_streams: u32,
    /// Tells whoever serves the connection that it has been used enough.
    pub(super) retire: watch::Sender<bool>,
    pub(super) metrics: ConnectionMetrics,
}

/// What is spoken.
pub(super) enum Protocol {
    Http1(Http1),
    /// Boxed, since it is the larger one of the two.
    Http2(Box<Http2>),
}

/// What Pingora and later steps are told of the connection.
pub(crate) struct Digests {
    pub(crate) socket: Arc<SocketDigest>,
    pub(crate) tls: Option<Arc<SslDigest>>,
    /// Carries our own facts; Pingora has no other place for them.
    pub(crate) facts: Arc<ProxyDigest>,
    pub(crate) room: Arc<Room>,
    pub(crate) has_begun: Arc<AtomicBool>,
}

// === impl Guarded ===

impl Guarded {
    /// A connection whose first bytes say what it speaks; an error if the client leaves, or sends nothing in time.
    pub(crate) async fn begin(
        mut transport: Transport,
        digests: Digests,
        limits: &super::Limits,
        metrics: &ConnectionMetrics,
    ) -> io::Result<Self> {
        let (began, mut stash) = (Instant::now(), BytesMut::new());
        let is_http2 = if let Some(alpn) = transport.alpn() {
            alpn == b"h2"
        } else {
            let first = first_bytes(&mut transport, &mut stash);
            tokio::time::timeout(limits.patience.header, first).await??
        };
        let speaks = if is_http2 {
            Protocol::Http2(Box::new(Http2::new(limits.frames)))
        } else {
            Protocol::Http1(Http1::new(limits.head))
        };
        Ok(Self {
            transport,
            speaks,
            stash,
            judged: 0,
            most_stashed: limits.head.bytes + EARLY,
            next_request: AtomicBool::new(false),
            is_idle: false,
            farewell: None,
            is_half_closed: false,
            unreadable: None,
            gathered: Vec::new(),
            gave_way: false,
            patience: limits.patience,
            reading: Deadline::since(began, limits.patience.header),
            writing: Deadline::default(),
            began,
            digests,
            most_streams: limits.requests,
            retire: watch::Sender::new(false),
            metrics: metrics.clone(),
        })
    }

    pub(crate) fn is_http2(&self) -> bool {
        matches!(self.speaks, Protocol::Http2(..))
    }

    /// Becomes true when the connection has been used enough.
    pub(crate) fn retire(&self) -> watch::Sender<bool> {
        self.retire.clone()
    }

    /// The answer is complete: what comes next is a request.
    pub(crate) fn expect_request(&self) {
        self.next_request.store(true, Ordering::Relaxed);
    }

    /// Judges what is stashed.
    fn judge_stash(&mut self) -> io::Result<()> {
        if let Protocol::Http1(http1) = &mut self.speaks {
            let skipped = http1.skip(&self.stash);
            self.forget(skipped);
            if skipped > 0 && self.stash.is_empty() {
                // Nothing of a request has come.
                self.reading.end();
            }
        }
        let fresh = &self.stash[self.judged..];
        match &mut self.speaks {
            Protocol::Http2(http2) => {
                let verdict = http2.frames.read(fresh, http2.limits, self.began.elapsed());
                self.judged = self.stash.len();
                self.heed(verdict)?;
            }
            Protocol::Http1(http1) => match http1.judge(fresh) {
                Ok(passed) => self.judged += passed,
                Err(misread) => {
                    self.judged += misread.passed;
                    self.misread(misread);
                }
            },
        }
        Ok(())
    }

    /// What is wrong in a body is for whoever reads that body to answer, after what came before it; a head that is wrong nobody
    /// else will see.
    fn misread(&mut self, misread: Misread) {
        if misread.in_body {
            self.metrics.unread(&misread.refusal);
            self.unreadable = Some(Box::new(misread.refusal));
        } else {
            self.refuse(&misread.refusal);
        }
    }

    pub(super) fn client(&self) -> Option<String> {
        self.digests.socket.peer_addr()?.as_inet().map(|client| client.ip().to_string())
    }

    /// From here on there is only the refusal to be sent.
    pub(super) fn refuse(&mut self, refusal: &Refusal) {
        self.metrics.unread(refusal);
        tracing::info!(client = self.client(), code = refusal.code(), "a request was refused unread");
        let is_for_head = matches!(&self.speaks, Protocol::Http1(http1) if http1.is_for_head());
        self.farewell = Some(Box::new(Farewell::of(refusal, is_for_head)));
    }

    /// Passes on what has been judged.
    fn pass(&mut self, into: &mut ReadBuf<'_>) {
        let passed = self.judged.min(into.remaining());
        into.put_slice(&self.stash[..passed]);
        self.judged -= passed;
        self.forget(passed);
    }

    fn forget(&mut self, bytes: usize) {
        self.stash.advance(bytes);
        if self.stash.is_empty() {
            // An idle connection holds no memory for what it may send one day.
            self.stash = BytesMut::new();
        }
    }

    /// Reads straight into Pingora's buffer, and takes back what it may not see yet.
    fn read_through(&mut self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.transport).poll_read(cx, into))?;
        let came = into.filled().len() - before;
        self.reading.came(came);
        if came == 0 {
            return Poll::Ready(Ok(()));
        }
        match &mut self.speaks {
            Protocol::Http2(http2) => {
                let verdict = http2.frames.read(&into.filled()[before..], http2.limits, self.began.elapsed());
                if verdict.is_err() {
                    into.set_filled(before);
                }
                self.heed(verdict)?;
            }
            Protocol::Http1(http1) if http1.may_skip(&into.filled()[before..]) => self.take_back(into, before),
            // Most requests come in one piece and stay where they are.
            Protocol::Http1(http1) => match http1.judge(&into.filled()[before..]) {
                Ok(passed) => self.take_back(into, before + passed),
                Err(misread) => {
                    into.set_filled(before + misread.passed);
                    self.misread(misread);
                }
            },
        }
        Poll::Ready(Ok(()))
    }

    fn take_back(&mut self, into: &mut ReadBuf<'_>, from: usize) {
        if into.filled().len() > from {
            self.stash.extend_from_slice(&into.filled()[from..]);
            into.set_filled(from);
        }
    }

    /// Reads on while nothing may be passed: the rest of a head, or bytes before their turn.
    fn read_on(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.stash.len() >= self.most_stashed {
            // The client waits until we come to it; its answer will wake us.
            return Poll::Pending;
        }
        self.stash.reserve(4096);
        let came = ready!(poll_read_buf(Pin::new(&mut self.transport), cx, &mut self.stash))?;
        self.reading.came(came);
        Poll::Ready(Ok(came))
    }

    fn poll_judged(&mut self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            if let Some(farewell) = &mut self.farewell {
                return farewell.poll(&mut self.transport, cx);
            }
            if self.judged > 0 {
                self.pass(into);
                return Poll::Ready(Ok(()));
            }
            if let Some(refusal) = &self.unreadable {
                return Poll::Ready(Err(io::Error::new(ErrorKind::InvalidData, Unreadable(Refusal::clone(refusal)))));
            }
            if !self.stash.is_empty() {
                self.judge_stash()?;
                if self.judged > 0 || self.unreadable.is_some() || self.farewell.is_some() {
                    continue;
                }
            }
            if self.stash.is_empty() {
                let before = into.filled().len();
                ready!(self.read_through(cx, into))?;
                let is_end = self.stash.is_empty() && self.farewell.is_none() && self.unreadable.is_none();
                if into.filled().len() > before || is_end {
                    return Poll::Ready(Ok(()));
                }
            } else if ready!(self.read_on(cx))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

/// Reads until it is known whether HTTP/2 is spoken without asking (RFC 9113 §3.3).
async fn first_bytes(transport: &mut Transport, stash: &mut BytesMut) -> io::Result<bool> {
    while stash.len() < PREFACE.len() && PREFACE.starts_with(stash) {
        stash.reserve(1024);
        if transport.read_buf(stash).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(stash.starts_with(PREFACE))
}

impl AsyncRead for Guarded {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if *this.next_request.get_mut() {
            *this.next_request.get_mut() = false;
            if let Protocol::Http1(http1) = &mut this.speaks {
                this.reading.end();
                this.digests.has_begun.store(false, Ordering::Relaxed);
                if !http1.next_request(!this.stash.is_empty()) {
                    return Poll::Ready(Ok(()));
                }
            }
        }
        let before = into.filled().len();
        let judged = match this.poll_judged(cx, into) {
            Poll::Ready(Ok(())) if into.filled().len() == before => this.no_more(cx),
            judged => judged,
        };
        if this.is_idle && (judged.is_ready() || !this.stash.is_empty()) {
            this.is_idle = false;
            cut::request_begun();
        }
        if judged.is_pending() {
            cut::await_client();
            // Whoever waits for the client has nothing more to say for now: what is gathered waits for nothing.
            if !this.gathered.is_empty()
                && let Poll::Ready(Err(error)) = this.send_gathered(cx)
            {
                return Poll::Ready(Err(error));
            }
        }
        match judged {
            // An idle connection is closed without a word.
            Poll::Pending if this.is_idle && cut::is_over() => Poll::Ready(Ok(())),
            // Whoever waits for the client hears it so, and can still answer.
            Poll::Pending if cut::is_over() => Poll::Ready(Err(ErrorKind::TimedOut.into())),
            Poll::Pending if this.farewell.is_none() && !this.is_half_closed => this.wait(cx),
            poll => {
                this.reading.pause();
                poll
            }
        }
    }
}
