//! A guarded connection of HTTP/2: what is followed of it, and what follows from the frames that have come.

use std::{
    io::{self, ErrorKind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
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
    /// For whoever serves the connection: what h2 ends, it says no more of than that it was too much.
    is_resetting: Arc<AtomicBool>,
}

// === impl Http2 ===

impl Http2 {
    /// A connection of which nothing has come yet.
    pub(super) fn new(limits: FrameLimits) -> Self {
        Self { frames: Frames::default(), limits, sent: Sent::default(), is_resetting: Arc::default() }
    }
}

impl Guarded {
    /// True while the client rather resets streams than sends what carries nothing otherwise.
    pub(super) fn is_resetting(&self) -> Arc<AtomicBool> {
        match &self.speaks {
            Protocol::Http1(_) => Arc::default(),
            Protocol::Http2(http2) => Arc::clone(&http2.is_resetting),
        }
    }

    /// What follows from the frames that have come.
    pub(super) fn heed(&mut self, verdict: Result<(), Flood>) -> io::Result<()> {
        let Protocol::Http2(http2) = &self.speaks else { return Ok(()) };
        let Http2 { frames, sent, is_resetting, .. } = &**http2;
        self.digests.room.set(sent.allowed() > frames.data());
        is_resetting.store(frames.is_resetting(), Ordering::Relaxed);
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
