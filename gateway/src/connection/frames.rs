//! HTTP/2 frames, counted as they come: those that cost the server more than the client, and those that open streams.
//!
//! Rapid Reset (CVE-2023-44487), floods of PING and SETTINGS, empty DATA (RUSTSEC-2026-0258) and CONTINUATION
//! (RUSTSEC-2024-0332) have one thing in common: cheap frames in a number that no honest client sends. The h2 library bounds what
//! each may hold; how many may come is bounded here. Pure: bytes and the time in, a verdict out. What frames mean is h2's.

use std::time::Duration;

/// How many frames a connection may send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameLimits {
    /// `RST_STREAM` in any [`WINDOW`].
    pub(crate) resets: u32,
    /// SETTINGS, PRIORITY, CONTINUATION, empty DATA, PING that acknowledges and types that nobody knows in any [`WINDOW`]; of `WINDOW_UPDATE`
    /// and of PING that asks a hundred times as many. Of empty DATA that ends no stream h2 takes 100 in a connection's whole life.
    pub(crate) control: u32,
}

/// Why a connection is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flood {
    /// Streams are opened to be reset.
    Resets,
    /// Frames that carry nothing.
    Control,
}

/// What limits are counted over. Counted in fixed windows, since a flood is a flood wherever the window begins.
pub(crate) const WINDOW: Duration = Duration::from_secs(10);

/// Follows one connection's frames.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    /// Bytes of the client's preface (RFC 9113 §3.4) seen so far.
    preface: usize,
    head: [u8; HEAD],
    /// How many bytes of `head` have come.
    filled: usize,
    /// Bytes of the present frame's payload that are missing.
    missing: usize,
    window: u128,
    resets: u32,
    control: u32,
    updates: u32,
    pings: u32,
    opened: u32,
    /// Bytes of DATA so far, with those announced.
    data: u64,
    /// Is a block of header fields begun and not ended?
    in_block: bool,
}

/// What an HTTP/2 connection begins with.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// A frame's length, type, flags and stream (RFC 9113 §4.1).
const HEAD: usize = 9;
const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const PRIORITY: u8 = 0x2;
const RST_STREAM: u8 = 0x3;
const SETTINGS: u8 = 0x4;
const PING: u8 = 0x6;
const GOAWAY: u8 = 0x7;
const WINDOW_UPDATE: u8 = 0x8;
const CONTINUATION: u8 = 0x9;
/// Types that nobody has agreed on (RFC 9113 §5.5): ignored, but not for ever.
const UNKNOWN: u8 = 0xa;
const END_HEADERS: u8 = 0x4;
/// `WINDOW_UPDATE` for each other control frame: whoever takes in a gigabyte in ten seconds sends some 30,000. And PING: clients of gRPC
/// measure the line by one for each piece of an answer (`bdp_estimator` of grpc-go, `adaptive_window` of hyper). One is answered before
/// the next is read, so that many of them cost no memory.
const FREQUENT: u32 = 100;
const END_STREAM: u8 = 0x1;
/// Of PING. The door sends one when it tells a client to go, and none else: who acknowledges more was not asked.
const ACK: u8 = 0x1;

// === impl Frames ===

impl Frames {
    /// Counts the frames that begin in `bytes`, which follow those of the call before. `now` is since the connection began.
    pub(crate) fn read(&mut self, mut bytes: &[u8], limits: FrameLimits, now: Duration) -> Result<(), Flood> {
        self.turn_to(now);
        let preface = (PREFACE.len() - self.preface).min(bytes.len());
        self.preface += preface;
        bytes = &bytes[preface..];
        while !bytes.is_empty() {
            let payload = self.missing.min(bytes.len());
            self.missing -= payload;
            bytes = &bytes[payload..];
            let head = (HEAD - self.filled).min(bytes.len());
            self.head[self.filled..self.filled + head].copy_from_slice(&bytes[..head]);
            self.filled += head;
            bytes = &bytes[head..];
            if self.filled == HEAD {
                self.filled = 0;
                self.count();
            }
        }
        if self.resets > limits.resets {
            return Err(Flood::Resets);
        }
        let frequent = limits.control.saturating_mul(FREQUENT);
        let is_flood = self.control > limits.control || self.updates > frequent || self.pings > frequent;
        if is_flood { Err(Flood::Control) } else { Ok(()) }
    }

    /// Streams that the client has opened.
    pub(crate) fn opened(&self) -> u32 {
        self.opened
    }

    /// Bytes of DATA that the client has sent, or begun to.
    pub(crate) fn data(&self) -> u64 {
        self.data
    }

    /// Does the client owe the rest of a head: has it begun one and not ended it, or not begun any yet?
    pub(crate) fn owes_head(&self) -> bool {
        let in_frame = self.filled > 0 || (self.missing > 0 && matches!(self.head[3], HEADERS | CONTINUATION));
        self.opened == 0 || self.in_block || in_frame
    }

    /// Does the client rather reset streams, of late, than send what carries nothing otherwise?
    pub(crate) fn is_resetting(&self) -> bool {
        self.resets > self.control
    }

    fn turn_to(&mut self, now: Duration) {
        let window = now.as_millis() / WINDOW.as_millis();
        if window != self.window {
            (self.window, self.resets, self.control, self.updates, self.pings) = (window, 0, 0, 0, 0);
        }
    }

    fn count(&mut self) {
        let [high, middle, low, kind, flags, ..] = self.head;
        self.missing = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        if kind == DATA {
            self.data += self.missing as u64;
        }
        match kind {
            RST_STREAM => self.resets += 1,
            HEADERS => {
                self.opened = self.opened.saturating_add(1);
                self.in_block = flags & END_HEADERS == 0;
            }
            CONTINUATION => {
                self.control += 1;
                self.in_block &= flags & END_HEADERS == 0;
            }
            WINDOW_UPDATE => self.updates += 1,
            PING if flags & ACK == 0 => self.pings += 1,
            PING | GOAWAY | SETTINGS | PRIORITY | UNKNOWN.. => self.control += 1,
            DATA if self.missing == 0 && flags & END_STREAM == 0 => self.control += 1,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: FrameLimits = FrameLimits { resets: 3, control: 5 };

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let length = payload as u32;
        let mut bytes = length.to_be_bytes()[1..].to_vec();
        bytes.extend([kind, flags, 0, 0, 0, 1]);
        bytes.extend(vec![0xff; payload]);
        bytes
    }

    fn read(frames: &[Vec<u8>], piece: usize) -> Result<u32, Flood> {
        let mut reader = Frames::default();
        let bytes = [PREFACE.to_vec(), frames.concat()].concat();
        for piece in bytes.chunks(piece) {
            reader.read(piece, LIMITS, Duration::ZERO)?;
        }
        Ok(reader.opened())
    }

    #[test]
    fn honest_frames_pass_however_they_arrive() {
        let data = || frame(DATA, 0, 1000);
        let frames =
            [frame(SETTINGS, 0, 18), frame(HEADERS, 4, 30), data(), data(), data(), frame(DATA, END_STREAM, 0)];
        for piece in [1, 7, 9, 10, 4096] {
            assert_eq!(read(&frames, piece), Ok(1), "{piece}");
        }
    }

    #[test]
    fn data_and_the_ends_of_streams_are_no_flood_however_many() {
        for frames in [frame(DATA, 0, 1), frame(DATA, END_STREAM, 1), frame(DATA, END_STREAM, 0)] {
            assert_eq!(read(&vec![frames; 50], 4096), Ok(0));
        }
    }

    #[test]
    fn what_follows_a_long_frame_is_counted() {
        for payload in [255, 256, 65_535, 65_536, 1 << 20] {
            let frames = [vec![frame(DATA, 0, payload)], vec![frame(RST_STREAM, 0, 4); 4]].concat();
            assert_eq!(read(&frames, 16_384), Err(Flood::Resets), "{payload}");
        }
    }

    #[test]
    fn a_head_is_owed_until_its_block_has_ended() {
        let mut reader = Frames::default();
        let mut owes_after = |bytes: &[u8]| {
            reader.read(bytes, LIMITS, Duration::ZERO).expect("no flood");
            reader.owes_head()
        };
        assert!(owes_after(PREFACE) && owes_after(&frame(SETTINGS, 0, 0)), "none has begun yet");
        assert!(!owes_after(&frame(HEADERS, END_HEADERS, 30)));
        for (kind, flags, owes_payload, owes_more) in [
            (DATA, 0, false, false),
            (HEADERS, END_HEADERS, true, false),
            (HEADERS, 0, true, true),
            (CONTINUATION, 0, true, true),
            (CONTINUATION, END_HEADERS, true, false),
            // Trailers are a head too.
            (HEADERS, END_HEADERS | END_STREAM, true, false),
        ] {
            let frame = frame(kind, flags, 5);
            assert!(owes_after(&frame[..1]) && owes_after(&frame[1..8]), "{kind} {flags}: which frame is it?");
            assert_eq!(owes_after(&frame[8..9]), owes_payload, "{kind} {flags}");
            assert_eq!(owes_after(&frame[9..13]), owes_payload, "{kind} {flags}");
            assert_eq!(owes_after(&frame[13..]), owes_more, "{kind} {flags}");
        }
    }

    #[test]
    fn a_flood_is_named() {
        assert_eq!(read(&vec![frame(RST_STREAM, 0, 4); 4], 5), Err(Flood::Resets));
        for kind in [GOAWAY, SETTINGS, PRIORITY, CONTINUATION, DATA, UNKNOWN, 0x42, 0xff] {
            assert_eq!(read(&vec![frame(kind, 0, 0); 6], 5), Err(Flood::Control), "{kind}");
            assert!(read(&vec![frame(kind, 0, 0); 5], 5).is_ok(), "{kind}");
        }
        assert_eq!(read(&vec![frame(PING, ACK, 8); 6], 5), Err(Flood::Control), "nobody was asked");
        assert!(read(&vec![frame(PING, ACK, 8); 5], 5).is_ok());
        // A hundred times as many, since whoever takes in much sends many.
        for (kind, payload) in [(WINDOW_UPDATE, 4), (PING, 8)] {
            assert_eq!(read(&vec![frame(kind, 0, payload); 501], 4096), Err(Flood::Control), "{kind}");
            assert!(read(&vec![frame(kind, 0, payload); 500], 4096).is_ok(), "{kind}");
        }
        let all = [(WINDOW_UPDATE, 4, 500), (PING, 8, 500), (SETTINGS, 0, 5)];
        let all = all.map(|(kind, payload, number)| vec![frame(kind, 0, payload); number]).concat();
        assert!(read(&all, 4096).is_ok(), "each has a limit of its own");
    }

    #[test]
    fn whoever_resets_more_than_it_sends_otherwise_is_resetting() {
        let mut reader = Frames::default();
        let mut is_resetting_after = |bytes: &[u8]| {
            reader.read(bytes, LIMITS, Duration::ZERO).expect("no flood");
            reader.is_resetting()
        };
        assert!(!is_resetting_after(&[PREFACE, &frame(SETTINGS, 0, 0)].concat()));
        assert!(!is_resetting_after(&frame(RST_STREAM, 0, 4)));
        assert!(is_resetting_after(&frame(RST_STREAM, 0, 4)));
        assert!(!is_resetting_after(&frame(CONTINUATION, 0, 0)));
    }

    #[test]
    fn a_new_window_begins_anew() {
        let mut reader = Frames::default();
        let resets = vec![frame(RST_STREAM, 0, 4); 3].concat();
        reader.read(&[PREFACE, &resets].concat(), LIMITS, Duration::ZERO).expect("within the limit");
        assert!(reader.read(&frame(RST_STREAM, 0, 4), LIMITS, Duration::from_secs(9)).is_err());
        assert!(reader.read(&frame(RST_STREAM, 0, 4), LIMITS, Duration::from_secs(10)).is_ok());
    }
}
