//! When did what I know about this id last change? The guard of every cached identity.
//!
//! DESIGN §5: *a load that began before a change is never stored after it.* A load notes [`Stamps::now`] before its
//! query; whatever it found counts only while no change of its ids has been applied since. So a cached entry needs no
//! index to be found by account, session or key: it stays where it is and is simply no longer believed.
//! What the changes are and where they come from is [`crate::feed`]'s business.

use std::sync::atomic::{AtomicU64, Ordering};

use uuid::Uuid;

/// Slots of the table: 64 Ki × 8 bytes = 512 KiB. Two ids that share a slot cost each other a needless reload when one
/// of them changes, never a stale answer.
const SLOTS: usize = 1 << 16;

/// A moment in the order in which this process applied changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

/// The last change applied to each id, folded into a table of fixed size.
pub(crate) struct Stamps {
    clock: AtomicU64,
    /// How many changes stand in the table. Counted after they do, so whoever reads a count and then the table sees them all.
    applied: AtomicU64,
    /// What was learnt before this moment is not believed, whatever its id.
    floor: AtomicU64,
    slots: Box<[AtomicU64]>,
}

// === impl Moment ===

impl Moment {
    /// Before everything: what was learnt then is void after the first change of its ids.
    pub(crate) const NEVER: Self = Self(0);
}

// === impl Stamps ===

impl Stamps {
    pub(crate) fn new() -> Self {
        Self {
            clock: AtomicU64::new(0),
            applied: AtomicU64::new(0),
            floor: AtomicU64::new(0),
            slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// To be taken *before* the query whose result it guards.
    pub(crate) fn now(&self) -> Moment {
        Moment(self.clock.load(Ordering::SeqCst))
    }

    /// A number that is another one after every change. What held when it was read *before* asking
    /// [`Self::unchanged_since`] holds for as long as it stays the same.
    pub(crate) fn applied(&self) -> u64 {
        self.applied.load(Ordering::Acquire)
    }

    /// Does what was learnt at `learnt` about `ids` still hold?
    pub(crate) fn unchanged_since<const N: usize>(&self, learnt: Moment, ids: [Uuid; N]) -> bool {
        learnt.0 >= self.floor.load(Ordering::Acquire)
            && ids.iter().all(|id| learnt.0 >= self.slot(*id).load(Ordering::Acquire))
    }

    /// A change of `id` has been committed: everything learnt about it up to here is void.
    pub(crate) fn changed(&self, id: Uuid) {
        let moment = self.clock.fetch_add(1, Ordering::SeqCst) + 1;
        self.slot(id).fetch_max(moment, Ordering::SeqCst);
        self.applied.fetch_add(1, Ordering::SeqCst);
    }

    /// Changes may have been missed: everything learnt up to here is void.
    pub(crate) fn all_changed(&self) {
        let moment = self.clock.fetch_add(1, Ordering::SeqCst) + 1;
        self.floor.fetch_max(moment, Ordering::SeqCst);
        self.applied.fetch_add(1, Ordering::SeqCst);
    }

    fn slot(&self, id: Uuid) -> &AtomicU64 {
        // Version 7 ids begin with the time; the low half is random (RFC 9562 §5.7) and spreads by itself.
        &self.slots[(id.as_u128() as usize) % SLOTS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Uuid = Uuid::from_u128(1);
    const B: Uuid = Uuid::from_u128(2);

    #[test]
    fn what_was_learnt_before_a_change_is_not_believed_after_it() {
        let stamps = Stamps::new();
        let learnt = stamps.now();
        assert!(stamps.unchanged_since(learnt, [A, B]));
        stamps.changed(B);
        assert!(!stamps.unchanged_since(learnt, [A, B]));
        assert!(stamps.unchanged_since(learnt, [A, A]), "another id is not touched");
        assert!(stamps.unchanged_since(stamps.now(), [A, B]), "a load begun after the change counts");
    }

    #[test]
    fn a_load_in_flight_while_the_change_lands_is_dead_on_arrival() {
        let stamps = Stamps::new();
        stamps.changed(A);
        let begun = stamps.now();
        stamps.changed(A);
        assert!(!stamps.unchanged_since(begun, [A, A]));
    }

    #[test]
    fn a_resync_voids_everything_learnt_before_it() {
        let stamps = Stamps::new();
        let learnt = stamps.now();
        stamps.all_changed();
        assert!(!stamps.unchanged_since(learnt, [A, B]));
        assert!(stamps.unchanged_since(stamps.now(), [A, B]));
    }

    #[test]
    fn every_change_gives_another_number() {
        let stamps = Stamps::new();
        let mut numbers = vec![stamps.applied()];
        stamps.changed(A);
        numbers.push(stamps.applied());
        stamps.all_changed();
        numbers.push(stamps.applied());
        stamps.changed(A);
        numbers.push(stamps.applied());
        assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
    }
}
