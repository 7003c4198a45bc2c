//! Whose meters are where: sharded, bounded, and swept of idle ones.
//!
//! Live meters are never thrown away, since that would hand their owner a second quota: when a shard is full of live ones,
//! newcomers share meters (`docs/decisions/0003`). What is counted and how is [`super::meters`]'.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use prometheus::IntCounter;

use super::meters::{Counts, Meters};

/// Shards per table: many more than the threads of a machine, so that two requests seldom meet.
pub(super) const SHARDS: usize = 64;
/// A full shard is swept at most this often, or a flood of newcomers would make each of them pay for a sweep.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Whom meters belong to: an id or an address, as bytes. Each has a table of its own.
pub(super) type Key = [u8; 16];

pub(super) struct Table {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    shard_capacity: usize,
    overflowed: IntCounter,
}

struct Shard {
    own: HashMap<Key, Arc<Meters>>,
    /// What newcomers spend from while there is no room.
    shared: Arc<Meters>,
    swept_at: Duration,
}

/// Meters to spend from.
pub(super) enum Found {
    Own(Arc<Meters>),
    /// Not to be kept: there may be room the next time.
    Shared(Arc<Meters>),
}

// === impl Table ===

impl Table {
    /// Room for `capacity` subjects.
    pub(super) fn new(capacity: usize, overflowed: &IntCounter) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::new(Shard::new())).collect(),
            hasher: RandomState::new(),
            shard_capacity: capacity.div_ceil(SHARDS),
            overflowed: overflowed.clone(),
        }
    }

    /// Runs `act` on the counts of `key`, made if need be; on the shared ones if there is no room. All of it under the
    /// shard's lock, so that nobody spends from what is shared while it is being inherited.
    pub(super) fn with<T>(&self, key: Key, now: Duration, act: impl FnOnce(&mut Counts) -> T) -> (Found, T) {
        let mut shard = self.shard(key).lock();
        let found = shard.find(key, self.shard_capacity, now);
        if matches!(found, Found::Shared(_)) {
            self.overflowed.inc();
        }
        let done = act(&mut found.meters().counts());
        (found, done)
    }

    /// The meters that `key` would spend from now, without making any.
    pub(super) fn look(&self, key: Key) -> Arc<Meters> {
        let shard = self.shard(key).lock();
        Arc::clone(shard.own.get(&key).unwrap_or(&shard.shared))
    }

    /// Forgets what is idle, a part at a time: a worker that serves requests does this between them.
    pub(super) async fn sweep(&self, now: Duration) {
        for shard in &self.shards {
            {
                let mut shard = shard.lock();
                shard.sweep(now);
                let room = shard.own.len() * 2;
                shard.own.shrink_to(room);
            }
            tokio::task::yield_now().await;
        }
    }

    /// Subjects that have meters of their own.
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().own.len()).sum()
    }

    fn shard(&self, key: Key) -> &Mutex<Shard> {
        &self.shards[self.hasher.hash_one(key) as usize % SHARDS]
    }
}

// === impl Shard ===

impl Shard {
    fn new() -> Self {
        Self { own: HashMap::new(), shared: Arc::new(Meters::common()), swept_at: Duration::ZERO }
    }

    fn find(&mut self, key: Key, capacity: usize, now: Duration) -> Found {
        if let Some(meters) = self.own.get(&key) {
            return Found::Own(Arc::clone(meters));
        }
        if self.has_room(capacity, now)
            && let Some(heir) = self.shared.heir(now)
        {
            return Found::Own(Arc::clone(self.own.entry(key).or_insert(Arc::new(heir))));
        }
        Found::Shared(Arc::clone(&self.shared))
    }

    fn has_room(&mut self, capacity: usize, now: Duration) -> bool {
        if self.own.len() >= capacity && now >= self.swept_at + SWEEP_EVERY {
            self.sweep(now);
        }
        self.own.len() < capacity
    }

    fn sweep(&mut self, now: Duration) {
        self.swept_at = now;
        self.own.retain(|_, meters| !meters.retire(now));
    }
}

// === impl Found ===

impl Found {
    pub(super) fn into_meters(self) -> Arc<Meters> {
        match self {
            Self::Own(meters) | Self::Shared(meters) => meters,
        }
    }

    fn meters(&self) -> &Meters {
        match self {
            Self::Own(meters) | Self::Shared(meters) => meters,
        }
    }
}

#[cfg(test)]
mod tests {
    use policies::{Quota, Spend};

    use super::{super::meters::Slot, *};

    const LIMIT: u64 = 1;

    fn table(capacity: usize) -> Table {
        Table::new(capacity, &IntCounter::new("overflow", "overflow").expect("a counter"))
    }

    /// Spends one of two units a minute for `key` at second `at`. Says whether it was admitted, and from shared meters.
    fn spend(table: &Table, key: Key, at: u64) -> (bool, bool) {
        let (quota, now) = (Quota { units: 2, window: Duration::from_mins(1) }, Duration::from_secs(at));
        let (found, spend) = table.with(key, now, |counts| counts.spend(LIMIT, &quota, now));
        (matches!(spend, Spend::Admitted { .. }), matches!(found, Found::Shared(_)))
    }

    /// Takes the one slot for `key` at second `at`. Says from whose meters, if it was free.
    fn take(table: &Table, key: Key, at: u64) -> Option<Found> {
        let (found, taken) = table.with(key, Duration::from_secs(at), |counts| counts.take(LIMIT, 1));
        taken.then_some(found)
    }

    /// A table whose shards have room for one each, one of them taken from second 10 on, and a newcomer to that shard.
    fn crowded() -> (Table, Key) {
        let table = table(SHARDS);
        let shard = |key| std::ptr::from_ref(table.shard(key));
        // Where keys go is random: among a few hundred there would now and then be no neighbour.
        let mut keys = (1..u128::from(u16::MAX)).map(u128::to_be_bytes);
        let neighbour = keys.find(|key| shard(*key) == shard([0; 16])).expect("a neighbour");
        assert_eq!(spend(&table, [0; 16], 10), (true, false));
        (table, neighbour)
    }

    #[test]
    fn who_spent_from_shared_meters_goes_on_from_there_when_there_is_room() {
        let (table, newcomer) = crowded();
        assert_eq!(spend(&table, newcomer, 40), (true, true));
        // A minute and a slice after second 10 its owner is idle; the unit of second 40 still counts.
        assert_eq!(spend(&table, newcomer, 72), (true, false));
        assert_eq!(spend(&table, newcomer, 73), (false, false), "the third of two");
        assert_eq!(spend(&table, newcomer, 102), (true, false), "the unit of second 40 has come back");
    }

    #[test]
    fn who_may_hold_a_shared_slot_goes_on_sharing_until_none_is_in_use() {
        let (table, newcomer) = crowded();
        let Some(Found::Shared(shared)) = take(&table, newcomer, 40) else { panic!("there is no room") };
        let slot = Slot::of(shared, LIMIT);
        assert!(take(&table, newcomer, 72).is_none(), "there is room, but the shared slot is in use");
        drop(slot);
        assert!(matches!(take(&table, newcomer, 72), Some(Found::Own(_))));
    }

    #[tokio::test]
    async fn meters_that_were_forgotten_say_so() {
        let table = table(SHARDS);
        assert_eq!(spend(&table, [7; 16], 1), (true, false));
        let meters = table.look([7; 16]);
        table.sweep(Duration::from_secs(30)).await;
        assert!(meters.lock().is_some(), "what counts is kept");
        table.sweep(Duration::from_mins(5)).await;
        assert!(meters.lock().is_none());
        assert_eq!(table.len(), 0);
        assert_eq!(spend(&table, [7; 16], 300), (true, false));
    }
    #[tokio::test]
    async fn a_quota_that_has_become_longer_is_remembered_for_longer() {
        let table = table(SHARDS);
        assert_eq!(spend(&table, [7; 16], 1), (true, false));
        let longer = Quota { units: 2, window: Duration::from_hours(1) };
        let at = Duration::from_secs(2);
        let (_, spend) = table.with([7; 16], at, |counts| counts.spend(LIMIT, &longer, at));
        assert!(matches!(spend, Spend::Admitted { .. }));
        table.sweep(Duration::from_mins(5)).await;
        assert_eq!(table.len(), 1);
    }
}
