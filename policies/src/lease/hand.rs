//! What one node holds of one quota: leases to spend from, and what it was told when it asked last.
//!
//! Time is the node's own monotonic clock. Nothing here waits; who finds the hand empty is told whether to ask.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Answer, Ask, Back, DRIFT, Terms};
use crate::{Quota, Spend, Window};

/// What one node holds of one quota.
#[derive(Debug, Default)]
pub struct Hand {
    /// The oldest first, which is the one that ends first.
    leases: VecDeque<Lease>,
    told: Told,
    /// An ask is under way.
    asking: bool,
    /// When it was asked last, and what was spent since.
    asked_at: Duration,
    spent: u32,
    /// Units granted last.
    size: u32,
    /// Units let through without a lease that the ledger does not know of, the last of them when, and those told of by the ask
    /// that is under way.
    debt: u32,
    debt_at: Duration,
    telling: u32,
    /// What was spent ahead of leases within a window, which no other node hears of in time.
    ahead: Window,
    lost: u32,
}

#[derive(Debug)]
struct Lease {
    units: u32,
    epoch: u64,
    slice: u64,
    end: Duration,
}

/// What the ledger said last.
#[derive(Debug, Default)]
struct Told {
    left: u32,
    /// None is left; one comes back at the second time, and it is asked again at the first.
    exhausted: Option<(Duration, Duration)>,
    /// It has forgotten; it lends again at the second time, and it is asked again at the first.
    absent: Option<(Duration, Duration)>,
}

/// What became of a wish to spend one unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Draw {
    /// It is of the lease that ends then.
    Drawn(Duration),
    /// There is none in hand, and the ledger may have some.
    Short,
    /// The quota is spent.
    Exhausted {
        /// Until a unit comes back.
        retry_after: Duration,
    },
    /// The ledger has forgotten what was spent, and cannot be asked yet.
    Absent {
        /// Until it lends again.
        retry_after: Duration,
    },
}

/// Below this many units a lease is not worth renewing before it is spent: its caller comes now and then.
const WORTH_RENEWING: u32 = 8;

// === impl Hand ===

impl Hand {
    /// Spends one unit, if there is one.
    #[inline]
    pub fn draw(&mut self, now: Duration) -> Draw {
        while let Some(lease) = self.leases.front_mut() {
            if lease.units > 0 && now < lease.end {
                lease.units -= 1;
                self.spent = self.spent.saturating_add(1);
                return Draw::Drawn(lease.end);
            }
            self.lost += lease.units;
            self.leases.pop_front();
        }
        match (self.told.absent, self.told.exhausted) {
            (Some((until, back)), _) if now < until => Draw::Absent { retry_after: back.saturating_sub(now) },
            (_, Some((until, back))) if now < until => Draw::Exhausted { retry_after: back.saturating_sub(now) },
            _ => Draw::Short,
        }
    }

    /// Spends one unit ahead of any lease, if this node has spent fewer than its part of the limit's `max_overshoot` so within a window. So all
    /// nodes together let through the quota and their parts at most, whatever they hear of each other. What is let through is owed
    /// ([`Self::owe`]).
    pub fn draw_ahead(&mut self, terms: Terms, part: u32, now: Duration) -> bool {
        part > 0 && matches!(self.ahead.spend(ahead_of(terms, part), now, 1), Spend::Admitted { .. })
    }

    /// Undoes a draw: into the lease that it came from, or nowhere.
    pub fn put_back(&mut self, end: Duration) {
        self.spent = self.spent.saturating_sub(1);
        match self.leases.iter_mut().find(|lease| lease.end == end) {
            Some(lease) => lease.units += 1,
            None => self.lost += 1,
        }
    }

    /// Whether to ask for more although nobody waits: little is left of what is in hand, or little of its time.
    #[must_use]
    #[inline]
    pub fn is_low(&self, terms: Terms, now: Duration) -> bool {
        let Some(last) = self.leases.back() else { return false };
        let is_low = || self.units() <= self.size / 8 || now + terms.life() / 4 >= last.end;
        !self.asking && self.size >= WORTH_RENEWING && self.told.left > 0 && is_low()
    }

    /// Whether an ask is under way.
    #[must_use]
    pub const fn is_asking(&self) -> bool {
        self.asking
    }

    /// Asks for units for `waiting` requests, and for as many as the caller will spend in three quarters of a lease's life if it
    /// goes on as it did: so most leases are spent before they end. To be followed by [`Self::answered`] or
    /// [`Self::unanswered`].
    pub fn ask(&mut self, terms: Terms, now: Duration, waiting: u32) -> Ask {
        let life = terms.life();
        let since = now.saturating_sub(self.asked_at).max(life / 8).as_nanos().max(1);
        let expected = u128::from(self.spent) * life.as_nanos() * 3 / 4 / since;
        let expected = u32::try_from(expected).unwrap_or(u32::MAX);
        (self.asking, self.asked_at, self.spent) = (true, now, 0);
        if now >= self.forgiven_at(terms) {
            self.debt = 0;
        }
        self.telling = self.debt;
        let held = self.units();
        let need = waiting.saturating_sub(held);
        Ask { need, ahead: expected.saturating_sub(need), held, debt: self.debt, back: None }
    }

    /// The answer, at `now`, to what was asked at `sent`, which was before anything was sent.
    pub fn answered(&mut self, terms: Terms, sent: Duration, now: Duration, answer: &Answer) {
        self.asking = false;
        self.debt -= self.telling.min(self.debt);
        let end = sent + terms.life();
        let then = |wait| now + Duration::from_micros(wait);
        self.told = Told {
            left: answer.left,
            exhausted: (answer.left == 0).then(|| (end.min(then(answer.wait)), then(answer.wait))),
            absent: (answer.absent > 0).then(|| (end.min(then(answer.absent)), then(answer.absent))),
        };
        self.size = answer.granted;
        if answer.granted == 0 {
            return;
        }
        if now < end {
            let Answer { epoch, slice, granted: units, .. } = *answer;
            self.leases.push_back(Lease { units, epoch, slice, end });
        } else {
            self.lost += answer.granted;
        }
    }

    /// There will be no answer.
    pub const fn unanswered(&mut self) {
        self.asking = false;
    }

    /// Takes what is unspent of the lease that ends at `end` out of the hand, to be given back: from now on it is not ours,
    /// whether or not anybody hears of it.
    pub fn give_back(&mut self, end: Duration, now: Duration) -> Option<Ask> {
        let at = self.leases.iter().position(|lease| lease.end == end)?;
        let Lease { units, epoch, slice, .. } = self.leases.remove(at)?;
        if units == 0 {
            return None;
        }
        if now >= end {
            self.lost += units;
            return None;
        }
        Some(self.returning(Back { epoch, slice, units }))
    }

    /// What to do with an answer that nobody waits for any more: its units are given back unseen.
    #[must_use]
    pub fn give_back_late(&self, answer: &Answer) -> Ask {
        let Answer { epoch, slice, granted: units, .. } = *answer;
        self.returning(Back { epoch, slice, units })
    }

    fn returning(&self, back: Back) -> Ask {
        Ask { held: self.units(), back: Some(back), ..Ask::default() }
    }

    /// One unit was let through at `now` without a lease.
    pub const fn owe(&mut self, now: Duration) {
        self.debt = self.debt.saturating_add(1);
        self.debt_at = now;
    }

    /// Undoes [`Self::owe`]. What the ledger has heard of meanwhile it keeps: the strict side.
    pub const fn disown(&mut self) {
        self.debt = self.debt.saturating_sub(1);
    }

    /// Units in hand.
    #[must_use]
    pub fn units(&self) -> u32 {
        self.leases.iter().map(|lease| lease.units).sum()
    }

    /// Units in hand, and those that the ledger had left.
    #[must_use]
    pub fn remaining(&self) -> u32 {
        self.units().saturating_add(self.told.left)
    }

    /// Units that ended unspent since this was asked last.
    pub const fn take_lost(&mut self) -> u32 {
        std::mem::replace(&mut self.lost, 0)
    }

    /// Whether nothing would be lost with it.
    #[must_use]
    pub fn is_idle(&self, terms: Terms, now: Duration) -> bool {
        let owes = self.debt > 0 && now < self.forgiven_at(terms);
        let is_level = self.ahead.is_idle(ahead_of(terms, 0), now);
        !self.asking && !owes && is_level && self.leases.iter().all(|lease| lease.units == 0 || now >= lease.end)
    }

    /// What was spent without a lease has come back then, and is no longer owed.
    const fn forgiven_at(&self, terms: Terms) -> Duration {
        self.debt_at.saturating_add(Duration::from_micros(terms.slice() + terms.keep()))
    }
}

/// What a node may spend ahead, in a window by its own clock, which may be fast.
const fn ahead_of(terms: Terms, part: u32) -> Quota {
    Quota { units: part, window: Duration::from_micros(terms.window + terms.window.div_ceil(DRIFT)) }
}
