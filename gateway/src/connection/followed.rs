//! A guarded connection of HTTP/2: what is followed of it, and what follows from the frames that have come.

use std::{
    io::{self, ErrorKind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use super::{
    farewell::Farewell,
    frames::{Flood, FrameLimits, Frames},
    guarded::{Guarded, Protocol},
    room::Sent,
};
use crate::metrics::Unheard;

/// What is followed of a connection of HTTP/2.
pub(super) struct Http2 {
    pub(super) frames: Frames,
    pub(super) limits: FrameLimits,
    pub(super) sent: Sent,
    ending: Arc<Ending>,
}

/// What h2 does not tell whoever serves a connection of why it has ended it.
#[derive(Default)]
pub(super) struct Ending {
    /// Does the client rather reset streams than send what carries nothing otherwise? Of what was too much h2 says only that it was.
    pub(super) is_resetting: AtomicBool,
    /// Why the client was sent away (RFC 9113 §7), 0 (`NO_ERROR`) if it was not: where the client has given a reason to go itself, h2 tells
    /// of that one alone.
    pub(super) why: AtomicU32,
}

// === impl Http2 ===

impl Http2 {
    /// A connection of which nothing has come yet.
    pub(super) fn new(limits: FrameLimits) -> Self {
        Self { frames: Frames::default(), limits, sent: Sent::default(), ending: Arc::default() }
    }

    /// Notes why `bytes`, which are what follows, send the client away, if they do.
    ///
    /// Out of line: HTTP/1 passes by where this is called, and is built by counts of what is there (docs/decisions/0017).
    #[inline(never)]
    pub(super) fn sees_farewell(&self, bytes: &[u8]) {
        if let Some(why) = self.sent.goaway_in(bytes) {
            self.ending.why.store(why, Ordering::Relaxed);
        }
    }
}

impl Guarded {
    /// What there is to know when h2 ends the connection, as it is followed.
    pub(super) fn ending(&self) -> Arc<Ending> {
        match &self.speaks {
            Protocol::Http1(_) => Arc::default(),
            Protocol::Http2(http2) => Arc::clone(&http2.ending),
        }
    }

    /// What follows from the frames that have come.
    pub(super) fn heed(&mut self, verdict: Result<(), Flood>) -> io::Result<()> {
        let Protocol::Http2(http2) = &self.speaks else { return Ok(()) };
        let Http2 { frames, sent, ending, .. } = &**http2;
        self.digests.room.set(sent.allowed() > frames.data());
        ending.is_resetting.store(frames.is_resetting(), Ordering::Relaxed);
        // A client that has opened as many streams as one connection may is told to make another one (GOAWAY).
        if frames.opened() >= self.most_streams && !*self.retire.borrow() {
            self.metrics.had_most_requests.inc();
            // Nobody listens when the connection is ending already.
            let _ = self.retire.send(true);
        }
        let Err(flood) = verdict else { return Ok(()) };
        self.metrics.unheard(match flood {
            Flood::Resets => Unheard::Http2Resets,
            Flood::Control => Unheard::Http2Control,
        });
        tracing::info!(client = self.client(), ?flood, "an HTTP/2 connection was ended");
        if !sent.is_between_frames() {
            return Err(io::Error::new(ErrorKind::ConnectionAborted, "too many HTTP/2 frames that carry nothing"));
        }
        self.farewell = Some(Box::new(Farewell::of_flood()));
        Ok(())
    }
}
