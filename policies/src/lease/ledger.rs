//! What has been granted of one quota, to all nodes: the law that the script in Redis obeys, in Rust.
//!
//! Time is the ledger's own and an argument. If it steps back, what was granted before counts for longer: the strict side. A step
//! forward forgets; whoever keeps the time of a Redis must slew it.

use std::collections::BTreeMap;

use super::{Answer, Ask, Back, Terms};

/// The ledger of one caller and one quota, and the memory that it lives in.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    /// Which memory this is, and since when there is something in it.
    mark: Option<(u64, u64)>,
    /// Units by sub-window.
    slices: BTreeMap<u64, u64>,
    /// Units that a node holds, and until when.
    nodes: BTreeMap<u64, (u32, u64)>,
}

// === impl Ledger ===

impl Ledger {
    /// Answers `node` at `now`. A memory in which there is nothing becomes the memory `fresh`.
    pub fn answer(&mut self, terms: Terms, node: u64, fresh: u64, now: u64, ask: &Ask) -> Answer {
        let (epoch, birth) = *self.mark.get_or_insert((fresh, now));
        if let Some(back) = ask.back.filter(|back| back.epoch == epoch) {
            self.take_back(back);
        }
        self.slices.retain(|slice, _| end(terms, *slice) > now);
        self.nodes.retain(|_, (_, until)| *until > now);
        let used = self.slices.values().sum::<u64>() + u64::from(ask.debt);
        let absent = (birth + terms.slice() + terms.keep()).saturating_sub(now);
        let left = u32::try_from(u64::from(terms.units).saturating_sub(used)).unwrap_or(u32::MAX);
        let others: u32 = self.nodes.iter().filter(|(other, _)| **other != node).map(|(_, (held, _))| held).sum();
        let free = terms.most_ahead().saturating_sub(others).saturating_sub(ask.held);
        let granted = if absent > 0 { 0 } else { left.min(ask.need.saturating_add(ask.ahead.min(free))) };
        self.enter(terms, node, now, granted, ask);
        Answer {
            epoch,
            slice: now / terms.slice(),
            granted,
            left: left - granted,
            wait: if left == granted { self.until_one_is_back(terms, now) } else { 0 },
            absent,
            over: u32::try_from(used.saturating_sub(terms.units.into())).unwrap_or(u32::MAX).min(ask.debt),
        }
    }

    /// From their own sub-window only: taken from another one, the rest would be forgotten too early.
    fn take_back(&mut self, back: Back) {
        if let Some(units) = self.slices.get_mut(&back.slice) {
            *units = units.saturating_sub(back.units.into());
        }
        self.slices.retain(|_, units| *units > 0);
    }

    fn enter(&mut self, terms: Terms, node: u64, now: u64, granted: u32, ask: &Ask) {
        let counted = u64::from(granted) + u64::from(ask.debt);
        if counted > 0 {
            *self.slices.entry(now / terms.slice()).or_default() += counted;
        }
        let held = ask.held + granted;
        if held > 0 {
            self.nodes.insert(node, (held, now + terms.life));
        } else {
            self.nodes.remove(&node);
        }
    }

    fn until_one_is_back(&self, terms: Terms, now: u64) -> u64 {
        let mut used: u64 = self.slices.values().sum();
        for (slice, units) in &self.slices {
            used -= units;
            if used < terms.units.into() {
                return end(terms, *slice) - now;
            }
        }
        0
    }
}

/// When units of a sub-window count no longer.
const fn end(terms: Terms, slice: u64) -> u64 {
    (slice + 1) * terms.slice() + terms.keep()
}
