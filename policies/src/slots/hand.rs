//! What one node holds of one limit. Time is the node's own monotonic clock; how many slots are in use is the caller's to know.

use std::time::Duration;

use super::{Answer, Ask, LIFE, most_spare};

/// After it was told that there is no slot left, a node asks no more for so long.
const PAUSE: Duration = Duration::from_millis(10);

/// What one node holds of one limit.
#[derive(Debug, Default)]
pub struct Hand {
    held: u32,
    /// When others may have what is held.
    end: Duration,
    /// The number of the ask that is under way, and what it needs.
    asking: Option<(u64, u32)>,
    /// The number of the last ask.
    last: u64,
    /// Something was taken since.
    busy: bool,
    /// None is left; it is asked again then.
    full: Duration,
    /// The ledger has forgotten; it is asked again then.
    absent: Duration,
}

/// What became of a wish for one slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Take {
    /// It is the caller's.
    Taken,
    /// There is none in hand, and the ledger may have one.
    Short,
    /// All are in use.
    Full,
    /// The ledger has forgotten who holds what, and grants nothing yet.
    Absent,
}

// === impl Hand ===

impl Hand {
    /// Takes one slot beside the `used` ones, if there is one.
    pub fn take(&mut self, used: u32, now: Duration) -> Take {
        self.busy = true;
        if used < self.held(now) {
            Take::Taken
        } else if now < self.absent {
            Take::Absent
        } else if now < self.full {
            Take::Full
        } else {
            Take::Short
        }
    }

    /// One of its own has been given back, so there is one.
    pub const fn freed(&mut self) {
        self.full = Duration::ZERO;
    }

    /// Whether more is held, beside the `used` ones, than should be kept from others.
    #[must_use]
    pub const fn is_loose(&self, most: u32, used: u32) -> bool {
        self.held > used.saturating_add(most_spare(most))
    }

    /// Says what is held, and asks for what `waiting` requests need. What is too much to keep is given up with that. To be followed by
    /// [`Self::answered`] or [`Self::unanswered`].
    pub fn ask(&mut self, most: u32, used: u32, waiting: u32, now: Duration) -> Ask {
        // Unused slots are kept by those only who take slots time and again.
        let is_busy = std::mem::replace(&mut self.busy, false);
        let wanted = used + waiting;
        let spare = if is_busy { most_spare(most) } else { 0 };
        // Slots in use are held whatever became of the lease.
        self.held = self.held(now).min(wanted + spare).max(used);
        self.last = (now.as_micros() as u64).max(self.last + 1);
        let need = wanted.saturating_sub(self.held);
        self.asking = Some((self.last, need));
        Ask {
            number: self.last,
            held: self.held,
            spare: self.held.saturating_sub(wanted),
            need,
            more: (wanted + spare).saturating_sub(self.held + need),
        }
    }

    /// The answer, at `now`, to what was asked at `sent`, which was before anything was sent.
    pub fn answered(&mut self, sent: Duration, now: Duration, answer: &Answer) {
        let Some((_, need)) = self.asking.take() else { return };
        self.held += answer.granted;
        self.end = sent + LIFE;
        self.full = if answer.granted < need { now + PAUSE } else { Duration::ZERO };
        self.absent = now + Duration::from_micros(answer.absent).min(LIFE);
    }

    /// There will be no answer.
    pub const fn unanswered(&mut self) {
        self.asking = None;
    }

    /// Whether nothing is held for anybody, and nothing is awaited.
    #[must_use]
    pub fn is_idle(&self, used: u32, now: Duration) -> bool {
        used == 0 && self.asking.is_none() && self.held(now) == 0
    }

    fn held(&self, now: Duration) -> u32 {
        if now < self.end { self.held } else { 0 }
    }
}
