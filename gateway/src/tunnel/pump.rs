//! Bytes both ways between two connections, until both have ended, one broke, nothing moved for too long, or we end it.
//!
//! Each direction goes on by itself and holds no more than it has read at once: what cannot be written is kept, and until it
//! is gone nothing more is read. So a slow reader holds back its own writer and nobody else, and a silent tunnel holds no
//! buffer at all.

use std::{
    future::{Future, poll_fn},
    io,
    mem::MaybeUninit,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use pingora::protocols::Stream;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    time::{Instant, sleep_until, timeout},
};

use super::frames::{Ending, Frames};

/// Bytes read at once.
const CHUNK: usize = 16 * 1024;
/// How long the rest of a frame may take to arrive, and how long either side may take to hear that it is over.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// How long we wait for the other end to close first, so that it reads our last frame and not a reset.
const LINGER: Duration = Duration::from_secs(1);

/// What a client hears when a tunnel was silent for too long.
const SILENT: Ending = Ending { code: 1001, reason: "idle" };
/// What a backend hears when we end a tunnel.
const AWAY: Ending = Ending { code: 1001, reason: "" };

/// A client and a backend, connected.
pub(super) struct Pump {
    pub(super) client: Stream,
    server: Stream,
    down: Lane,
    up: Lane,
}

/// One direction.
struct Lane {
    /// Read and not yet written.
    kept: Bytes,
    frames: Frames,
    carried: u64,
    has_moved: bool,
    is_flushed: bool,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The reading side has ended; the writing side is to be told.
    Ended,
    Closed,
}

// === impl Pump ===

impl Pump {
    /// `early` is what either side had sent before its connection was ours to read.
    pub(super) fn new((client, from_client): (Stream, Bytes), (server, from_server): (Stream, Bytes)) -> Self {
        Self { client, server, down: Lane::beginning_with(from_server), up: Lane::beginning_with(from_client) }
    }

    /// Carries until the end. Says how it was ended, if by us.
    pub(super) async fn run(&mut self, idle: Duration, told: impl Future<Output = Ending>) -> Option<Ending> {
        let mut told = pin!(told);
        let mut silence = pin!(sleep_until(Instant::now() + idle));
        let ending = loop {
            tokio::select! {
                biased;
                ending = &mut told => break Some(ending),
                () = poll_fn(|cx| self.poll(cx)) => break None,
                () = &mut silence => {
                    if !self.has_moved() {
                        break Some(SILENT);
                    }
                    silence.as_mut().reset(Instant::now() + idle);
                }
            }
        };
        if let Some(ending) = ending {
            self.end(ending).await;
        }
        ending
    }

    /// Bytes to the client.
    pub(super) fn sent(&self) -> u64 {
        self.down.carried
    }

    /// Bytes from the client.
    pub(super) fn received(&self) -> u64 {
        self.up.carried
    }

    /// Ready when both directions have ended, or one cannot go on.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let down = self.down.poll(cx, &mut self.server, &mut self.client);
        let up = self.up.poll(cx, &mut self.client, &mut self.server);
        match (down, up) {
            (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) | (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => {
                Poll::Ready(())
            }
            _ => Poll::Pending,
        }
    }

    /// Has anything moved since this was last asked?
    fn has_moved(&mut self) -> bool {
        std::mem::take(&mut self.down.has_moved) | std::mem::take(&mut self.up.has_moved)
    }

    /// Says Close to both sides, where a frame may begin, and lets go. Either may already be gone.
    async fn end(&mut self, ending: Ending) {
        let words = ending.to_client();
        let _ = timeout(LAST_WORDS, self.down.finish(&mut self.server, &mut self.client, &words)).await;
        if self.up.frames.is_between() {
            let words = AWAY.to_server(fastrand::u32(..).to_be_bytes());
            let _ = timeout(LAST_WORDS, self.up.flush_with(&mut self.server, &words)).await;
        }
        // The backend's side is over within the two seconds of a revocation, however long the client lingers.
        let _ = timeout(LAST_WORDS, AsyncWriteExt::shutdown(&mut self.server)).await;
        let _ = timeout(LINGER, async {
            AsyncWriteExt::shutdown(&mut self.client).await?;
            let mut ignored = [0; 1024];
            while self.client.read(&mut ignored).await? > 0 {}
            io::Result::Ok(())
        })
        .await;
    }
}

// === impl Lane ===

impl Lane {
    fn beginning_with(early: Bytes) -> Self {
        let mut frames = Frames::default();
        frames.advance(&early);
        let carried = early.len() as u64;
        Self { kept: early, frames, carried, has_moved: false, is_flushed: true, state: State::Open }
    }

    /// Moves what can be moved. Ready when this direction has ended.
    fn poll(&mut self, cx: &mut Context<'_>, from: &mut Stream, to: &mut Stream) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_write_kept(cx, to))?;
            match self.state {
                State::Closed => return Poll::Ready(Ok(())),
                State::Ended => {
                    ready!(Pin::new(&mut *to).poll_flush(cx))?;
                    ready!(AsyncWrite::poll_shutdown(Pin::new(&mut *to), cx))?;
                    self.state = State::Closed;
                }
                State::Open => match self.poll_read(cx, from, to) {
                    Poll::Ready(moved) => moved?,
                    Poll::Pending => {
                        if !self.is_flushed {
                            ready!(Pin::new(&mut *to).poll_flush(cx))?;
                            self.is_flushed = true;
                        }
                        return Poll::Pending;
                    }
                },
            }
        }
    }

    /// Reads once and hands on at once what the other side takes; only the rest is kept.
    fn poll_read(&mut self, cx: &mut Context<'_>, from: &mut Stream, to: &mut Stream) -> Poll<io::Result<()>> {
        let mut space = [const { MaybeUninit::<u8>::uninit() }; CHUNK];
        let mut buffer = ReadBuf::uninit(&mut space);
        ready!(AsyncRead::poll_read(Pin::new(from), cx, &mut buffer))?;
        let read = buffer.filled();
        if read.is_empty() {
            self.state = State::Ended;
            return Poll::Ready(Ok(()));
        }
        self.has_moved = true;
        self.carried += read.len() as u64;
        self.frames.advance(read);
        let written = match AsyncWrite::poll_write(Pin::new(to), cx, read) {
            Poll::Ready(written) => written?,
            Poll::Pending => 0,
        };
        self.is_flushed = false;
        self.kept = Bytes::copy_from_slice(&read[written..]);
        Poll::Ready(Ok(()))
    }

    fn poll_write_kept(&mut self, cx: &mut Context<'_>, to: &mut Stream) -> Poll<io::Result<()>> {
        while !self.kept.is_empty() {
            let written = ready!(AsyncWrite::poll_write(Pin::new(&mut *to), cx, &self.kept))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.kept.advance(written);
            self.has_moved = true;
            self.is_flushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Carries the frame that has begun to its end, and writes `words` after it.
    async fn finish(&mut self, from: &mut Stream, to: &mut Stream, words: &[u8]) -> io::Result<()> {
        self.flush_with(to, b"").await?;
        let mut buffer = [0; 1024];
        while !self.frames.is_between() {
            let read = from.read(&mut buffer).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let whole = self.frames.step(&buffer[..read]);
            to.write_all(&buffer[..whole]).await?;
            self.carried += whole as u64;
        }
        // Whoever has said Close says nothing more.
        self.flush_with(to, if self.frames.is_closed() { b"" } else { words }).await
    }

    async fn flush_with(&mut self, to: &mut Stream, words: &[u8]) -> io::Result<()> {
        to.write_all_buf(&mut self.kept).await?;
        to.write_all(words).await?;
        to.flush().await
    }
}
