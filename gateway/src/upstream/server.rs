//! One server: how to connect to it, and what is known of its health. What is known survives a reload.

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use pingora::upstreams::peer::HttpPeer;

use super::{
    balance,
    resolve::Target,
    scout::{Errand, Scout},
};
use crate::config::{EjectionSettings, HealthSettings};

/// One server of a pool.
pub(super) struct Server {
    pub(super) target: Target,
    /// Its address, as log and metrics call it.
    pub(super) name: Arc<str>,
    /// For consistent hashing.
    pub(super) hash: u64,
    /// Ready-made; a request clones it and sets its route's timeouts.
    pub(super) peer: Box<HttpPeer>,
    pub(super) vitals: Arc<Vitals>,
}

/// What is known of a server's health, and how much it has to do.
pub(super) struct Vitals {
    /// Unlike that of any other server of this process.
    pub(super) id: u64,
    in_flight: AtomicUsize,
    /// Its health checks fail.
    is_sick: AtomicBool,
    /// Health checks in a row that said the opposite of `is_sick`.
    contrary: AtomicU32,
    /// Requests in a row that failed.
    failures: AtomicU32,
    /// Left out until then, in milliseconds of [`now`]; 0: not left out.
    out_until: AtomicU64,
    /// How often in a row it was left out.
    times_out: AtomicU32,
    scout: Scout,
    /// How often its connections of HTTP/2 were given up.
    generation: AtomicU64,
}

/// After so many generations of connections of HTTP/2 the first is taken up again. A connection whose last request was dropped has no timer of
/// Pingora's and stays open until another request finds it there: this bounds how many there are. One that is hung is met again no sooner than after seven others
/// have been waited for in vain.
pub(super) const GENERATIONS: u64 = 8;

/// Milliseconds since this process first asked. Never 0, which stands for never.
pub(super) fn now() -> u64 {
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    BEGAN.elapsed().as_millis() as u64 + 1
}

// === impl Server ===

impl Server {
    pub(super) fn new(target: Target, peer: HttpPeer, vitals: Arc<Vitals>) -> Self {
        let peer = Box::new(peer);
        let name: Arc<str> = target.to_string().into();
        Self { hash: balance::hash(&name), target, name, peer, vitals }
    }
}

// === impl Vitals ===

impl Vitals {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            id: NEXT.fetch_add(1, Relaxed),
            in_flight: AtomicUsize::new(0),
            // Healthy until somebody knows better: a start must not wait for health checks.
            is_sick: AtomicBool::new(false),
            contrary: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            out_until: AtomicU64::new(0),
            times_out: AtomicU32::new(0),
            scout: Scout::default(),
            generation: AtomicU64::new(0),
        }
    }

    /// Which of its connections of HTTP/2 new requests share; another number once those have been given up.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Relaxed)
    }

    /// A request waited there in vain: new ones get other connections, since the old ones may be hung. Each generation is given
    /// up once, however many wait in it, so that a service that is only slow costs one connection for each time that it is waited for.
    pub(super) fn give_up(&self, generation: u64) {
        // An error: it has been.
        let _ = self.generation.compare_exchange(generation, generation + 1, Relaxed, Relaxed);
    }

    /// Could a request go there?
    pub(super) fn is_open(&self) -> bool {
        if self.is_sick.load(Relaxed) {
            return false;
        }
        let out_until = self.out_until.load(Relaxed);
        out_until == 0 || {
            let now = now();
            now >= out_until && self.scout.may_leave(now)
        }
    }

    /// One request goes there, with an errand if it is the one that finds out. Ends with [`Self::leave`].
    ///
    /// # Errors
    ///
    /// Another one finds out already.
    pub(super) fn enter(&self) -> Result<Option<Errand>, Duration> {
        let errand = if self.is_left_out() { Some(self.scout.leave(now())?) } else { None };
        self.in_flight.fetch_add(1, Relaxed);
        Ok(errand)
    }

    pub(super) fn leave(&self) {
        self.in_flight.fetch_sub(1, Relaxed);
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Relaxed)
    }

    /// Neither sick nor left out.
    pub(super) fn is_well(&self) -> bool {
        !self.is_sick.load(Relaxed) && !self.is_left_out()
    }

    pub(super) fn is_left_out(&self) -> bool {
        self.out_until.load(Relaxed) != 0
    }

    /// The one that finds out waits for something that has this time-out.
    pub(super) fn stay(&self, errand: &mut Errand, time_out: Duration) {
        self.scout.stay(errand, now(), time_out);
    }

    /// Is this the one that finds out? One that took so long that another has followed is not.
    pub(super) fn is_trial(&self, errand: &Errand) -> bool {
        self.is_left_out() && self.scout.is_on(errand)
    }

    /// The trial found out nothing.
    pub(super) fn give_back(&self, errand: &Errand) {
        self.scout.give_up(errand);
    }

    /// It answers, whomever. Says whether it had been left out.
    pub(super) fn succeeded(&self) -> bool {
        // Looked at first: a store for every answer would pass the cache line from core to core.
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
        }
        if self.out_until.load(Relaxed) == 0 || self.out_until.swap(0, Relaxed) == 0 {
            return false;
        }
        self.times_out.store(0, Relaxed);
        self.scout.is_back();
        true
    }

    /// A request failed there. Says whether it should be left out.
    pub(super) fn failed(&self, settings: EjectionSettings) -> bool {
        self.failures.fetch_add(1, Relaxed).saturating_add(1) >= settings.failures && self.out_until.load(Relaxed) == 0
    }

    /// Left out from now on, longer each time in a row.
    pub(super) fn eject(&self, settings: EjectionSettings) {
        let times = self.times_out.fetch_add(1, Relaxed);
        let time = settings.time.saturating_mul(1 << times.min(16)).min(settings.max_time);
        self.out_until.store(now() + time.as_millis() as u64, Relaxed);
        self.scout.is_back();
    }

    /// Milliseconds until it may be tried again.
    #[cfg(test)]
    pub(super) fn left_out(&self) -> u64 {
        self.out_until.load(Relaxed).saturating_sub(now())
    }

    /// What a health check said. Says whether that turned something.
    pub(super) fn checked(&self, good: bool, settings: &HealthSettings) -> bool {
        let is_sick = self.is_sick.load(Relaxed);
        if good != is_sick {
            self.contrary.store(0, Relaxed);
            return false;
        }
        let needed = if good { settings.healthy_after } else { settings.unhealthy_after };
        if self.contrary.fetch_add(1, Relaxed) + 1 < needed {
            return false;
        }
        self.contrary.store(0, Relaxed);
        self.is_sick.store(!is_sick, Relaxed);
        true
    }

    /// Health checks are no longer made: what the last ones said means nothing.
    pub(super) fn forget_checks(&self) {
        self.is_sick.store(false, Relaxed);
        self.contrary.store(0, Relaxed);
    }
}
