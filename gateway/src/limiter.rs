//! How much: spends one request against every limit of who asks, in memory, all or nothing.
//!
//! The algorithm of a window is [`policies::Window`]; [`meters`] holds those of one caller, [`table`] knows whose are where.
//! Several gateways count together by [`leases`], which [`lender`] gets from Redis; a gateway alone does without either.
//! A cached caller keeps its meters at hand ([`Own`]), so that its requests look nothing up. Addresses, which strangers can
//! mint at will, have a table of their own so that they cannot crowd out people.

mod leases;
mod lender;
mod meters;
mod table;
mod youth;

use std::{
    hint::black_box,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use policies::{Eligible, Kind, Limit, Per, Quota, Refusal, Spend, lease::Terms};
use prometheus::IntCounter;
use smallvec::SmallVec;

pub(crate) use self::leases::{Leases, Short};
use self::{
    leases::{
        Drawn, Errand, Of,
        slots::{Keeper, Taking},
    },
    lender::{PATIENCE, Place},
    meters::{Counts, Meters, Slot},
    table::{Found, Key, Table},
};

/// The limiter. Time is monotonic and counted from its making: a step of the wall clock frees and blocks nobody.
pub(crate) struct Limiter {
    people: Table,
    addresses: Table,
    epoch: Instant,
    /// Of limits on requests, if other gateways count them too.
    leases: Option<Arc<Leases>>,
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

/// Why a request is not let in now.
pub(crate) enum Stopped {
    Exceeded(Exceeded),
    /// Other gateways count too, and nothing of theirs is in hand: [`Limiter::spend_later`].
    Short(Short),
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
            leases: None,
        }
    }

    /// The same, counting limits on requests together with other gateways.
    pub(crate) fn sharing(self, leases: Option<Arc<Leases>>) -> Self {
        Self { epoch: leases.as_ref().map_or(self.epoch, |leases| leases.epoch), leases, ..self }
    }

    /// Spends one request on every limit that the caller is under, or on none. `own` are the meters of its principal.
    pub(crate) fn spend(&self, eligible: &Eligible, client: IpAddr, own: Option<&Own>) -> Result<Receipt, Stopped> {
        self.spend_all(eligible, client, own, true)
    }

    /// Spends once others have answered, or in the end without them.
    pub(crate) async fn spend_later(
        &self,
        eligible: &Eligible,
        client: IpAddr,
        own: Option<&Own>,
        mut short: Short,
    ) -> Result<Receipt, Exceeded> {
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            let is_answered = tokio::time::timeout_at(until, &mut short.answered).await.is_ok();
            // It waits no more, before it is counted among those who do again.
            drop(short);
            match self.spend_all(eligible, client, own, is_answered) {
                Ok(receipt) => return Ok(receipt),
                Err(Stopped::Exceeded(exceeded)) => return Err(exceeded),
                Err(Stopped::Short(again)) => short = again,
            }
        }
    }

    fn spend_all(
        &self,
        eligible: &Eligible,
        client: IpAddr,
        own: Option<&Own>,
        may_wait: bool,
    ) -> Result<Receipt, Stopped> {
        let now = self.epoch.elapsed();
        let mut receipt = Receipt::default();
        let mut spent: SmallVec<[_; 2]> = SmallVec::new();
        for limit in eligible.limits() {
            let subject = subject(limit.per, eligible, client, own);
            let outcome = match &limit.kind {
                Kind::Requests(quota) => self
                    .spend_unit(limit, subject, quota, now, may_wait, &mut receipt)
                    .map(|(meters, of)| spent.push((meters, limit.id, quota, of))),
                Kind::Concurrent(most) => self.take_slot(limit, subject, *most, now, may_wait, &mut receipt),
            };
            if let Err(stopped) = outcome {
                for (meters, limit, quota, of) in spent {
                    meters.refund(limit, quota, now, of);
                }
                return Err(stopped);
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
    pub(crate) async fn sweep(&self) {
        let now = self.epoch.elapsed();
        self.people.sweep(now).await;
        self.addresses.sweep(now).await;
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
        may_wait: bool,
        receipt: &mut Receipt,
    ) -> Result<(Arc<Meters>, Of), Stopped> {
        let standing = |remaining, reset| Standing { name: Arc::clone(&limit.name), quota: *quota, remaining, reset };
        let (meters, spend, of) = match &self.leases {
            None => {
                let (meters, spend) = self.with(subject, now, |counts| counts.spend(limit.id, quota, now));
                (meters, spend, Of::Nothing)
            }
            Some(leases) => self.draw(leases, limit, subject, quota, now, may_wait)?,
        };
        match spend {
            Spend::Admitted { remaining, reset } => {
                if receipt.tightest.as_ref().is_none_or(|tightest| remaining < tightest.remaining) {
                    receipt.tightest = Some(standing(remaining, reset));
                }
                Ok((meters, of))
            }
            Spend::Refused { remaining, reset, retry_after } => Err(Stopped::Exceeded(Exceeded {
                refusal: Refusal::RateLimited { limit: Arc::clone(&limit.name), retry_after },
                standing: Some(standing(remaining, reset)),
            })),
        }
    }

    /// Spends one unit of what is in hand, and sees to it that there will be more.
    fn draw(
        &self,
        leases: &Arc<Leases>,
        limit: &Limit,
        subject: Subject<'_>,
        quota: &Quota,
        now: Duration,
        may_wait: bool,
    ) -> Result<(Arc<Meters>, Spend, Of), Stopped> {
        let alone = !may_wait || leases.is_away();
        let (meters, (drawn, ask)) = self.with(subject, now, |counts| leases.draw(counts, limit, quota, now, alone));
        if let Some(ask) = ask {
            let (place, terms) = (subject.place(limit.id), Terms::of(*quota));
            leases.begin(Errand { meters: Arc::clone(&meters), limit: limit.id, place, terms, sent: now, ask });
        }
        match drawn {
            Drawn::Spent(spend, of) => Ok((meters, spend, of)),
            Drawn::Short(answered) => Err(Stopped::Short(Short::new(answered, meters, limit.id))),
            Drawn::Unavailable { retry_after } => Err(Stopped::Exceeded(Exceeded {
                refusal: Refusal::LimiterUnavailable { retry_after },
                standing: None,
            })),
        }
    }

    fn take_slot(
        &self,
        limit: &Limit,
        subject: Subject<'_>,
        most: u32,
        now: Duration,
        may_wait: bool,
        receipt: &mut Receipt,
    ) -> Result<(), Stopped> {
        let (meters, taking) = match &self.leases {
            None => {
                self.with(subject, now, |counts| if counts.take(limit.id, most) { Taking::Taken } else { Taking::Full })
            }
            Some(leases) => self.take_shared(leases, limit.id, subject, most, now, may_wait),
        };
        let refusal = match taking {
            Taking::Taken => {
                receipt.slots.push(Slot::of(meters, limit.id));
                return Ok(());
            }
            Taking::Short(answered) => return Err(Stopped::Short(Short::new(answered, meters, limit.id))),
            Taking::Full => Refusal::TooManyConcurrent { limit: Arc::clone(&limit.name) },
            Taking::Unavailable => Refusal::LimiterUnavailable { retry_after: None },
        };
        Err(Stopped::Exceeded(Exceeded { refusal, standing: None }))
    }

    /// Takes one slot of what is held, and sees to it that Redis knows.
    fn take_shared(
        &self,
        leases: &Arc<Leases>,
        limit: u64,
        subject: Subject<'_>,
        most: u32,
        now: Duration,
        may_wait: bool,
    ) -> (Arc<Meters>, Taking) {
        let alone = !may_wait || leases.is_away() || leases.is_settling();
        let (meters, (taking, wake)) = self.with(subject, now, |counts| leases.take(counts, limit, most, now, alone));
        if let Some(wake) = wake {
            leases.keep_slots(Keeper { meters: Arc::clone(&meters), limit, place: subject.place(limit), wake });
        }
        (meters, taking)
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

// === impl Subject ===

impl Subject<'_> {
    /// Where others count the same.
    fn place(self, limit: u64) -> Place {
        match self {
            Self::Account(key, _) | Self::Person(key) => Place::of(limit, 'p', key),
            Self::Address(key) => Place::of(limit, 'a', key),
        }
    }
}

// === impl Own ===

impl Own {
    fn meters(&self) -> Option<Arc<Meters>> {
        self.0.lock().clone()
    }

    /// Reads a word of the meters together with what `beside` reads, or that alone while somebody else has them.
    pub(crate) fn touch<T>(&self, beside: impl FnOnce() -> T) {
        // The lock is held all the while: to give it back is to wait for whatever is being read.
        let own = self.0.try_lock();
        let is_locked = own.as_deref().and_then(Option::as_deref).map(Meters::is_locked);
        _ = black_box((is_locked, beside()));
    }
}

/// Whom a limit counts for this request. A limit on people counts a stranger by address.
fn subject<'a>(per: Per, eligible: &Eligible, client: IpAddr, own: Option<&'a Own>) -> Subject<'a> {
    match (per, eligible.principal()) {
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

/// Whose address it is ([`identity::site_of`]).
pub(crate) fn network(client: IpAddr) -> Key {
    let bits = match identity::site_of(client) {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    };
    bits.to_be_bytes()
}

#[cfg(test)]
mod tests;
