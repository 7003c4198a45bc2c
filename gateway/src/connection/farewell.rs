//! The last words to a client whose request was refused before Pingora knew of it: a problem (RFC 9457), then the end. To one that
//! floods HTTP/2: why (RFC 9113 §6.8). And to one that was answered before it had sent its body: none.
//!
//! After the answer we listen for a moment: closing while bytes of the client are unread makes the kernel reset the connection,
//! and the answer is lost (RFC 9112 §9.6).

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use policies::{Problem, Refusal};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

use super::transport::Transport;

/// How long a farewell may take, and what the client may still send meanwhile.
const LONGEST: Duration = Duration::from_secs(2);
const MOST_IGNORED: usize = 16 * 1024 * 1024;

/// An answer on its way out.
pub(crate) struct Farewell {
    answer: Bytes,
    is_said: bool,
    ignored: usize,
    ends: Pin<Box<Sleep>>,
}

// === impl Farewell ===

impl Farewell {
    pub(crate) fn of(refusal: &Refusal, is_for_head: bool) -> Self {
        Self::saying(answer(refusal, is_for_head))
    }

    /// To whoever floods HTTP/2. Requests under way may have been worked on, whatever their number.
    pub(crate) fn of_flood() -> Self {
        Self::saying(Bytes::from_static(b"\0\0\x08\x07\0\0\0\0\0\x7f\xff\xff\xff\0\0\0\x0b"))
    }

    /// All has been said, but the client is still sending.
    pub(crate) fn of_silence() -> Self {
        Self::saying(Bytes::new())
    }

    fn saying(answer: Bytes) -> Self {
        Self { answer, is_said: false, ignored: 0, ends: Box::pin(tokio::time::sleep(LONGEST)) }
    }

    /// Ready, without any bytes read, when the connection may be dropped.
    pub(crate) fn poll(&mut self, transport: &mut Transport, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.ends.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        while !self.answer.is_empty() {
            let written = ready!(Pin::new(&mut *transport).poll_write(cx, &self.answer))?;
            self.answer.advance(written);
        }
        if !self.is_said {
            ready!(Pin::new(&mut *transport).poll_flush(cx))?;
            ready!(Pin::new(&mut *transport).poll_shutdown(cx))?;
            self.is_said = true;
        }
        let mut ignored = [0; 4096];
        while self.ignored < MOST_IGNORED {
            let mut into = ReadBuf::new(&mut ignored);
            ready!(Pin::new(&mut *transport).poll_read(cx, &mut into))?;
            match into.filled().len() {
                0 => break,
                came => self.ignored += came,
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Whoever asks for a head is told how long the body is that does not follow (RFC 9110 §9.3.2).
fn answer(refusal: &Refusal, is_for_head: bool) -> Bytes {
    let status = http::StatusCode::from_u16(refusal.status()).unwrap_or(http::StatusCode::BAD_REQUEST);
    let body = serde_json::to_string(&Problem::from(refusal)).unwrap_or_default();
    let retry_after = refusal.retry_after().map_or_else(String::new, |seconds| format!("Retry-After: {seconds}\r\n"));
    format!(
        "HTTP/1.1 {} {}\r\nContent-Type: application/problem+json\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\n{retry_after}Connection: close\r\n\r\n{}",
        status.as_u16(),
        status.canonical_reason().unwrap_or_default(),
        body.len(),
        if is_for_head { "" } else { body.as_str() },
    )
    .into()
}
