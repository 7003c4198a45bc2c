//! What this node holds of concurrency limits that other gateways count too (DESIGN §4, `docs/decisions/0007`).
//!
//! A slot in hand is taken and given back in memory. For as long as anything is held, one task for a caller and limit says so to Redis
//! every two seconds, asks for what is missing and gives up what is too much. The arithmetic is [`policies::slots`]'.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use policies::{
    lease::share_of,
    slots::{Ask, Hand, Take, most_spare},
};
use tokio::{
    sync::{Notify, futures::OwnedNotified},
    time::{sleep, timeout},
};

use super::Leases;
use crate::{
    config::Outage,
    limiter::{
        lender::{PATIENCE, Place},
        meters::{Counts, Meters, Taken},
    },
};

/// How often Redis hears what is held: several times within [`policies::slots::LIFE`].
const RENEW: Duration = Duration::from_secs(2);
/// How long what is too much is kept all the same, so that a burst is not followed by a word for each of its requests; where nothing may be
/// kept unused, it is not.
const LINGER: Duration = Duration::from_millis(100);
/// Within this all keepers tell Redis what they hold when it is back, and not all at once.
const RETURN: Duration = Duration::from_millis(500);

/// What is held of one concurrency limit for one caller.
#[derive(Default)]
pub(in crate::limiter) struct Held {
    hand: Hand,
    most: u32,
    /// Requests that wait for an answer.
    pub(in crate::limiter) waiting: u32,
    answered: Arc<Notify>,
    /// How to wake the keeper, while there is one.
    wake: Weak<Wake>,
}

/// Why a keeper is woken.
#[derive(Default)]
pub(in crate::limiter) struct Wake {
    /// Somebody waits.
    short: Notify,
    /// More is held than should be kept.
    loose: Notify,
}

/// What became of a wish for one slot.
pub(in crate::limiter) enum Taking {
    Taken,
    Full,
    /// It has to wait for this.
    Short(OwnedNotified),
    /// There is nobody to ask, and the operator chose to refuse then.
    Unavailable,
}

/// Who tells Redis what is held, for as long as anything is.
pub(in crate::limiter) struct Keeper {
    pub(in crate::limiter) meters: Arc<Meters>,
    pub(in crate::limiter) limit: u64,
    pub(in crate::limiter) place: Place,
    pub(in crate::limiter) wake: Arc<Wake>,
}

// === impl Leases ===

impl Leases {
    /// Takes one of `most` slots, in memory. Says how to wake the keeper that has to be begun, if one has to. `alone`: there is nobody to
    /// ask.
    pub(in crate::limiter) fn take(
        &self,
        counts: &mut Counts,
        limit: u64,
        most: u32,
        now: Duration,
        alone: bool,
    ) -> (Taking, Option<Arc<Wake>>) {
        let is_common = counts.is_common;
        let taken = counts.taken(limit);
        if is_common {
            // Nobody knows whose slots these would be.
            return (self.share(taken, most), None);
        }
        let held = taken.held.get_or_insert_default();
        held.most = most;
        match held.hand.take(taken.slots, now) {
            Take::Taken => {
                taken.slots += 1;
                (Taking::Taken, None)
            }
            Take::Full => (Taking::Full, None),
            Take::Short if !alone => {
                held.waiting += 1;
                let answered = Arc::clone(&held.answered).notified_owned();
                (Taking::Short(answered), held.wake())
            }
            Take::Short | Take::Absent => {
                let taking = self.share(taken, most);
                // Redis is told of it as soon as it is there.
                let has_taken = matches!(taking, Taking::Taken);
                (taking, taken.held.as_mut().filter(|_| has_taken).and_then(|held| held.wake()))
            }
        }
    }

    /// What each node does by itself.
    fn share(&self, taken: &mut Taken, most: u32) -> Taking {
        match self.outage {
            Outage::Refuse => Taking::Unavailable,
            Outage::Local { nodes } if taken.slots < share_of(most, nodes) => {
                taken.slots += 1;
                Taking::Taken
            }
            Outage::Local { .. } => Taking::Full,
        }
    }

    /// Begins to tell Redis what is held.
    pub(in crate::limiter) fn keep_slots(self: &Arc<Self>, keeper: Keeper) {
        tokio::spawn(Arc::clone(self).tell_until_idle(keeper));
    }

    async fn tell_until_idle(self: Arc<Self>, keeper: Keeper) {
        loop {
            let back = self.lender.back.notified();
            if !self.is_away() {
                self.tell(&keeper).await;
            }
            if keeper.is_done(self.epoch.elapsed()) {
                return;
            }
            tokio::select! {
                () = keeper.rest() => {}
                () = back => tokio::select! {
                    // Whoever waits is not kept waiting.
                    () = keeper.wake.short.notified() => {}
                    () = sleep(RETURN.mul_f32(fastrand::f32())) => {}
                },
            }
        }
    }

    async fn tell(&self, keeper: &Keeper) {
        let sent = self.epoch.elapsed();
        let is_settling = self.is_settling();
        let asked = keeper.settle(|slots, held| (held.most, held.hand.ask(held.most, slots, held.waiting, sent)));
        // Others have not told yet what they hold: more would be theirs.
        let asked = asked.map(|(most, ask)| (most, if is_settling { Ask { need: 0, more: 0, ..ask } } else { ask }));
        let Some((most, ask)) = asked else { return };
        let answer = timeout(PATIENCE, self.lender.slots(&keeper.place, most, &ask)).await;
        let now = self.epoch.elapsed();
        keeper.settle(|_, held| {
            match &answer {
                Ok(Ok(answer)) => held.hand.answered(sent, now, answer),
                _ => held.hand.unanswered(),
            }
            held.answered.notify_waiters();
        });
        match answer {
            Ok(Ok(answer)) => self.metrics.slots_answered(&ask, &answer),
            Ok(Err(error)) => self.failed(&error.to_string()),
            Err(_) => self.failed("no answer within 20 ms"),
        }
    }
}

// === impl Held ===

impl Held {
    /// Wakes the keeper, or makes what a new one is to be woken by.
    fn wake(&mut self) -> Option<Arc<Wake>> {
        if let Some(wake) = self.wake.upgrade() {
            wake.short.notify_one();
            return None;
        }
        let wake = Arc::default();
        self.wake = Arc::downgrade(&wake);
        Some(wake)
    }

    /// One slot has been given back; `used` are still in use.
    pub(in crate::limiter) fn freed(&mut self, used: u32) {
        self.hand.freed();
        if self.hand.is_loose(self.most, used)
            && let Some(wake) = self.wake.upgrade()
        {
            wake.loose.notify_one();
        }
    }

    /// Whether nothing would be lost with it.
    pub(in crate::limiter) fn is_idle(&self) -> bool {
        self.waiting == 0 && self.wake.strong_count() == 0
    }
}

// === impl Keeper ===

impl Keeper {
    /// Meters that have a keeper are never forgotten.
    fn settle<T>(&self, act: impl FnOnce(u32, &mut Held) -> T) -> Option<T> {
        let mut counts = self.meters.counts();
        let Taken { slots, held, .. } = counts.taken(self.limit);
        held.as_deref_mut().map(|held| act(*slots, held))
    }

    /// Whether there is nothing to tell any more; then the next who comes begins another.
    fn is_done(&self, now: Duration) -> bool {
        let is_done = self.settle(|slots, held| {
            let is_done = held.waiting == 0 && held.hand.is_idle(slots, now);
            if is_done {
                held.wake = Weak::new();
            }
            is_done
        });
        is_done != Some(false)
    }

    fn linger(&self) -> Duration {
        let keeps_none = self.settle(|_, held| most_spare(held.most) == 0) == Some(true);
        if keeps_none { Duration::ZERO } else { LINGER }
    }

    async fn rest(&self) {
        tokio::select! {
            () = self.wake.short.notified() => {}
            // Not all in step.
            () = sleep(RENEW.mul_f32(0.75 + fastrand::f32() / 4.0)) => {}
            () = self.wake.loose.notified() => tokio::select! {
                () = self.wake.short.notified() => {}
                () = sleep(self.linger()) => {}
            },
        }
    }
}
