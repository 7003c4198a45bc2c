//! Whether an HTTP/2 client may send anything of a body now, as far as its connection goes (RFC 9113 §5.2).
//!
//! The window of a connection is shared by its streams: uploads that their servers do not take can fill it, and then no other can go
//! on. Whoever measures how fast a body comes has to know that. h2 tells nobody; so the window is followed in the bytes of both
//! directions: DATA takes from it, an update that we send for the whole connection gives. What these frames mean is h2's.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Since when there has been room; `None`: there is none.
#[derive(Debug)]
pub(crate) struct Room(Mutex<Option<Instant>>);

/// The frames that are sent to one client.
#[derive(Debug)]
pub(crate) struct Sent {
    /// The head of a frame; of a `WINDOW_UPDATE` all of it.
    head: [u8; HEAD + INCREMENT],
    /// How many bytes of `head` have gone.
    filled: usize,
    /// Bytes of the present frame that have not.
    missing: usize,
    /// Bytes of DATA that the client was ever allowed, over all streams.
    allowed: u64,
}

/// What is allowed before anything is said (RFC 9113 §6.9.2).
const AT_FIRST: u64 = 65_535;
/// A frame's length, type, flags and stream (RFC 9113 §4.1).
const HEAD: usize = 9;
const INCREMENT: usize = 4;
const GOAWAY: u8 = 0x7;
/// What a GOAWAY names before its reason (RFC 9113 §6.8).
const LAST_STREAM: usize = 4;
const WINDOW_UPDATE: u8 = 0x8;

// === impl Room ===

impl Default for Room {
    fn default() -> Self {
        Self(Mutex::new(Some(Instant::now())))
    }
}

impl Room {
    pub(super) fn set(&self, is_some: bool) {
        let mut since = self.0.lock();
        *since = if is_some { since.or_else(|| Some(Instant::now())) } else { None };
    }

    /// What had to come until then, from a client that has `within` for it: when it has to, since it must have been able to.
    pub(crate) fn due(&self, until: Instant, within: Duration) -> Instant {
        until.max(self.0.lock().unwrap_or_else(Instant::now) + within)
    }
}

// === impl Sent ===

impl Default for Sent {
    fn default() -> Self {
        Self { head: Default::default(), filled: 0, missing: 0, allowed: AT_FIRST }
    }
}

impl Sent {
    /// Follows what is sent, piece by piece.
    pub(super) fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let payload = self.missing.min(bytes.len());
            self.missing -= payload;
            bytes = &bytes[payload..];
            let head = (self.whole() - self.filled).min(bytes.len());
            self.head[self.filled..self.filled + head].copy_from_slice(&bytes[..head]);
            self.filled += head;
            bytes = &bytes[head..];
            if self.filled == self.whole() {
                self.begin_frame();
            }
        }
    }

    /// Bytes of DATA that the client was allowed so far.
    pub(super) fn allowed(&self) -> u64 {
        self.allowed
    }

    /// Could another frame follow?
    pub(super) fn is_between_frames(&self) -> bool {
        self.filled == 0 && self.missing == 0
    }

    /// Why `bytes`, which are what follows, send the client away, if they do (RFC 9113 §7). h2 writes such a frame in one piece; one that
    /// the kernel takes in two is not seen.
    pub(super) fn goaway_in(&self, bytes: &[u8]) -> Option<u32> {
        // Within a head there is no telling.
        let mut rest = bytes.get(self.missing..).filter(|_| self.filled == 0).unwrap_or_default();
        let mut why = None;
        while let Some((head, payload)) = rest.split_first_chunk::<HEAD>() {
            if head[3] == GOAWAY {
                let reason = payload.get(LAST_STREAM..).and_then(<[u8]>::first_chunk);
                why = reason.map(|reason| u32::from_be_bytes(*reason)).or(why);
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            rest = payload.get(length as usize..).unwrap_or_default();
        }
        why
    }

    fn is_update(&self) -> bool {
        self.filled >= HEAD && self.head[3] == WINDOW_UPDATE
    }

    fn whole(&self) -> usize {
        if self.is_update() { HEAD + INCREMENT } else { HEAD }
    }

    fn begin_frame(&mut self) {
        let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        if self.is_update() {
            if number(&self.head[5..HEAD]) == 0 {
                self.allowed += number(&self.head[HEAD..]);
            }
        } else {
            self.missing = number(&self.head[..3]) as usize;
        }
        self.filled = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_allowed_on_the_whole_connection_counts_however_it_is_sent() {
        let frames = [
            // SETTINGS, whose payload could be taken for a frame.
            &[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 8, 8, 8, 8][..],
            &[0, 0, 4, WINDOW_UPDATE, 0, 0, 0, 0, 0, 0, 1, 0, 2],
            &[0, 0, 4, WINDOW_UPDATE, 0, 0, 0, 0, 3, 0, 9, 9, 9],
            &[0, 0, 3, 0, 1, 0, 0, 0, 3, 8, 8, 8],
            &[0, 0, 4, WINDOW_UPDATE, 0, 0, 0, 0, 0, 0, 0, 0, 5],
        ]
        .concat();
        for piece in [1, 2, 9, 10, 13, 4096] {
            let mut sent = Sent::default();
            frames.chunks(piece).for_each(|piece| sent.follow(piece));
            assert_eq!((sent.allowed(), sent.is_between_frames()), (AT_FIRST + 65_538 + 5, true), "{piece}");
            sent.follow(&frames[..8]);
            assert!(!sent.is_between_frames());
            sent.follow(&frames[8..14]);
            assert!(!sent.is_between_frames());
        }
    }

    #[test]
    fn whoever_is_sent_away_is_told_why_behind_whatever_frames() {
        let goaway = &[0, 0, 9, GOAWAY, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 1, 11, b'!'][..];
        let graceful = &[0, 0, 8, GOAWAY, 0, 0, 0, 0, 0, 127, 255, 255, 255, 0, 0, 0, 0][..];
        // DATA, whose payload could be taken for one.
        let data = &[&[0, 0, 18, 0, 0, 0, 0, 0, 3][..], goaway].concat()[..];
        let mut sent = Sent::default();
        for (frames, why) in [
            (&[][..], None),
            (data, None),
            (goaway, Some(267)),
            (&[data, data, goaway].concat()[..], Some(267)),
            (&[goaway, data].concat()[..], Some(267)),
            (&[graceful, goaway].concat()[..], Some(267)),
            (&goaway[..16], None),
            (&goaway[..8], None),
        ] {
            assert_eq!(sent.goaway_in(frames), why, "{frames:?}");
        }
        sent.follow(&data[..20]);
        assert_eq!(sent.goaway_in(&data[20..]), None);
        assert_eq!(sent.goaway_in(&[&data[20..], goaway].concat()), Some(267));
        sent.follow(&[&data[20..], &goaway[..5]].concat());
        assert_eq!(sent.goaway_in(&goaway[5..]), None, "its head has gone in part");
    }

    #[test]
    fn time_counts_while_there_is_room_only() {
        let (room, within) = (Room::default(), Duration::from_secs(10));
        let late = Instant::now() + within * 2;
        assert_eq!(room.due(late, within), late);
        room.set(false);
        let due = Instant::now();
        assert!(room.due(due, within) >= due + within);
        room.set(true);
        let due = room.due(due, within);
        room.set(true);
        assert_eq!(room.due(due, within), due, "it begins once");
    }
}
