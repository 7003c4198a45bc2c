//! Concurrency slots that several nodes share (DESIGN §4, `docs/decisions/0007`).
//!
//! A node holds slots for the requests and streams in flight there, and a few to spare, so that most requests ask nobody. With an
//! [`Ask`] it says what it holds and what it needs; whoever keeps the [`Ledger`] answers with an [`Answer`]. What a node holds
//! counts until [`LIFE`] after it was heard last: so it asks again in time for as long as it holds anything, and the slots of one that
//! died are free within 10 s.
//!
//! A node gives up slots before it says so, and takes them only after it was told so; its words are numbered, and one that arrives
//! after a later one counts for nothing. So the ledger never counts less than a node holds, whatever is lost or late.
//!
//! Left to others: when to ask, and what carries the words (the gateway; there the ledger is a script in Redis, which a test holds
//! to the one here).

mod hand;
mod ledger;

use std::time::Duration;

pub use self::hand::{Hand, Take};
pub use self::ledger::Ledger;

/// How long a node that is not heard keeps what it holds, on its own clock from before it asked.
pub const LIFE: Duration = Duration::from_secs(8);

/// What a node says, and asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ask {
    /// Orders this node's words: microseconds of its clock.
    pub number: u64,
    /// Slots that it holds.
    pub held: u32,
    /// Those of them that nothing uses now.
    pub spare: u32,
    /// Slots for requests that wait.
    pub need: u32,
    /// Slots to spare besides.
    pub more: u32,
}

/// What the ledger says to an [`Ask`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Answer {
    /// Slots granted.
    pub granted: u32,
    /// Microseconds until the ledger has existed for so long that nobody holds what it does not know of. Until then it grants
    /// nothing.
    pub absent: u64,
}

/// So many microseconds the ledger counts what a node holds: [`LIFE`], and by how much two clocks may differ in speed.
#[must_use]
pub const fn keep() -> u64 {
    let life = LIFE.as_micros() as u64;
    life + life.div_ceil(super::lease::DRIFT)
}

/// Slots of `most` that all nodes together may hold unused: so few that a caller who uses nine tenths is never refused for them.
#[must_use]
pub const fn most_spare(most: u32) -> u32 {
    match most {
        2..20 => 1,
        _ => most / 10,
    }
}

#[cfg(test)]
mod tests;
