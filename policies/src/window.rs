//! The sliding window: never more than `units` in any interval of length `window`, wherever it begins.
//!
//! Time is cut into sub-windows of 1/64 of the window. A unit spent in sub-window *i* counts while the current one is at most
//! *i* + 64, that is until a whole window after its own sub-window ended:
//!
//! ```text
//!   i                                                             i+64  i+65
//!   ├─x─┼───┼───┼─── … 64 sub-windows, one whole window … ───┼───┼─────┼──
//!     spent                                                     counts │ no more
//! ```
//!
//! So the window is in effect between one and 65/64 of what is written, and the only error is on the strict side. (A token
//! bucket or a fixed window lets through nearly twice the quota at the worst moment.) Only sub-windows in which something was
//! spent are kept: a quiet caller costs under 100 bytes, a busy one at most about a kilobyte. Who has which window, and where
//! they are kept, is the gateway's; so is the clock, whose `now` is monotonic time since any fixed moment.

use std::collections::VecDeque;
use std::time::Duration;

use crate::Quota;

/// What one caller spent of one quota lately.
///
/// Always use one window with quotas of one length; `units` may change between calls.
#[derive(Debug, Clone, Default)]
pub struct Window {
    /// Oldest first; none is more than [`SLICES`] older than `newest`.
    slices: VecDeque<Slice>,
    /// The latest sub-window seen. Time that runs backwards is taken to stand still here.
    newest: u64,
    /// The sum over `slices`.
    units: u32,
}

#[derive(Debug, Clone, Copy)]
struct Slice {
    /// The low half of the sub-window's index: unambiguous, since those kept lie within 65 of each other.
    index: u32,
    units: u32,
}

/// What became of a wish to spend.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spend {
    /// Within the quota.
    Admitted {
        /// Units left now.
        remaining: u32,
        /// Until the oldest counted units come back; zero when none are counted.
        reset: Duration,
    },
    /// Nothing was spent.
    Refused {
        /// Units left now; fewer than were wished for.
        remaining: u32,
        /// Until the oldest counted units come back.
        reset: Duration,
        /// Until the same wish would be admitted if nothing else is spent. For a wish beyond the whole quota, which never
        /// will be: until everything has come back.
        retry_after: Duration,
    },
}

/// How many sub-windows make a window.
const SLICES: u64 = 64;

/// A moment, measured in the sub-windows of a quota.
#[derive(Clone, Copy)]
struct Moment {
    /// Nanoseconds; 584 years fit.
    now: u64,
    /// Nanoseconds of one sub-window, rounded up: the strict side.
    length: u64,
}

// === impl Window ===

impl Window {
    /// Spends `n` units if the quota has them left at `now`.
    pub fn spend(&mut self, quota: Quota, now: Duration, n: u32) -> Spend {
        let moment = Moment::of(quota, now);
        self.advance(moment.index());
        let answer = self.judge(quota, moment, n);
        if matches!(answer, Spend::Admitted { .. }) && n > 0 {
            self.add(n);
        }
        answer
    }

    /// What `spend` would answer.
    pub fn peek(&self, quota: Quota, now: Duration, n: u32) -> Spend {
        self.judge(quota, Moment::of(quota, now), n)
    }

    /// Gives back units of a `spend` that was admitted at `spent_at`, as when another limit then refused the request.
    ///
    /// They leave the very sub-window they were spent in: taken from a later one, the rest would be forgotten too early. What
    /// has come back already stays as it is.
    pub fn refund(&mut self, quota: Quota, spent_at: Duration, n: u32) {
        let spent_at = Moment::of(quota, spent_at).index();
        let newest = self.newest;
        let Some(at) = self.slices.iter().rposition(|slice| slice.place(newest) == spent_at) else { return };
        let slice = &mut self.slices[at];
        let back = slice.units.min(n);
        slice.units -= back;
        self.units -= back;
        if slice.units == 0 {
            self.slices.remove(at);
        }
    }

    /// Whether nothing counts any more at `now`: the window may be forgotten.
    #[must_use]
    pub fn is_idle(&self, quota: Quota, now: Duration) -> bool {
        self.live(Moment::of(quota, now)).next().is_none()
    }

    fn judge(&self, quota: Quota, moment: Moment, n: u32) -> Spend {
        let gone: u32 =
            self.slices.iter().take_while(|slice| self.is_over(**slice, moment)).map(|slice| slice.units).sum();
        let used = self.units - gone;
        let remaining = quota.units.saturating_sub(used);
        let oldest = self.live(moment).next().map(|slice| slice.place(self.newest));
        let reset = oldest.or((n > 0).then_some(self.newest.max(moment.index()))).map(|place| moment.until_back(place));
        let reset = reset.unwrap_or_default();
        if n <= remaining {
            return Spend::Admitted { remaining: remaining - n, reset };
        }
        // No overflow: a u64 holds the sum of two u32.
        let wanted = u64::from(used) + u64::from(n) - u64::from(quota.units);
        Spend::Refused { remaining, reset, retry_after: self.until_back(moment, wanted) }
    }

    /// How long until `wanted` of the counted units have come back.
    fn until_back(&self, moment: Moment, wanted: u64) -> Duration {
        let mut back = 0;
        let mut last = Duration::ZERO;
        for slice in self.live(moment) {
            back += u64::from(slice.units);
            last = moment.until_back(slice.place(self.newest));
            if back >= wanted {
                break;
            }
        }
        last
    }

    fn live(&self, moment: Moment) -> impl Iterator<Item = &Slice> {
        self.slices.iter().skip_while(move |slice| self.is_over(**slice, moment))
    }

    fn is_over(&self, slice: Slice, moment: Moment) -> bool {
        moment.index().saturating_sub(slice.place(self.newest)) > SLICES
    }

    fn advance(&mut self, index: u64) {
        let Some(step) = index.checked_sub(self.newest) else { return };
        if step > SLICES {
            self.slices = VecDeque::new();
            self.units = 0;
        }
        self.newest = index;
        while let Some(slice) = self.slices.front().filter(|slice| slice.age(index) > SLICES) {
            self.units -= slice.units;
            self.slices.pop_front();
        }
        if self.slices.len() * 4 < self.slices.capacity() {
            self.slices.shrink_to(self.slices.len() * 2);
        }
    }

    fn add(&mut self, n: u32) {
        self.units += n;
        let index = self.newest as u32;
        match self.slices.back_mut() {
            Some(last) if last.index == index => last.units += n,
            _ => self.slices.push_back(Slice { index, units: n }),
        }
    }
}

// === impl Slice ===

impl Slice {
    /// Sub-windows since this one.
    fn age(self, newest: u64) -> u64 {
        (newest as u32).wrapping_sub(self.index).into()
    }

    /// The whole index.
    fn place(self, newest: u64) -> u64 {
        newest.saturating_sub(self.age(newest))
    }
}

// === impl Moment ===

impl Moment {
    fn of(quota: Quota, now: Duration) -> Self {
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self { now: nanos(now), length: nanos(quota.window).div_ceil(SLICES).max(1) }
    }

    const fn index(self) -> u64 {
        self.now / self.length
    }

    /// Until units spent in sub-window `place` no longer count.
    const fn until_back(self, place: u64) -> Duration {
        Duration::from_nanos(place.saturating_add(SLICES + 1).saturating_mul(self.length).saturating_sub(self.now))
    }
}

#[cfg(test)]
mod tests;
