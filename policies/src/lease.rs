//! Leases: several nodes spend one quota without asking each other for every request (DESIGN §4, `docs/decisions/0007`).
//!
//! A node asks for units with an [`Ask`]; whoever keeps the quota's [`Ledger`] answers with an [`Answer`]; the node spends what
//! it was granted from its [`Hand`], in memory, until the lease ends:
//!
//! ```text
//!   node    asks ├────────────── life L, on the node's clock ──────────────┤ ends: what is unspent is lost
//!                    └► ledger grants at g                  gives back ──┘
//!                       g counts until the end of its sub-window, and then for w + w/1024 + L
//! ```
//!
//! Units granted at *g* are spent within [*g*, *g* + L], since the node counts from before it asked. What is spent within any
//! interval of length w was therefore granted within one of length w + L, and the ledger never grants more than the quota within
//! that. No two clocks need agree on the time; they may differ in speed by 1/1024. A node that dies, and an answer that is lost,
//! lose their units: the error is on the strict side.
//!
//! Left to others: when to ask, and what carries the words (the gateway; there the ledger is a script in Redis, which a test holds
//! to the one here).

mod hand;
mod ledger;

use std::time::Duration;

pub use self::hand::{Draw, Hand};
pub use self::ledger::Ledger;
use crate::Quota;

/// What every lease of a quota is bound to. Microseconds, as Redis tells the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The quota.
    pub units: u32,
    /// Its window.
    pub window: u64,
    /// How long a lease lives.
    pub life: u64,
}

/// What a node asks for, and what it has to tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ask {
    /// Units for requests that wait.
    pub need: u32,
    /// Units for requests that are expected.
    pub ahead: u32,
    /// Units that it has not spent yet.
    pub held: u32,
    /// Units that it let through without a lease while there was nobody to ask.
    pub debt: u32,
    /// Units that it will not spend.
    pub back: Option<Back>,
}

/// Units that go back to where they came from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Back {
    /// The memory they came from.
    pub epoch: u64,
    /// The sub-window they came from.
    pub slice: u64,
    /// How many.
    pub units: u32,
}

/// What the ledger says to an [`Ask`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Answer {
    /// Which memory this is: another one knows nothing of units granted before.
    pub epoch: u64,
    /// The sub-window that the grant stands in.
    pub slice: u64,
    /// Units granted.
    pub granted: u32,
    /// Units left after that.
    pub left: u32,
    /// Microseconds until one comes back, if none is left.
    pub wait: u64,
    /// Microseconds until the ledger has existed for a whole window. Until then it may have forgotten, and grants nothing.
    pub absent: u64,
    /// Units that a debt has brought beyond the quota.
    pub over: u32,
}

/// No lease lives longer: so long may units be out of reach of other nodes.
const LONGEST_LIFE: u64 = 1_000_000;
/// Nor longer than this part of its window, or a caller near its quota would miss what others hold.
const LIVES: u64 = 32;
/// Sub-windows of a window, as in [`crate::window`].
const SLICES: u64 = 64;
/// By how much the speeds of two clocks may differ; what disciplines clocks slews them by half of it at most.
pub(crate) const DRIFT: u64 = 1024;
/// At most this part of a quota is in nodes' hands for requests that have not come: it must stay well below the tenth that
/// callers keep who are never to be refused.
const AHEAD: u32 = 16;

/// What each node may let through ahead of leases, where all of them may by so many units. Of a number of nodes that nobody knows there is
/// no part.
#[must_use]
pub fn part_of(max_overshoot: u32, nodes: Option<u32>) -> u32 {
    nodes.map_or(0, |nodes| max_overshoot / nodes.max(1))
}

/// What each node lets through of a limit by itself, while there is nobody to ask. One at least: of a limit below the number of nodes whoever is
/// under it would otherwise be refused for as long as that lasts.
#[must_use]
pub fn share_of(limit: u32, nodes: u32) -> u32 {
    (limit / nodes.max(1)).max(1)
}

// === impl Terms ===

impl Terms {
    /// Those of `quota`.
    #[must_use]
    pub fn of(quota: Quota) -> Self {
        let window = u64::try_from(quota.window.as_micros()).unwrap_or(u64::MAX / SLICES);
        Self { units: quota.units, window, life: LONGEST_LIFE.min(window / LIVES) }
    }

    /// How long a lease lives, on its node's clock from before it was asked for.
    #[must_use]
    pub const fn life(self) -> Duration {
        Duration::from_micros(self.life)
    }

    /// The length of a sub-window.
    #[must_use]
    pub const fn slice(self) -> u64 {
        self.window.div_ceil(SLICES)
    }

    /// How long units count after the end of the sub-window that they were granted in.
    #[must_use]
    pub const fn keep(self) -> u64 {
        self.window + self.window.div_ceil(DRIFT) + self.life
    }

    /// Units that all nodes together may hold for requests that have not come.
    #[must_use]
    pub const fn most_ahead(self) -> u32 {
        self.units / AHEAD
    }
}

#[cfg(test)]
mod tests;
