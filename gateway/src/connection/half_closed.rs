//! A client that says no more, though it is owed an answer: many shut down their half of the connection once they have asked
//! (RFC 9112 §9.6), and Pingora would take that for leaving.
//!
//! One who has left for good looks the same until something is sent to it. So an answer goes on, but silence ends.

use std::{
    io,
    task::{Context, Poll, ready},
    time::Duration,
};

use super::{
    guarded::{Guarded, Protocol},
    http1::Awaited,
};

/// How long such a client may wait for its answer, or for more of it.
const SILENCE: Duration = Duration::from_secs(10);

impl Guarded {
    /// Nothing comes from the client any more. Ready when it may be taken to have left.
    pub(super) fn no_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.farewell.is_none() && matches!(&self.speaks, Protocol::Http1(http1) if http1.is_owed()) {
            self.is_half_closed = true;
            ready!(self.reading.poll(Awaited::Nothing, SILENCE, u64::MAX, cx));
        }
        Poll::Ready(Ok(()))
    }

    /// Something is sent: if the client has left, that will show.
    pub(super) fn wrote_to_half_closed(&mut self) {
        if self.is_half_closed {
            self.reading.end();
        }
    }
}
