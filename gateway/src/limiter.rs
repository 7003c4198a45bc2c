//! How much: spends one request against every limit of its permit, in memory, all or nothing.
//!
//! The algorithm of a window is [`policies::Window`]; [`meters`] holds those of one caller, [`table`] knows whose are where.
//! A cached caller keeps its meters at hand ([`Own`]), so that its requests look nothing up. Addresses, which strangers can
//! mint at will, have a table of their own so that they cannot crowd out people.

mod meters;
mod table;

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use policies::{Kind, Limit, Per, Permit, Quota, Refusal, Spend};
use prometheus::IntCounter;
use smallvec::SmallVec;

use self::{
    meters::{Counts, Meters, Slot},
    table::{Found, Key, Table},
};

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
    /// Inline, since almost every tier has at most one limit of this kind.
    slots: SmallVec<[Slot; 1]>,
}

/// The state of one request limit after a request, for the `RateLimit` fields.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) name: Arc<str>,
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

/// Where a caller who is cached keeps its meters. Empty at first, and again after they were forgotten.
#[derive(Default)]
pub(crate) struct Own(Mutex<Option<Arc<Meters>>>);

/// Whom a limit counts.
#[derive(Clone, Copy)]
enum Subject<'a> {
    /// An account, which may have its meters at hand.
    Account(Key, Option<&'a Own>),
    /// A tenant or a key, by its id.
    Person(Key),
    /// A client address.
    Address(Key),
}

// === impl Limiter ===

impl Limiter {
    /// A limiter of at most `capacity` people and as many addresses.
    pub(crate) fn new(capacity: usize, overflowed: &IntCounter) -> Self {
        Self {
            people: Table::new(capacity, overflowed),
            addresses: Table::new(capacity, overflowed),
            epoch: Instant::now(),
        }
    }

    /// Spends one request on every limit of the permit, or on none. `own` are the meters of the permit's principal.
    pub(crate) fn spend(&self, permit: &Permit, client: IpAddr, own: Option<&Own>) -> Result<Receipt, Exceeded> {
        let now = self.epoch.elapsed();
        let mut receipt = Receipt::default();
        let mut spent: SmallVec<[_; 2]> = SmallVec::new();
        for limit in permit.limits() {
            let subject = subject(limit.per, permit, client, own);
            let outcome = match &limit.kind {
                Kind::Requests(quota) => self
                    .spend_unit(limit, subject, quota, now, &mut receipt)
                    .map(|meters| spent.push((meters, limit.id, quota))),
                Kind::Concurrent(most) => self.take_slot(limit, subject, *most, now, &mut receipt),
            };
            if let Err(exceeded) = outcome {
                for (meters, limit, quota) in spent {
                    meters.refund(limit, quota, now);
                }
                return Err(exceeded);
            }
        }
        Ok(receipt)
    }

    /// Spends one unit of `quota` for an address outside any permit.
    pub(crate) fn spend_address(&self, limit: u64, quota: &Quota, client: IpAddr) {
        let now = self.epoch.elapsed();
        // What is left does not matter here: who has nothing left is refused before the next one.
        let _ = self.with(address(client), now, |counts| counts.spend(limit, quota, now));
    }

    /// How long an address must wait before it could spend, if it must.
    pub(crate) fn address_exhausted(&self, limit: u64, quota: &Quota, client: IpAddr) -> Option<Duration> {
        let now = self.epoch.elapsed();
        let meters = self.addresses.look(network(client));
        match meters.lock()?.peek(limit, quota, now)? {
            Spend::Admitted { .. } => None,
            Spend::Refused { retry_after, .. } => Some(retry_after),
        }
    }

    /// Forgets what no longer counts anything. Called now and then by a background task.
    pub(crate) fn sweep(&self) {
        let now = self.epoch.elapsed();
        self.people.sweep(now);
        self.addresses.sweep(now);
    }

    /// People and addresses that are counted.
    pub(crate) fn len(&self) -> usize {
        self.people.len() + self.addresses.len()
    }

    fn spend_unit(
        &self,
        limit: &Limit,
        subject: Subject<'_>,
        quota: &Quota,
        now: Duration,
        receipt: &mut Receipt,
    ) -> Result<Arc<Meters>, Exceeded> {
        let standing = |remaining, reset| Standing { name: Arc::clone(&limit.name), quota: *quota, remaining, reset };
        let (meters, spend) = self.with(subject, now, |counts| counts.spend(limit.id, quota, now));
        match spend {
            Spend::Admitted { remaining, reset } => {
                if receipt.tightest.as_ref().is_none_or(|tightest| remaining < tightest.remaining) {
                    receipt.tightest = Some(standing(remaining, reset));
                }
                Ok(meters)
            }
            Spend::Refused { remaining, reset, retry_after } => Err(Exceeded {
                refusal: Refusal::RateLimited { limit: Arc::clone(&limit.name), retry_after },
                standing: Some(standing(remaining, reset)),
            }),
        }
    }

    fn take_slot(
        &self,
        limit: &Limit,
        subject: Subject<'_>,
        most: u32,
        now: Duration,
        receipt: &mut Receipt,
    ) -> Result<(), Exceeded> {
        let (meters, taken) = self.with(subject, now, |counts| counts.take(limit.id, most));
        if !taken {
            let refusal = Refusal::TooManyConcurrent { limit: Arc::clone(&limit.name) };
            return Err(Exceeded { refusal, standing: None });
        }
        receipt.slots.push(Slot::of(meters, limit.id));
        Ok(())
    }

    /// Runs `act` on the subject's counts.
    fn with<T>(&self, subject: Subject<'_>, now: Duration, act: impl Fn(&mut Counts) -> T) -> (Arc<Meters>, T) {
        let (table, key, own) = match subject {
            Subject::Account(key, own) => (&self.people, key, own),
            Subject::Person(key) => (&self.people, key, None),
            Subject::Address(key) => (&self.addresses, key, None),
        };
        // Meters that lay idle for a whole window have been forgotten; the table makes others.
        if let Some(meters) = own.and_then(Own::meters)
            && let Some(done) = meters.lock().map(|mut counts| act(&mut counts))
        {
            return (meters, done);
        }
        let (found, done) = table.with(key, now, act);
        if let (Some(Own(own)), Found::Own(meters)) = (own, &found) {
            *own.lock() = Some(Arc::clone(meters));
        }
        (found.into_meters(), done)
    }
}

// === impl Own ===

impl Own {
    fn meters(&self) -> Option<Arc<Meters>> {
        self.0.lock().clone()
    }
}

/// Whom a limit counts for this request. A limit on people counts a stranger by address.
fn subject<'a>(per: Per, permit: &Permit, client: IpAddr, own: Option<&'a Own>) -> Subject<'a> {
    match (per, permit.principal()) {
        (Per::Ip, _) | (_, None) => address(client),
        (Per::User, Some(principal)) => Subject::Account(principal.account.uuid().into_bytes(), own),
        (Per::Tenant, Some(principal)) => match principal.tenant {
            Some(tenant) => Subject::Person(tenant.uuid().into_bytes()),
            None => Subject::Account(principal.account.uuid().into_bytes(), own),
        },
        (Per::Key, Some(principal)) => Subject::Person(principal.grant.uuid().into_bytes()),
    }
}

fn address<'a>(client: IpAddr) -> Subject<'a> {
    Subject::Address(network(client))
}

/// An IPv4 address, or the /64 of an IPv6 address: what one customer of a provider gets (RFC 6177).
pub(crate) fn network(client: IpAddr) -> Key {
    let bits = match client.to_canonical() {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits() >> 64 << 64,
    };
    bits.to_be_bytes()
}

#[cfg(test)]
mod tests;
