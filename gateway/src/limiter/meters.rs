//! What one caller or address has spent: a window for each limit on requests, a number for each limit on slots.
//!
//! A handful of each at most, so lists are the quickest maps. Who has which meters is [`super::table`]'s business; what is held of
//! limits that other gateways count too is [`super::leases`]'.

use std::{sync::Arc, time::Duration};

use parking_lot::{Mutex, MutexGuard};
use policies::{Quota, Spend, Window};
use smallvec::SmallVec;

use super::leases::{Leased, Of, slots::Held};

/// The meters of one subject. The lock is its own, held for a few dozen instructions and never across an await.
#[derive(Default)]
pub(super) struct Meters(Mutex<Counts>);

// With the counts of its `Arc` it fills a block of 160 bytes of the allocator; the next is one of 192.
const _: () = assert!(size_of::<Meters>() <= 144, "what is kept of a caller's limits has grown");

#[derive(Default)]
pub(super) struct Counts {
    /// Inline, since almost every tier has one limit of each kind: whoever reaches the meters has reached the counts.
    windows: SmallVec<[Measured; 1]>,
    slots: SmallVec<[Taken; 1]>,
    /// The table has forgotten these meters, for they were idle. Whoever still holds them must ask it again.
    retired: bool,
    /// Nobody's own: whoever finds no room spends from these.
    pub(super) is_common: bool,
}

pub(super) struct Measured {
    limit: u64,
    pub(super) window: Window,
    /// What it was last asked about; its length says when the window is idle.
    quota: Quota,
    /// What is held of it, if other gateways count it too. Apart, since most gateways are alone.
    pub(super) leased: Option<Box<Leased>>,
}

pub(super) struct Taken {
    limit: u64,
    /// In use on this node.
    pub(super) slots: u32,
    /// What is held for this and more, if other gateways count too. Apart, since most gateways are alone.
    pub(super) held: Option<Box<Held>>,
}

/// One concurrency slot, given back when it is dropped.
pub(super) struct Slot {
    meters: Arc<Meters>,
    limit: u64,
}

// === impl Meters ===

impl Meters {
    /// Those of nobody in particular.
    pub(super) fn common() -> Self {
        Self(Mutex::new(Counts { is_common: true, ..Counts::default() }))
    }

    /// The counts, unless the table has forgotten them.
    pub(super) fn lock(&self) -> Option<MutexGuard<'_, Counts>> {
        Some(self.0.lock()).filter(|counts| !counts.retired)
    }

    /// Does somebody have the counts just now?
    pub(super) fn is_locked(&self) -> bool {
        self.0.is_locked()
    }

    /// The counts, for the table, which knows whether it has forgotten them.
    pub(super) fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock()
    }

    /// Forgets what is idle. If that is everything, the meters are retired, and it says so.
    pub(super) fn retire(&self, now: Duration) -> bool {
        let mut counts = self.0.lock();
        counts.windows.retain(|measured| !measured.is_idle(now));
        counts.slots.retain(|taken| !taken.is_idle());
        counts.retired = counts.windows.is_empty() && counts.slots.is_empty();
        counts.retired
    }

    /// What somebody begins with who may have spent from these meters, which are shared, and now gets meters of its own: a
    /// copy of every window, so that it cannot spend twice. `None` while slots are in use: whose they are is not known, so
    /// nobody could give a copy of them back.
    pub(super) fn heir(&self, now: Duration) -> Option<Self> {
        let counts = self.0.lock();
        if counts.slots.iter().any(|taken| taken.slots > 0) {
            return None;
        }
        let windows =
            counts.windows.iter().filter(|measured| !measured.is_idle(now)).map(Measured::inherited).collect();
        Some(Self(Mutex::new(Counts { windows, ..Counts::default() })))
    }

    /// Gives back one unit that was spent at `spent_at`, and what it was taken `of`.
    pub(super) fn refund(&self, limit: u64, quota: &Quota, spent_at: Duration, of: Of) {
        if let Some(measured) = self.0.lock().find(limit) {
            measured.window.refund(*quota, spent_at, 1);
            match (of, &mut measured.leased) {
                (Of::Lease(end), Some(leased)) => leased.hand.put_back(end),
                (Of::Debt, Some(leased)) => leased.hand.disown(),
                (Of::Nothing, _) | (_, None) => {}
            }
        }
    }
}

// === impl Counts ===

impl Counts {
    /// Spends one unit of `limit`.
    pub(super) fn spend(&mut self, limit: u64, quota: &Quota, now: Duration) -> Spend {
        self.measured(limit, quota).window.spend(*quota, now, 1)
    }

    /// What is measured of `limit`, from now on by `quota`.
    pub(super) fn measured(&mut self, limit: u64, quota: &Quota) -> &mut Measured {
        let found = self.windows.iter().position(|measured| measured.limit == limit);
        let at = found.unwrap_or_else(|| {
            self.windows.push(Measured { limit, window: Window::default(), quota: *quota, leased: None });
            self.windows.len() - 1
        });
        let measured = &mut self.windows[at];
        measured.quota = *quota;
        measured
    }

    /// What has been measured of `limit`.
    pub(super) fn find(&mut self, limit: u64) -> Option<&mut Measured> {
        self.windows.iter_mut().find(|measured| measured.limit == limit)
    }

    /// What [`Self::spend`] would answer.
    pub(super) fn peek(&self, limit: u64, quota: &Quota, now: Duration) -> Option<Spend> {
        let measured = self.windows.iter().find(|measured| measured.limit == limit)?;
        Some(measured.window.peek(*quota, now, 1))
    }

    /// How many requests wait for an answer about `limit`.
    pub(super) fn waiting(&mut self, limit: u64) -> Option<&mut u32> {
        let leased = self.windows.iter_mut().find(|measured| measured.limit == limit);
        if let Some(leased) = leased.and_then(|measured| measured.leased.as_mut()) {
            return Some(&mut leased.waiting);
        }
        let taken = self.slots.iter_mut().find(|taken| taken.limit == limit)?;
        taken.held.as_mut().map(|held| &mut held.waiting)
    }

    /// What is taken of `limit`.
    pub(super) fn taken(&mut self, limit: u64) -> &mut Taken {
        let found = self.slots.iter().position(|taken| taken.limit == limit);
        let at = found.unwrap_or_else(|| {
            self.slots.push(Taken { limit, slots: 0, held: None });
            self.slots.len() - 1
        });
        &mut self.slots[at]
    }

    /// Takes one of `most` slots of `limit`, if one is free.
    pub(super) fn take(&mut self, limit: u64, most: u32) -> bool {
        let taken = self.taken(limit);
        let free = taken.slots < most;
        taken.slots += u32::from(free);
        free
    }
}

impl Measured {
    fn is_idle(&self, now: Duration) -> bool {
        self.window.is_idle(self.quota, now) && self.leased.as_ref().is_none_or(|leased| leased.is_idle(now))
    }

    /// The same for somebody else, but for what is held, which can be spent only once.
    fn inherited(&self) -> Self {
        Self { limit: self.limit, window: self.window.clone(), quota: self.quota, leased: None }
    }
}

// === impl Taken ===

impl Taken {
    fn is_idle(&self) -> bool {
        self.slots == 0 && self.held.as_ref().is_none_or(|held| held.is_idle())
    }

    fn give_back(&mut self) {
        self.slots = self.slots.saturating_sub(1);
        if let Some(held) = &mut self.held {
            held.freed(self.slots);
        }
    }
}

// === impl Slot ===

impl Slot {
    /// The slot of `limit` that has been taken of `meters`.
    pub(super) fn of(meters: Arc<Meters>, limit: u64) -> Self {
        Self { meters, limit }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // Meters with slots in use are never retired, so these are still those that the slot was taken of.
        if let Some(taken) = self.meters.0.lock().slots.iter_mut().find(|taken| taken.limit == self.limit) {
            taken.give_back();
        }
    }
}
