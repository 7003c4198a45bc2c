//! How fast the body of an HTTP/2 request has to come.
//!
//! On HTTP/1 the connection's guard sees to that (`connection::waiting`), since there is one body at a time. A connection of
//! HTTP/2 carries many, so each stream counts its own, and lets the alarm of its request ([`cut`]) ring: the client is heard when
//! it says nothing at all too. Only the time counts in which the client is waited for, and not the server that takes its body, nor other
//! streams that leave it no [`Room`].

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::cut;
use crate::connection::{self, BODY_WINDOW, Room};

/// What a client has to send, and has sent. Requests without a body ask nothing of it.
#[derive(Default)]
pub(crate) struct Pace {
    /// Bytes in each [`BODY_WINDOW`] of waiting; 0: as many as it likes.
    enough: u64,
    /// Bytes that have come since the window began.
    came: u64,
    /// When the window ends, once the client is waited for.
    until: Option<Instant>,
    /// Since when it is somebody else who makes us wait.
    paused: Option<Instant>,
    /// That of its connection, until whoever keeps the time is told.
    room: Option<Arc<Room>>,
}

// === impl Pace ===

impl Pace {
    /// So many bytes per second.
    pub(crate) fn of(rate: u64, room: Option<Arc<Room>>) -> Self {
        Self { enough: connection::enough(rate), room, ..Self::default() }
    }

    /// Does the client have to send anything in time?
    pub(super) fn is_set(&self) -> bool {
        self.enough > 0
    }

    /// The client is waited for, by whom a pace is kept.
    pub(super) fn wait(&mut self) {
        if let Some(room) = self.room.take() {
            cut::share(room);
        }
        cut::await_body(Some(self.wait_at(Instant::now())));
    }

    /// So many bytes of the body have come. What follows until the next [`Self::wait`] is not the client's time.
    pub(super) fn came(&mut self, bytes: usize) {
        self.came += bytes as u64;
        self.pause();
    }

    /// The client is not waited for until the next [`Self::wait`].
    pub(super) fn pause(&mut self) {
        // Whose time has passed is cut off if it does not hear it.
        if self.until.is_some() && self.paused.is_none() && !cut::is_over() {
            self.paused = Some(Instant::now());
            cut::await_body(None);
        }
    }

    /// When the client must have sent enough, if it is waited for now.
    fn wait_at(&mut self, now: Instant) -> Instant {
        let paused = self.paused.take().map_or(Duration::ZERO, |since| now - since);
        let until = match self.until {
            Some(until) if self.came < self.enough => until + paused,
            _ => {
                self.came = 0;
                now + BODY_WINDOW
            }
        };
        self.until = Some(until);
        until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_configured_is_a_number_of_bytes() {
        assert_eq!(Pace::of(u64::MAX / 2, None).enough, u64::MAX);
        assert!(!Pace::of(0, None).is_set());
    }

    #[test]
    fn only_enough_begins_a_new_window_and_only_the_client_s_time_counts() {
        let (mut pace, began) = (Pace::of(240, None), Instant::now());
        let after = |seconds| began + Duration::from_secs(seconds);
        assert_eq!(pace.wait_at(began), after(10));
        // Waited for again, and then with too little of it.
        assert_eq!(pace.wait_at(after(3)), after(10));
        pace.came = 2399;
        assert_eq!(pace.wait_at(after(9)), after(10));
        // The server took four seconds.
        pace.paused = Some(after(9));
        assert_eq!(pace.wait_at(after(13)), after(14));
        pace.came = 2400;
        assert_eq!(pace.wait_at(after(13)), after(23));
        assert_eq!(pace.came, 0);
    }
}
