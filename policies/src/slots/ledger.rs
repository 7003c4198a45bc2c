//! Who holds how many slots of one limit: the law that the script in Redis obeys, in Rust.

use std::collections::BTreeMap;

use super::{Answer, Ask, keep, most_spare};

/// The ledger of one caller and one limit, and the memory that it lives in.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    /// Since when there is something in this memory.
    birth: Option<u64>,
    nodes: BTreeMap<u64, Holder>,
}

/// What one node holds, by its latest word.
#[derive(Debug, Clone, Copy)]
struct Holder {
    number: u64,
    held: u32,
    spare: u32,
    until: u64,
}

// === impl Ledger ===

impl Ledger {
    /// One whose memory has been there for ever.
    #[cfg(test)]
    pub(super) fn old() -> Self {
        Self { birth: Some(0), ..Self::default() }
    }

    /// Answers `node` at `now`, in microseconds. `most` slots may be held at once.
    ///
    /// What a node holds it is never denied, even if that is more than there are: it has been given them, by a memory that was lost
    /// or before it was out of reach for too long.
    pub fn answer(&mut self, most: u32, node: u64, now: u64, ask: &Ask) -> Answer {
        let birth = *self.birth.get_or_insert(now);
        self.nodes.retain(|_, holder| holder.until > now);
        if self.nodes.get(&node).is_some_and(|holder| holder.number >= ask.number) {
            return Answer::default();
        }
        let others = || self.nodes.iter().filter(|(other, _)| **other != node).map(|(_, holder)| holder);
        let free = most.saturating_sub(others().map(|other| other.held).sum()).saturating_sub(ask.held);
        let room = most_spare(most).saturating_sub(others().map(|other| other.spare).sum()).saturating_sub(ask.spare);
        let absent = (birth + keep()).saturating_sub(now);
        let granted = if absent > 0 { 0 } else { free.min(ask.need + ask.more.min(room)) };
        let holder = Holder {
            number: ask.number,
            held: ask.held + granted,
            spare: ask.spare + granted.saturating_sub(ask.need),
            until: now + keep(),
        };
        self.nodes.insert(node, holder);
        Answer { granted, absent }
    }
}
