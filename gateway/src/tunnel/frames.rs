//! Where the frames of a WebSocket begin and end (RFC 6455 §5.2), and the one frame that we write ourselves: Close.
//!
//! Payloads are not looked at: they are for the two ends.

/// Follows one direction of a WebSocket from frame to frame.
#[derive(Default)]
pub(super) struct Frames {
    /// The header of the next frame, as far as it has come: two bytes, a length of up to eight, a mask of four.
    head: [u8; 14],
    have: usize,
    /// Bytes of payload that are still to come.
    left: u64,
    /// Has a Close gone by? After it no frame may follow.
    is_closed: bool,
}

/// Why a WebSocket is ended by us, as its Close frame says it (RFC 6455 §7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) code: u16,
    /// At most 123 bytes: a control frame holds 125 (§5.5).
    pub(super) reason: &'static str,
}

// === impl Frames ===

impl Frames {
    /// Follows `bytes`.
    pub(super) fn advance(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = &bytes[self.step(bytes)..];
        }
    }

    /// Follows `bytes` to the end of the frame that they begin or go on with, at most; gives how many that were.
    pub(super) fn step(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while self.left == 0 && taken < bytes.len() {
            self.head[self.have] = bytes[taken];
            self.have += 1;
            taken += 1;
            if self.have < 2 || self.have < head_length(self.head[1]) {
                continue;
            }
            self.left = payload_length(&self.head);
            self.is_closed |= self.head[0] & 0x0f == 8;
            self.have = 0;
            if self.left == 0 {
                return taken;
            }
        }
        let payload = self.left.min((bytes.len() - taken) as u64);
        self.left -= payload;
        taken + payload as usize
    }

    /// May a frame begin here?
    pub(super) fn is_between(&self) -> bool {
        self.have == 0 && self.left == 0
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }
}

/// By the second byte: a mask bit and seven bits of length, of which 126 and 127 announce a longer one.
fn head_length(second: u8) -> usize {
    let length = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    2 + length + if second & 0x80 == 0 { 0 } else { 4 }
}

fn payload_length(head: &[u8; 14]) -> u64 {
    let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    match head[1] & 0x7f {
        126 => number(&head[2..4]),
        127 => number(&head[2..10]),
        short => u64::from(short),
    }
}

// === impl Ending ===

impl Ending {
    /// As a server writes it.
    pub(super) fn to_client(self) -> Vec<u8> {
        let payload = self.payload();
        [&[0x88, payload.len() as u8][..], &payload].concat()
    }

    /// As a client writes it: masked (§5.3).
    pub(super) fn to_server(self, mask: [u8; 4]) -> Vec<u8> {
        let payload: Vec<u8> = self.payload().iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        [&[0x88, 0x80 | payload.len() as u8][..], &mask, &payload].concat()
    }

    fn payload(self) -> Vec<u8> {
        let reason = self.reason.as_bytes();
        [&self.code.to_be_bytes()[..], &reason[..reason.len().min(123)]].concat()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A frame of our making: payload of `length` bytes, in the shortest or a longer form of the length.
    fn frame(opcode: u8, length: usize, form: usize, masked: bool) -> Vec<u8> {
        let form = form.max(if length > 65535 { 2 } else { usize::from(length > 125) });
        let bit = if masked { 0x80 } else { 0 };
        let mut frame = match form {
            0 => vec![opcode, bit + length as u8],
            1 => [&[opcode, bit + 126][..], &(length as u16).to_be_bytes()].concat(),
            _ => [&[opcode, bit + 127][..], &(length as u64).to_be_bytes()].concat(),
        };
        frame.extend(if masked { &b"mask"[..] } else { b"" });
        frame.extend(std::iter::repeat_n(0x88, length));
        frame
    }

    proptest! {
        #[test]
        fn however_frames_are_cut_their_ends_are_known(
            shape in prop::collection::vec((0_usize..200, 0_usize..3, any::<bool>()), 1..20),
            cuts in prop::collection::vec(1_usize..50, 1..20),
        ) {
            let frames: Vec<Vec<u8>> = shape.iter().map(|(length, form, masked)| frame(0x82, *length, *form, *masked)).collect();
            let ends: Vec<usize> = frames.iter().scan(0, |end, frame| { *end += frame.len(); Some(*end) }).collect();
            let wire = frames.concat();
            let (mut follow, mut at, mut cut) = (Frames::default(), 0, cuts.iter().cycle());
            while at < wire.len() {
                let next = (at + cut.next().copied().unwrap_or(1)).min(wire.len());
                follow.advance(&wire[at..next]);
                at = next;
                prop_assert_eq!(follow.is_between(), ends.contains(&at), "at {}", at);
            }
            prop_assert!(!follow.is_closed());
        }
    }

    #[test]
    fn a_step_ends_with_its_frame() {
        let wire = [frame(0x81, 3, 0, false), frame(0x89, 0, 0, false), frame(0x82, 70_000, 2, false)].concat();
        let mut follow = Frames::default();
        assert_eq!(follow.step(&wire), 5);
        assert_eq!(follow.step(&wire[5..]), 2);
        assert_eq!(follow.step(&wire[7..]), 70_010);
        assert!(follow.is_between());
        assert_eq!(follow.step(&[0x88]), 1);
        assert!(!follow.is_between() && !follow.is_closed());
        assert_eq!(follow.step(&[0x00, 0xff]), 1);
        assert!(follow.is_between() && follow.is_closed());
    }

    #[test]
    fn a_close_says_code_and_reason_to_either_side() {
        let ending = Ending { code: 4401, reason: "revoked" };
        assert_eq!(ending.to_client(), b"\x88\x09\x11\x31revoked");
        let masked = ending.to_server([1, 2, 3, 4]);
        assert_eq!(masked[..6], [0x88, 0x89, 1, 2, 3, 4]);
        assert_eq!((masked[6] ^ 1, masked[7] ^ 2, masked[8] ^ 3), (0x11, 0x31, b'r'));
    }
}
