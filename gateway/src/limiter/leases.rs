//! What this node holds of limits that other gateways count too (DESIGN §4, `docs/decisions/0007`).
//!
//! A unit in hand is spent in memory. Who finds none waits, 20 ms at most, while one errand for all who wait asks Redis; before a
//! lease is used up another is asked for in the background. While there is nobody to ask, `on_outage` decides. The arithmetic is
//! [`policies::lease`]'s; Redis is [`super::lender`]'s.

pub(super) mod slots;

use std::{
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use policies::{
    Limit, Quota, Spend,
    lease::{Answer, Ask, Draw, Hand, Terms, part_of, share_of},
};
use tokio::{
    sync::{Notify, futures::OwnedNotified},
    time::{sleep_until, timeout, timeout_at},
};

use super::{
    lender::{Lender, PATIENCE, Place},
    meters::{Counts, Measured, Meters},
};
use crate::{
    config::{Outage, Shared},
    metrics::LeaseMetrics,
    readiness::Readiness,
    redis_line::why,
    snapshot::Snapshot,
};

/// Limits that other gateways count too.
pub(crate) struct Leases {
    lender: Lender,
    outage: Outage,
    /// Among so many a `max_overshoot` is divided; among nobody knows how many, nothing of it is spent.
    nodes: Option<u32>,
    /// What the limiter's time counts from.
    pub(super) epoch: Instant,
    metrics: LeaseMetrics,
}

/// What is held of one quota for one caller.
pub(super) struct Leased {
    pub(super) hand: Hand,
    terms: Terms,
    /// Requests that wait for an answer.
    pub(super) waiting: u32,
    answered: Arc<Notify>,
}

/// What became of a wish for one unit.
pub(super) enum Drawn {
    /// As the window says, and of this if it was spent.
    Spent(Spend, Of),
    /// It has to wait for this.
    Short(OwnedNotified),
    /// There is nobody to ask, and the operator chose to refuse then.
    Unavailable {
        /// Until there will be, if that is known.
        retry_after: Option<Duration>,
    },
}

/// What a unit was taken of beside the node's own window, and goes back to.
#[derive(Clone, Copy)]
pub(super) enum Of {
    Nothing,
    /// The lease that ends then.
    Lease(Duration),
    /// No lease: it is owed.
    Debt,
}

/// A request that waits for an answer, and is counted while it does.
pub(crate) struct Short {
    pub(super) answered: Pin<Box<OwnedNotified>>,
    meters: Arc<Meters>,
    limit: u64,
}

/// One ask on its way to Redis, and the lease that comes of it.
pub(super) struct Errand {
    pub(super) meters: Arc<Meters>,
    pub(super) limit: u64,
    pub(super) place: Place,
    pub(super) terms: Terms,
    /// On the limiter's clock, before anything was sent: the lease lives from then.
    pub(super) sent: Duration,
    pub(super) ask: Ask,
}

// === impl Leases ===

impl Leases {
    /// `None` when nothing is shared. `longest` is the longest window of a limit, until `Self::watch` reads what is in force.
    pub(crate) fn new(
        shared: &Shared,
        longest: Duration,
        readiness: &Arc<Readiness>,
        metrics: &LeaseMetrics,
    ) -> Option<Arc<Self>> {
        let lender = Lender::new(shared, longest, readiness, metrics)?;
        let Shared { outage, nodes, .. } = *shared;
        Some(Arc::new(Self { lender, outage, nodes, epoch: Instant::now(), metrics: metrics.clone() }))
    }

    /// Connects for the first time, if that is quickly done.
    pub(crate) async fn connect(&self) {
        self.lender.connect().await;
    }

    /// Notices when Redis is back, for as long as the process lives.
    pub(crate) fn watch(self: Arc<Self>, rules: &Arc<ArcSwap<Snapshot>>) -> impl Future<Output = ()> + use<> {
        let rules = Arc::clone(rules);
        async move { self.lender.watch(|| rules.load().policy.longest_window()).await }
    }

    /// Whether nobody is to wait for Redis now.
    pub(super) fn is_away(&self) -> bool {
        self.lender.is_away()
    }

    /// Whether Redis is back so lately that it may not know yet what others hold of slots.
    pub(super) fn is_settling(&self) -> bool {
        self.lender.is_settling()
    }

    /// Spends one unit of a quota, in memory. Says what to ask for, if anything. `alone`: there is nobody to ask.
    pub(super) fn draw(
        &self,
        counts: &mut Counts,
        limit: &Limit,
        quota: &Quota,
        now: Duration,
        alone: bool,
    ) -> (Drawn, Option<Ask>) {
        let is_common = counts.is_common;
        let Measured { window, leased, .. } = counts.measured(limit.id, quota);
        if is_common {
            // Nobody knows whose units these would be.
            return (self.outage_rule(|share| window.spend(share, now, 1), quota, None), None);
        }
        let leased = leased.get_or_insert_with(|| Box::new(Leased::new(*quota)));
        leased.follow(quota);
        match leased.hand.draw(now) {
            Draw::Drawn(end) => (leased.enter(window.spend(*quota, now, 1), end), leased.ask_ahead(now, alone)),
            Draw::Exhausted { retry_after } => {
                (Drawn::Spent(Spend::Refused { remaining: 0, reset: retry_after, retry_after }, Of::Nothing), None)
            }
            Draw::Short if !alone && leased.hand.draw_ahead(leased.terms, self.part(limit), now) => {
                let spend = window.spend(*quota, now, 1);
                if matches!(spend, Spend::Admitted { .. }) {
                    leased.hand.owe(now);
                    self.metrics.ahead.inc();
                }
                let ask = (!leased.hand.is_asking()).then(|| leased.hand.ask(leased.terms, now, leased.waiting));
                (Drawn::Spent(spend, Of::Debt), ask)
            }
            Draw::Short if !alone => {
                leased.waiting += 1;
                let answered = Arc::clone(&leased.answered).notified_owned();
                let ask = (!leased.hand.is_asking()).then(|| leased.hand.ask(leased.terms, now, leased.waiting));
                (Drawn::Short(answered), ask)
            }
            draw @ (Draw::Short | Draw::Absent { .. }) => {
                let until = if let Draw::Absent { retry_after } = draw { Some(retry_after) } else { None };
                match self.outage_rule(|share| window.spend(share, now, 1), quota, until) {
                    Drawn::Spent(spend @ Spend::Admitted { .. }, _) => {
                        leased.hand.owe(now);
                        self.metrics.alone.inc();
                        (Drawn::Spent(spend, Of::Debt), None)
                    }
                    drawn => (drawn, None),
                }
            }
        }
    }

    /// This node's part of what may be spent ahead of leases.
    fn part(&self, limit: &Limit) -> u32 {
        part_of(limit.max_overshoot, self.nodes)
    }

    /// What each node does by itself. What it let through before counts too, leased or not.
    fn outage_rule(&self, spend: impl FnOnce(Quota) -> Spend, quota: &Quota, retry_after: Option<Duration>) -> Drawn {
        match self.outage {
            Outage::Refuse => Drawn::Unavailable { retry_after },
            Outage::Local { nodes } => {
                Drawn::Spent(spend(Quota { units: share_of(quota.units, nodes), ..*quota }), Of::Nothing)
            }
        }
    }

    /// Goes on an errand in the background: whoever waits for it may leave.
    pub(super) fn begin(self: &Arc<Self>, errand: Errand) {
        tokio::spawn(Arc::clone(self).carry(errand));
    }

    async fn carry(self: Arc<Self>, errand: Errand) {
        let mut answer = Box::pin(self.lender.answer(&errand.place, errand.terms, &errand.ask));
        match timeout(PATIENCE, &mut answer).await {
            Ok(Ok(answer)) => self.keep(&errand, &answer).await,
            Ok(Err(error)) => self.give_up(&errand, &why(&error)),
            Err(_) => {
                self.give_up(&errand, "no answer within 20 ms");
                self.hear_late(&errand, timeout_at(self.at(errand.end()), answer).await).await;
            }
        }
    }

    /// Keeps what was granted until shortly before the lease ends, and gives back what is left then.
    async fn keep(&self, errand: &Errand, answer: &Answer) {
        errand.settle(|leased| {
            leased.hand.answered(errand.terms, errand.sent, self.epoch.elapsed(), answer);
            self.metrics.lost(leased.hand.take_lost());
            leased.answered.notify_waiters();
        });
        self.metrics.answered(answer);
        if answer.granted == 0 {
            return;
        }
        sleep_until(self.at(errand.end().saturating_sub(errand.terms.life() / 8))).await;
        if self.is_away() {
            // They can still be spent.
            return;
        }
        let back = errand.settle(|leased| {
            let back = leased.hand.give_back(errand.end(), self.epoch.elapsed());
            self.metrics.lost(leased.hand.take_lost());
            back
        });
        if let Some(back) = back.flatten() {
            self.give_back(errand, &back).await;
        }
    }

    /// Once only, whatever becomes of it: given back twice, others would be counted less.
    async fn give_back(&self, errand: &Errand, back: &Ask) {
        let units = back.back.map_or(0, |back| back.units);
        match timeout(PATIENCE, self.lender.answer(&errand.place, errand.terms, back)).await {
            Ok(Ok(_)) => self.metrics.returned(units),
            _ => self.metrics.lost(units),
        }
    }

    fn give_up(&self, errand: &Errand, why: &str) {
        self.failed(why);
        errand.settle(|leased| {
            leased.hand.unanswered();
            leased.answered.notify_waiters();
        });
    }

    fn failed(&self, why: &str) {
        self.metrics.failed.inc();
        self.lender.has_gone(why);
    }

    /// Nobody waits any more, but what was granted is missed by others.
    async fn hear_late<T, U>(&self, errand: &Errand, answer: Result<Result<Answer, T>, U>) {
        let Ok(Ok(answer)) = answer else { return };
        self.metrics.answered(&answer);
        let back = errand.settle(|leased| leased.hand.give_back_late(&answer));
        if let Some(back) = back.filter(|_| answer.granted > 0 && self.epoch.elapsed() < errand.end()) {
            self.give_back(errand, &back).await;
        } else {
            self.metrics.lost(answer.granted);
        }
    }

    fn at(&self, time: Duration) -> tokio::time::Instant {
        (self.epoch + time).into()
    }
}

// === impl Leased ===

impl Leased {
    fn new(quota: Quota) -> Self {
        let (hand, terms) = (Hand::default(), Terms::of(quota));
        Self { hand, terms, waiting: 0, answered: Arc::default() }
    }

    /// A changed quota counts from the next ask on. What is out stays good until it ends, a second at most.
    fn follow(&mut self, quota: &Quota) {
        if self.terms.units != quota.units {
            self.terms = Terms::of(*quota);
        }
    }

    /// The node's own window counts too, by what the quota is now.
    fn enter(&mut self, spend: Spend, end: Duration) -> Drawn {
        match spend {
            Spend::Admitted { remaining, reset } => {
                let remaining = remaining.min(self.hand.remaining());
                Drawn::Spent(Spend::Admitted { remaining, reset }, Of::Lease(end))
            }
            refused @ Spend::Refused { .. } => {
                self.hand.put_back(end);
                Drawn::Spent(refused, Of::Nothing)
            }
        }
    }

    fn ask_ahead(&mut self, now: Duration, alone: bool) -> Option<Ask> {
        (!alone && self.hand.is_low(self.terms, now)).then(|| self.hand.ask(self.terms, now, self.waiting))
    }

    /// Whether nothing would be lost with it.
    pub(super) fn is_idle(&self, now: Duration) -> bool {
        self.waiting == 0 && self.hand.is_idle(self.terms, now)
    }
}

// === impl Errand ===

impl Errand {
    fn end(&self) -> Duration {
        self.sent + self.terms.life()
    }

    /// Meters with an errand under way are never forgotten.
    fn settle<T>(&self, act: impl FnOnce(&mut Leased) -> T) -> Option<T> {
        self.meters.counts().find(self.limit)?.leased.as_deref_mut().map(act)
    }
}

// === impl Short ===

impl Short {
    pub(super) fn new(answered: OwnedNotified, meters: Arc<Meters>, limit: u64) -> Self {
        Self { answered: Box::pin(answered), meters, limit }
    }
}

impl Drop for Short {
    fn drop(&mut self) {
        if let Some(waiting) = self.meters.counts().waiting(self.limit) {
            *waiting = waiting.saturating_sub(1);
        }
    }
}
