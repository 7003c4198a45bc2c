//! The Redis that keeps the ledgers of shared limits: one script for every question, and what is known of whether it answers.
//!
//! Who asks waits 20 ms at most, and after the first time that was in vain nobody does: this notices by itself when Redis is back. What
//! is asked and what is made of the answer is [`super::leases`]'; the law that the script obeys is `policies::lease`.
//!
//! Keys are `<prefix>:{<tag>}:<limit>:<p|a><subject>`. A caller's keys have one hash tag, so that one script may touch them in a
//! Redis Cluster; callers share tags, so that each tag can have a mark that tells a memory from one that was lost. Of a cluster one
//! node that is away counts as all: callers of the others would be let in and out with every look.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use parking_lot::Mutex;
use policies::{
    Quota,
    lease::{Answer, Ask, Terms},
    slots,
};
use redis::{ErrorKind, FromRedisValue, RedisError, Script, ScriptInvocation, ServerErrorKind};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};

use super::{table::Key, youth::Youth};
use crate::{
    config::Shared,
    metrics::LeaseMetrics,
    readiness::Readiness,
    redis_line::{LATEST, Line, TAGS, Way, why},
};

/// How long a request waits for Redis, in all.
pub(super) const PATIENCE: Duration = Duration::from_millis(20);
/// How often it is looked for while it answers: well within half of [`slots::LIFE`].
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often a Redis that did not answer is tried.
const TRY_EVERY: Duration = Duration::from_millis(100);
/// How long a start waits for it.
const FIRST: Duration = Duration::from_secs(1);
/// So many times in vain, and another connection is made.
const ENOUGH: u32 = 3;
/// After it was away for long, every node notices that it is back, and tells it what it holds, within this.
const SETTLE: Duration = Duration::from_secs(1);

const LEASES: &str = include_str!("lease.lua");
const SLOTS: &str = include_str!("slots.lua");
const MEMORY: &str = include_str!("memory.lua");
/// Redis time, never a node's (DESIGN §4).
const REDIS_TIME: &str = "local time = redis.call('TIME')\nlocal now = time[1] * 1000000 + time[2]\n";

/// The way to Redis.
pub(super) struct Lender {
    way: Way,
    prefix: String,
    /// Whose leases these are. A process that starts again is another node.
    node: u64,
    leases: Script,
    slots: Script,
    memory: Script,
    line: Mutex<Option<Arc<Line>>>,
    /// Not every mark has been looked at since there is this connection, or a limit of so long a window.
    is_new: AtomicBool,
    /// Nobody is to wait for it.
    away: AtomicBool,
    /// It has just gone away.
    gone: Notify,
    /// It has just come back.
    pub(super) back: Notify,
    gone_at: Mutex<Instant>,
    /// It is back after so long that others are still telling it what they hold.
    settling: AtomicBool,
    youth: Youth,
    readiness: Arc<Readiness>,
    metrics: LeaseMetrics,
}

/// Where a ledger is kept.
pub(super) struct Place {
    tag: u8,
    name: String,
}

// === impl Place ===

impl Place {
    /// That of one limit and one subject: a person, tenant or key (`p`), or an address (`a`).
    pub(super) fn of(limit: u64, kind: char, subject: Key) -> Self {
        let sum = subject.iter().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)));
        let name = format!("{limit:016x}:{kind}{:032x}", u128::from_be_bytes(subject));
        Self { tag: (sum % u32::from(TAGS)) as u8, name }
    }
}

// === impl Lender ===

impl Lender {
    /// `None` when nothing is shared.
    pub(super) fn new(
        shared: &Shared,
        longest: Duration,
        readiness: &Arc<Readiness>,
        metrics: &LeaseMetrics,
    ) -> Option<Self> {
        // The parser has read the address already.
        let way = Way::new(shared.redis.as_ref()?).ok()?;
        Some(Self {
            way,
            prefix: shared.prefix.clone(),
            node: fastrand::u64(..),
            leases: Script::new(&format!("{REDIS_TIME}{LEASES}")),
            slots: Script::new(&format!("{REDIS_TIME}{SLOTS}")),
            memory: Script::new(&format!("{REDIS_TIME}{MEMORY}")),
            line: Mutex::default(),
            is_new: AtomicBool::new(true),
            away: AtomicBool::new(true),
            gone: Notify::new(),
            back: Notify::new(),
            gone_at: Mutex::new(Instant::now()),
            settling: AtomicBool::new(false),
            youth: Youth::new(longest, readiness, metrics),
            readiness: Arc::clone(readiness),
            metrics: metrics.clone(),
        })
    }

    /// Whether nobody is to wait for it now.
    pub(super) fn is_away(&self) -> bool {
        self.away.load(Ordering::Relaxed)
    }

    /// Whether it has just come back, after so long that it may not know yet what others hold of slots.
    pub(super) fn is_settling(&self) -> bool {
        self.settling.load(Ordering::Relaxed)
    }

    /// Asks for a lease. The caller sees to how long it waits.
    pub(super) async fn answer(&self, place: &Place, terms: Terms, ask: &Ask) -> Result<Answer, RedisError> {
        let answer = self.put(place.tag, with_lease(self.question(&self.leases, place), terms, ask)).await.map(read)?;
        if answer.absent > 0 {
            self.youth.learn(terms, answer.absent);
        }
        Ok(answer)
    }

    /// Asks for slots of `most`. The caller sees to how long it waits.
    pub(super) async fn slots(&self, place: &Place, most: u32, ask: &slots::Ask) -> Result<slots::Answer, RedisError> {
        self.put(place.tag, with_slots(self.question(&self.slots, place), most, ask)).await.map(read_slots)
    }

    fn question<'s>(&self, script: &'s Script, place: &Place) -> ScriptInvocation<'s> {
        question(script, &self.prefix, place, self.node, fastrand::u64(..))
    }

    async fn put<T: FromRedisValue>(&self, tag: u8, question: ScriptInvocation<'_>) -> Result<T, RedisError> {
        let began = Instant::now();
        let line = self.line.lock().clone();
        let line = line.ok_or_else(|| RedisError::from((ErrorKind::Io, "there is no connection")))?;
        let answer: Result<T, _> = question.invoke_async(&mut line.to(tag)).await;
        self.metrics.seconds.observe(began.elapsed().as_secs_f64());
        if answer.as_ref().is_err_and(is_elsewhere) {
            // Where everything is now is found out anew: of other slots of the same server it may be as it was. Unless it has been meanwhile.
            drop(self.line.lock().take_if(|now| Arc::ptr_eq(now, &line)));
        }
        answer
    }

    /// It did not answer, or not with what was asked for: nobody waits any more.
    pub(super) fn has_gone(&self, why: &str) {
        if !self.away.swap(true, Ordering::Relaxed) {
            tracing::warn!(why, "shared limits cannot be asked for; on_outage is in force");
            self.note(true);
            *self.gone_at.lock() = Instant::now();
            self.gone.notify_one();
        }
    }

    /// Connects for the first time, if that is quickly done.
    pub(super) async fn connect(&self) {
        self.note(true);
        match timeout(FIRST, self.look()).await.unwrap_or_else(|_| Err(format!("no answer within {FIRST:?}"))) {
            Ok(()) => self.is_back(),
            Err(why) => tracing::warn!(why, "shared limits cannot be asked for; on_outage is in force"),
        }
    }

    /// Notices when it is back, for as long as the process lives; and when it has gone while nobody asks for anything, since how
    /// long it was away decides whether others are waited for. `longest` gives the longest window of the limits in force.
    pub(super) async fn watch(&self, longest: impl Fn() -> Duration) {
        let (mut failures, mut last) = (0, String::new());
        loop {
            if failures == 0 && !self.is_away() {
                tokio::select! {
                    () = self.gone.notified() => {}
                    () = sleep(LOOK_EVERY) => {}
                }
            }
            if self.youth.follow(longest()) {
                self.is_new.store(true, Ordering::Relaxed);
            }
            let looked = self.look().await;
            self.youth.look();
            match looked {
                Ok(()) => {
                    failures = 0;
                    if self.is_away() {
                        self.settle().await;
                    }
                }
                Err(why) => {
                    failures += 1;
                    if failures % ENOUGH == 0 {
                        self.has_gone(&why);
                        // It may never tell that its other end is gone.
                        *self.line.lock() = None;
                    }
                    // Each reason is told once, and not ten times a second.
                    if why != last {
                        tracing::warn!(why, "shared limits cannot be asked for yet");
                        last = why;
                    }
                    sleep(TRY_EVERY).await;
                }
            }
        }
    }

    /// Does all that a lease needs, with a ledger that is nobody's. On a new connection there may be a new memory: every mark is
    /// looked at, so that it is known to be young from its beginning, and not from when a tag is first met.
    async fn look(&self) -> Result<(), String> {
        if self.line.lock().is_none() {
            let line = self.way.line().await?;
            self.recognise(&line).await?;
            self.is_new.store(true, Ordering::Relaxed);
            *self.line.lock() = Some(Arc::new(line));
        }
        let terms = Terms::of(Quota { units: u32::MAX, window: Duration::from_secs(1) });
        // A debt is entered whatever else is answered: so it is seen whether there is room, and a right to write.
        let ask = Ask { debt: 1, ..Ask::default() };
        let question = async |tag| self.answer(&Place { tag, name: "look".to_owned() }, terms, &ask).await;
        let samples = self.line.lock().as_ref().map(|line| line.samples());
        let samples = samples.ok_or("what was asked for is somewhere else now")?;
        let first = timeout(PATIENCE, join_all(samples.into_iter().map(question))).await;
        let first = first.map_err(|_| format!("no answer within {PATIENCE:?}"))?;
        if let Some(error) = failure(first) {
            *self.line.lock() = None;
            return Err(why(&error));
        }
        if !self.is_new.load(Ordering::Relaxed) {
            return Ok(());
        }
        let all = timeout(LATEST, join_all((1..TAGS).map(question))).await;
        let all = all.map_err(|_| format!("no answer within {LATEST:?}"))?;
        if let Some(error) = failure(all) {
            return Err(why(&error));
        }
        let (terms, ask) = self.youth.question();
        let age = async |tag| self.answer(&Place { tag, name: "age".to_owned() }, terms, &ask).await;
        // One that is not heard of here will be when it refuses to lend.
        drop(timeout(LATEST, join_all((0..TAGS).map(age))).await);
        self.is_new.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Before anybody may ask on this connection, every memory behind it that was read from a file is made to begin anew.
    async fn recognise(&self, line: &Line) -> Result<(), String> {
        let question = async |tag: u8| {
            let run = line.run(tag);
            if run.id.is_empty() {
                return Ok(0);
            }
            let mut question = self.memory.prepare_invoke();
            question.key(format!("{}:{{{tag}}}:mark", self.prefix)).key(format!("{}:{{{tag}}}:run", self.prefix));
            question.arg(fastrand::u64(..)).arg(format!("{} ", run.place)).arg(&run.id);
            question.invoke_async::<u32>(&mut line.to(tag)).await
        };
        let all = timeout(LATEST, join_all((0..TAGS).map(question))).await;
        let all = all.map_err(|_| format!("no answer within {LATEST:?}"))?;
        let old = all.into_iter().sum::<Result<u32, _>>().map_err(|error| why(&error))?;
        if old > 0 {
            tracing::warn!("Redis was started again with what a file told it, which may be old: it counts as empty");
        }
        Ok(())
    }

    async fn settle(&self) {
        let was_long = self.gone_at.lock().elapsed() > slots::LIFE / 2;
        self.settling.store(was_long, Ordering::Relaxed);
        self.is_back();
        if was_long {
            sleep(SETTLE).await;
            self.settling.store(false, Ordering::Relaxed);
        }
    }

    fn is_back(&self) {
        tracing::info!("shared limits can be asked for");
        self.note(false);
        self.away.store(false, Ordering::Relaxed);
        self.back.notify_waiters();
    }

    fn note(&self, away: bool) {
        self.metrics.away.set(i64::from(away));
        self.readiness.limits_away.store(away, Ordering::Relaxed);
    }
}

/// Whether it was asked of a server that does not keep it, or not any more.
fn is_elsewhere(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::ReadOnly))
}

/// Whether it was asked of a server that is handing the slot over: all that it keeps besides is where it was.
fn is_moving(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(ServerErrorKind::Ask | ServerErrorKind::TryAgain))
}

/// Why a server is not as good as any, if one is not.
fn failure<T>(answers: Vec<Result<T, RedisError>>) -> Option<RedisError> {
    answers.into_iter().filter_map(Result::err).find(|error| !is_moving(error))
}

/// What every question begins with.
fn question<'s>(script: &'s Script, prefix: &str, place: &Place, node: u64, fresh: u64) -> ScriptInvocation<'s> {
    let Place { tag, name } = place;
    let mut question = script.prepare_invoke();
    question.key(format!("{prefix}:{{{tag}}}:{name}")).key(format!("{prefix}:{{{tag}}}:mark")).arg(fresh).arg(node);
    question
}

fn with_lease<'s>(mut question: ScriptInvocation<'s>, terms: Terms, ask: &Ask) -> ScriptInvocation<'s> {
    let back = ask.back.unwrap_or_default();
    question.arg(terms.units).arg(terms.window).arg(terms.life);
    question.arg(ask.need).arg(ask.ahead).arg(ask.held).arg(ask.debt);
    question.arg(back.epoch).arg(back.slice).arg(back.units);
    question
}

fn with_slots<'s>(mut question: ScriptInvocation<'s>, most: u32, ask: &slots::Ask) -> ScriptInvocation<'s> {
    question.arg(most).arg(slots::most_spare(most)).arg(slots::keep());
    question.arg(ask.number).arg(ask.held).arg(ask.spare).arg(ask.need).arg(ask.more);
    question
}

fn read((epoch, slice, granted, left, wait, absent, over): (u64, u64, u32, u32, u64, u64, u32)) -> Answer {
    Answer { epoch, slice, granted, left, wait, absent, over }
}

fn read_slots((granted, absent): (u32, u64)) -> slots::Answer {
    slots::Answer { granted, absent }
}

#[cfg(test)]
mod tests;
