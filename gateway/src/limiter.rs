//! How much: spends one request against every limit of its permit, in memory, all or nothing.
//!
//! The algorithm of a window is [`policies::Window`]; this file holds the table of them: sharded, bounded, and swept of
//! idle counters. A live counter is never thrown away, since that would hand its owner a second quota: when a shard is
//! full of live counters, newcomers share one counter per limit and shard. One who gets a counter of
//! its own later begins it afresh: only then can somebody be admitted twice within a window. Addresses, which strangers
//! can mint at will, live in a table of their own so that they cannot crowd out people.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use policies::{Kind, Limit, Per, Permit, Quota, Refusal, Spend, Window};
use prometheus::IntCounter;

/// Shards per table: many more than the threads of a machine, so that two requests seldom meet.
const SHARDS: usize = 64;
/// Who spends when a shard is full. No id and no address has this number.
const OVERFLOW: u128 = u128::MAX;

/// The limiter. Time is monotonic and counted from its making: a step of the wall clock frees and blocks nobody.
pub(crate) struct Limiter {
    people: Table,
    addresses: Table,
    epoch: Instant,
}

/// What a request has spent: the state of its tightest request limit, and the concurrency slots it holds.
#[derive(Default)]
pub(crate) struct Receipt {
    pub(crate) tightest: Option<Standing>,
    slots: Vec<Slot>,
}

/// The state of one request limit after a request, for the `RateLimit` fields.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) name: Box<str>,
    pub(crate) quota: Quota,
    pub(crate) remaining: u32,
    /// Until units come back.
    pub(crate) reset: Duration,
}

/// A refusal by a limit, with the state of that limit if it counts requests.
pub(crate) struct Exceeded {
    pub(crate) refusal: Refusal,
    pub(crate) standing: Option<Standing>,
}

/// One counter: a limit and whom it counts.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Counter {
    limit: u64,
    subject: Subject,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Subject {
    /// An account, a tenant or a key, by its id.
    Person(u128),
    /// A client address.
    Address(u128),
}

/// Where a counter is kept. The shared counter of a full shard stays in that shard, whatever its own hash says.
#[derive(Clone, Copy)]
struct Place {
    shard: usize,
    counter: Counter,
}

enum Meter {
    Window(Window, Quota),
    Slots(u32),
}

#[derive(Default)]
struct Shard {
    meters: HashMap<Counter, Meter>,
    swept_at: Duration,
}

struct Table {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    shard_capacity: usize,
    overflowed: IntCounter,
}

/// One concurrency slot, given back when it is dropped.
struct Slot {
    limiter: Arc<Limiter>,
    place: Place,
}

// === impl Limiter ===

impl Limiter {
    /// A limiter of at most `capacity` counters for people and as many for addresses.
    pub(crate) fn new(capacity: usize, overflowed: &IntCounter) -> Self {
        Self {
            people: Table::new(capacity, overflowed),
            addresses: Table::new(capacity, overflowed),
            epoch: Instant::now(),
        }
    }

    /// Spends one request on every limit of the permit, or on none.
    pub(crate) fn spend(self: &Arc<Self>, permit: &Permit, client: IpAddr) -> Result<Receipt, Exceeded> {
        let now = self.epoch.elapsed();
        let mut receipt = Receipt::default();
        let mut spent: Vec<(Place, &Quota)> = Vec::new();
        for limit in permit.limits() {
            let counter = Counter { limit: limit.id, subject: subject(limit.per, permit, client) };
            let outcome = match &limit.kind {
                Kind::Requests(quota) => {
                    self.spend_unit(limit, counter, quota, now, &mut receipt).map(|place| spent.push((place, quota)))
                }
                Kind::Concurrent(most) => self.take_slot(limit, counter, *most, now, &mut receipt),
            };
            if let Err(exceeded) = outcome {
                for (place, quota) in spent {
                    self.table(place.counter).refund(place, quota, now);
                }
                return Err(exceeded);
            }
        }
        Ok(receipt)
    }

    /// Spends one unit of `quota` for an address outside any permit.
    pub(crate) fn spend_address(&self, limit: u64, quota: &Quota, client: IpAddr) {
        let counter = Counter { limit, subject: address(client) };
        // What is left does not matter here: who has nothing left is refused before the next one.
        let _ = self.addresses.spend(counter, quota, self.epoch.elapsed());
    }

    /// How long an address must wait before it could spend, if it must.
    pub(crate) fn address_exhausted(&self, limit: u64, quota: &Quota, client: IpAddr) -> Option<Duration> {
        let counter = Counter { limit, subject: address(client) };
        self.addresses.exhausted(counter, quota, self.epoch.elapsed())
    }

    /// Forgets counters that no longer count anything. Called now and then by a background task.
    pub(crate) fn sweep(&self) {
        let now = self.epoch.elapsed();
        for shard in self.shards() {
            shard.lock().sweep(now);
        }
    }

    /// Counters held.
    pub(crate) fn len(&self) -> usize {
        self.shards().map(|shard| shard.lock().meters.len()).sum()
    }

    fn shards(&self) -> impl Iterator<Item = &Mutex<Shard>> {
        self.people.shards.iter().chain(&*self.addresses.shards)
    }

    fn table(&self, counter: Counter) -> &Table {
        match counter.subject {
            Subject::Person(_) => &self.people,
            Subject::Address(_) => &self.addresses,
        }
    }

    fn spend_unit(
        &self,
        limit: &Limit,
        counter: Counter,
        quota: &Quota,
        now: Duration,
        receipt: &mut Receipt,
    ) -> Result<Place, Exceeded> {
        let standing = |remaining, reset| Standing { name: limit.name.clone(), quota: *quota, remaining, reset };
        let (place, spend) = self.table(counter).spend(counter, quota, now);
        match spend {
            Spend::Admitted { remaining, reset } => {
                if receipt.tightest.as_ref().is_none_or(|tightest| remaining < tightest.remaining) {
                    receipt.tightest = Some(standing(remaining, reset));
                }
                Ok(place)
            }
            Spend::Refused { remaining, reset, retry_after } => Err(Exceeded {
                refusal: Refusal::RateLimited { limit: limit.name.clone(), retry_after },
                standing: Some(standing(remaining, reset)),
            }),
        }
    }

    fn take_slot(
        self: &Arc<Self>,
        limit: &Limit,
        counter: Counter,
        most: u32,
        now: Duration,
        receipt: &mut Receipt,
    ) -> Result<(), Exceeded> {
        let place = self.table(counter).take_slot(counter, most, now).ok_or_else(|| Exceeded {
            refusal: Refusal::TooManyConcurrent { limit: limit.name.clone() },
            standing: None,
        })?;
        receipt.slots.push(Slot { limiter: Arc::clone(self), place });
        Ok(())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.limiter.table(self.place.counter).give_back_slot(self.place);
    }
}

// === impl Table ===

impl Table {
    fn new(capacity: usize, overflowed: &IntCounter) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            shard_capacity: capacity.div_ceil(SHARDS),
            overflowed: overflowed.clone(),
        }
    }

    fn spend(&self, counter: Counter, quota: &Quota, now: Duration) -> (Place, Spend) {
        self.with(
            counter,
            now,
            || Meter::Window(Window::default(), *quota),
            |place, meter| match meter {
                Meter::Window(window, known) => {
                    *known = *quota;
                    (place, window.spend(*quota, now, 1))
                }
                // The id of a limit holds its kind: a counter of slots is never asked for units.
                Meter::Slots(_) => {
                    (place, Spend::Refused { remaining: 0, reset: quota.window, retry_after: quota.window })
                }
            },
        )
    }

    fn refund(&self, place: Place, quota: &Quota, now: Duration) {
        if let Some(Meter::Window(window, _)) = self.shards[place.shard].lock().meters.get_mut(&place.counter) {
            window.refund(*quota, now, 1);
        }
    }

    fn exhausted(&self, counter: Counter, quota: &Quota, now: Duration) -> Option<Duration> {
        let mut shard = self.shards[self.home(counter)].lock();
        let counter = if shard.meters.contains_key(&counter) { counter } else { counter.shared() };
        match shard.meters.get_mut(&counter)? {
            Meter::Window(window, _) => match window.peek(*quota, now, 1) {
                Spend::Admitted { .. } => None,
                Spend::Refused { retry_after, .. } => Some(retry_after),
            },
            Meter::Slots(_) => None,
        }
    }

    fn take_slot(&self, counter: Counter, most: u32, now: Duration) -> Option<Place> {
        self.with(
            counter,
            now,
            || Meter::Slots(0),
            |place, meter| match meter {
                Meter::Slots(taken) if *taken < most => {
                    *taken += 1;
                    Some(place)
                }
                Meter::Slots(_) | Meter::Window(..) => None,
            },
        )
    }

    fn give_back_slot(&self, place: Place) {
        let mut shard = self.shards[place.shard].lock();
        if let Some(Meter::Slots(taken)) = shard.meters.get_mut(&place.counter) {
            *taken = taken.saturating_sub(1);
            if *taken == 0 {
                shard.meters.remove(&place.counter);
            }
        }
    }

    /// Runs `act` on the counter's meter, made if need be; on the limit's shared counter if there is no room.
    fn with<T>(
        &self,
        counter: Counter,
        now: Duration,
        make: impl Fn() -> Meter,
        act: impl FnOnce(Place, &mut Meter) -> T,
    ) -> T {
        let place = Place { shard: self.home(counter), counter };
        let mut shard = self.shards[place.shard].lock();
        if let Some(meter) = shard.meters.get_mut(&counter) {
            return act(place, meter);
        }
        // A full shard is swept at most once a second, or a flood of newcomers would make each of them pay for a sweep.
        if shard.meters.len() >= self.shard_capacity && now >= shard.swept_at + Duration::from_secs(1) {
            shard.sweep(now);
        }
        let place = if shard.meters.len() < self.shard_capacity {
            place
        } else {
            self.overflowed.inc();
            Place { counter: counter.shared(), ..place }
        };
        act(place, shard.meters.entry(place.counter).or_insert_with(make))
    }

    fn home(&self, counter: Counter) -> usize {
        self.hasher.hash_one(counter) as usize % SHARDS
    }
}

// === impl Counter ===

impl Counter {
    /// Whom newcomers share a counter with when there is no room for one of their own.
    fn shared(self) -> Self {
        let subject = match self.subject {
            Subject::Person(_) => Subject::Person(OVERFLOW),
            Subject::Address(_) => Subject::Address(OVERFLOW),
        };
        Self { subject, ..self }
    }
}

// === impl Shard ===

impl Shard {
    fn sweep(&mut self, now: Duration) {
        self.swept_at = now;
        self.meters.retain(|_, meter| match meter {
            Meter::Window(window, quota) => !window.is_idle(*quota, now),
            Meter::Slots(taken) => *taken > 0,
        });
        self.meters.shrink_to(self.meters.len() * 2);
    }
}

/// Whom a limit counts for this request. A limit on people counts a stranger by address.
fn subject(per: Per, permit: &Permit, client: IpAddr) -> Subject {
    match (per, permit.principal()) {
        (Per::Ip, _) | (_, None) => address(client),
        (Per::User, Some(principal)) => person(principal.account.uuid()),
        (Per::Tenant, Some(principal)) => {
            person(principal.tenant.map_or(principal.account.uuid(), |tenant| tenant.uuid()))
        }
        (Per::Key, Some(principal)) => person(principal.grant.uuid()),
    }
}

fn person(id: uuid::Uuid) -> Subject {
    Subject::Person(id.as_u128())
}

/// An IPv4 address, or the /64 of an IPv6 address: what one customer of a provider gets (RFC 6177).
fn address(client: IpAddr) -> Subject {
    Subject::Address(match client.to_canonical() {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits() >> 64 << 64,
    })
}

#[cfg(test)]
mod tests;
