//! For how long a client may keep us waiting: for a head, for a body, for its next request.

use std::{
    io::{self, ErrorKind},
    task::{Context, Poll, ready},
    time::Duration,
};

use policies::Refusal;

use super::{
    fault::TooSlow,
    guarded::{Guarded, Protocol},
    http1::Awaited,
};
use crate::{metrics::Unheard, streams::cut};

/// Over which time a body's speed is measured. Kestrel measures 240 bytes per second after 5 s of grace.
pub(crate) const BODY_WINDOW: Duration = Duration::from_secs(10);

/// Bytes of a body in each [`BODY_WINDOW`], at so many per second.
pub(crate) fn enough(rate: u64) -> u64 {
    rate.saturating_mul(BODY_WINDOW.as_secs())
}

impl Guarded {
    /// The client keeps us waiting: for how long may it?
    pub(super) fn wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let awaited = match &self.speaks {
            Protocol::Http1(http1) => match http1.awaits() {
                // Between two requests the client may be silent for as long as the last one's rules say.
                Awaited::Head if self.stash.is_empty() && !self.reading.is_running() => {
                    if !std::mem::replace(&mut self.is_idle, true) {
                        cut::await_request();
                    }
                    Awaited::Nothing
                }
                Awaited::Body if self.patience.body_rate == 0 => Awaited::Nothing,
                awaited => awaited,
            },
            Protocol::Http2(http2) if http2.frames.owes_head() => Awaited::Head,
            Protocol::Http2(..) => Awaited::Nothing,
        };
        let (within, enough) = match awaited {
            Awaited::Nothing => {
                self.reading.end();
                return Poll::Pending;
            }
            Awaited::Head => (self.patience.header, u64::MAX),
            Awaited::Body => (BODY_WINDOW, enough(self.patience.body_rate)),
        };
        ready!(self.reading.poll(awaited, within, enough, cx));
        match awaited {
            Awaited::Body => Poll::Ready(Err(io::Error::new(ErrorKind::TimedOut, TooSlow))),
            _ if self.is_http2() => {
                self.metrics.unread(&Refusal::RequestTimeout);
                Poll::Ready(Err(ErrorKind::TimedOut.into()))
            }
            Awaited::Nothing | Awaited::Head if self.stash.is_empty() => {
                self.metrics.unheard(Unheard::Idle);
                Poll::Ready(Ok(()))
            }
            Awaited::Nothing | Awaited::Head => {
                self.refuse(&Refusal::RequestTimeout);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}
