//! Passwords hashed and checked off the async threads, a few at a time.
//!
//! One Argon2 computation pins 19 MiB and a core for tens of milliseconds, so [`Hashing`] runs as many at once as the
//! settings say and lets a bounded number wait, for a bounded time; everybody else is told to come back (503), not queued for
//! longer than a client would wait. The algorithm is `identity`'s.

use std::{
    io,
    sync::{Arc, Mutex, OnceLock},
    thread,
    time::Duration,
};

use identity::{Argon2Params, Hasher, Password, PasswordError, PasswordHash, PasswordRules, Verdict};
use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::timeout,
};

use crate::{attempt, breached::Breached, error::ApiError, metrics::OfficeMetrics, office::OfficeError};

/// Computations that may wait for each one that runs. At 16 ms each (19 MiB, 2 passes, measured) the last waits a second.
/// Whoever is refused comes again, and to be asked again and again costs more than a place in the queue.
const WAITING_PER_SLOT: usize = 64;
/// For how long a computation gives way to everybody ([`Pace::GivesWay`]) before somebody who gives way a little has a try at the same.
/// Sixty times what it takes; where no processor has time to spare it would take for ever.
const GIVES_WAY: Duration = Duration::from_secs(1);
/// For how long somebody waits for a slot and for what is computed in it, together: ten times what the last of the queue does. Later the door
/// would give us up before we have answered (504), and never tell whoever asked that it was done after all.
const PATIENCE: Duration = Duration::from_secs(10);
/// For how long an answer may wait for passwords and codes. Whoever changes a password waits longest: for a turn at the account and for the old password,
/// for the new one, and for a turn to show a code.
pub const LONGEST_WAIT: Duration = Duration::from_secs(2 * (attempt::PATIENCE.as_secs() + PATIENCE.as_secs()));

/// Runs password computations.
pub(crate) struct Hashing {
    hasher: Arc<Hasher>,
    /// One permit for whoever runs or waits.
    room: Arc<Semaphore>,
    /// One permit for whoever runs.
    slots: Arc<Semaphore>,
    /// Kept by each computation that has given way for too long, until it is done.
    late: Arc<()>,
    metrics: OfficeMetrics,
}

/// One computation, which two threads may try; the first of them to be done gives the permits back and answers.
struct Job<T, F> {
    hasher: Arc<Hasher>,
    work: F,
    permits: Mutex<Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>>,
    /// Is it one of [`Hashing::late`]?
    late: OnceLock<Arc<()>>,
    tell: mpsc::Sender<T>,
}

/// How a thread shares the processors with the others.
///
/// Requests come before passwords: a crowd that logs in must not slow down everybody who has. Whatever the share of a thread (nice 19
/// has 15 of 1,039), Linux lets it go on for some milliseconds before another one that wakes gets its core; `SCHED_IDLE` alone is put aside
/// at once (sched(7)). But where others never rest it is put aside for good, and nobody could log in.
#[derive(Clone, Copy)]
enum Pace {
    /// Computes while nobody else wants to; where `SCHED_IDLE` is forbidden, with the least share there is.
    GivesWay,
    /// Has a tenth of a processor that another wants too.
    Insists,
}

/// Counts one who waits, also if they give up.
struct Waiting<'a>(&'a prometheus::IntGauge);

// === impl Hashing ===

impl Hashing {
    /// `at_once` 0 means one per core.
    pub(crate) fn new(params: Argon2Params, at_once: usize, metrics: OfficeMetrics) -> Result<Self, OfficeError> {
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let at_once = if at_once == 0 { cores() } else { at_once };
        Ok(Self {
            hasher: Arc::new(Hasher::new(params)?),
            room: Arc::new(Semaphore::new(at_once * (1 + WAITING_PER_SLOT))),
            slots: Arc::new(Semaphore::new(at_once)),
            late: Arc::default(),
            metrics,
        })
    }

    /// Hashes a new password.
    pub(crate) async fn hash(&self, password: Password) -> Result<PasswordHash, ApiError> {
        self.compute(move |hasher| hasher.hash(&password, &mut rand::rng())).await
    }

    /// Hashes a new password, if it is strong enough and none that was stolen.
    pub(crate) async fn hash_new(
        &self,
        password: Password,
        (rules, breached): (PasswordRules, Option<Breached>),
        about: Vec<String>,
    ) -> Result<Result<PasswordHash, PasswordError>, ApiError> {
        let hashed = self.compute(move |hasher| {
            let about: Vec<&str> = about.iter().map(String::as_str).collect();
            let is_good = match (rules.estimate(&password, &about), &breached) {
                (Ok(()), Some(breached)) => breached.check(&password)?,
                (is_good, _) => is_good,
            };
            io::Result::Ok(is_good.map(|()| hasher.hash(&password, &mut rand::rng())))
        });
        // Nobody gets a password that could not be looked up.
        hashed.await?.map_err(|error| ApiError::Internal(format!("the file of stolen passwords: {error}")))
    }

    /// A hash that nobody's password has.
    pub(crate) fn no_password(&self) -> &PasswordHash {
        self.hasher.decoy()
    }

    /// Checks a password against the hash of an account that is there.
    pub(crate) async fn verify(&self, password: &Password, hash: PasswordHash) -> Result<Verdict, ApiError> {
        let password = password.clone();
        self.compute(move |hasher| hasher.verify(&password, &hash)).await
    }

    /// Checks a password against the hash of an account that may not be there. If it is wrong, that took the same work whatever the account
    /// has, and whether there is one: see [`Hasher::check`].
    pub(crate) async fn check(
        &self,
        password: &Password,
        hash: Option<PasswordHash>,
        dearest: Option<u32>,
    ) -> Result<Verdict, ApiError> {
        let password = password.clone();
        let (verdict, work) = self.compute(move |hasher| hasher.check(&password, hash.as_ref(), dearest)).await?;
        self.metrics.argon2_checks.inc_by(work.argon2);
        self.metrics.bcrypt_rounds.inc_by(work.bcrypt_rounds);
        Ok(verdict)
    }

    /// Whoever hears that we are busy gets nothing of what may still be computed: nothing is written of it.
    async fn compute<T: Send + 'static>(
        &self,
        work: impl Fn(&Hasher) -> T + Send + Sync + 'static,
    ) -> Result<T, ApiError> {
        let computed = match Arc::clone(&self.room).try_acquire_owned() {
            Ok(room) => timeout(PATIENCE, self.compute_in(room, work)).await.unwrap_or(Err(ApiError::Busy)),
            Err(_) => Err(ApiError::Busy),
        };
        if matches!(computed, Err(ApiError::Busy)) {
            self.metrics.hashes_refused.inc();
        }
        computed
    }

    /// The permits go with the work: a caller who leaves does not make room for more than the memory is for. Of those who are late there are
    /// as many as slots at most, since nobody gives way while there are any.
    async fn compute_in<T: Send + 'static>(
        &self,
        room: OwnedSemaphorePermit,
        work: impl Fn(&Hasher) -> T + Send + Sync + 'static,
    ) -> Result<T, ApiError> {
        let slot = {
            let _waiting = Waiting::begin(&self.metrics.hashes_waiting);
            Arc::clone(&self.slots).acquire_owned().await.ok()
        };
        self.metrics.hashes.inc();
        let (tell, mut told) = mpsc::channel(2);
        let permits = Mutex::new(slot.map(|slot| (room, slot)));
        let job = Arc::new(Job { hasher: Arc::clone(&self.hasher), work, permits, late: OnceLock::new(), tell });
        let is_any_late = Arc::strong_count(&self.late) > 1;
        if !is_any_late {
            job.begin(Pace::GivesWay)?;
            match timeout(GIVES_WAY, told.recv()).await {
                Ok(done) => return done.ok_or_else(cut_off),
                Err(_) => drop(job.late.set(Arc::clone(&self.late))),
            }
        }
        job.begin(Pace::Insists)?;
        drop(job);
        told.recv().await.ok_or_else(cut_off)
    }
}

/// The panic's own words are in the log already, by the panic hook; they may hold what is nobody's business.
fn cut_off() -> ApiError {
    ApiError::Internal("a password computation was cut off".to_owned())
}

// === impl Job ===

impl<T: Send + 'static, F: Fn(&Hasher) -> T + Send + Sync + 'static> Job<T, F> {
    /// A policy is a thread's own, so each try has one; to begin it costs a thousandth of the work.
    fn begin(self: &Arc<Self>, pace: Pace) -> Result<(), ApiError> {
        let job = Arc::clone(self);
        let begun = thread::Builder::new().name("password".to_owned()).spawn(move || {
            pace.set();
            let done = (job.work)(&job.hasher);
            drop(job.permits.lock().map(|mut permits| permits.take()));
            // Whoever asked may have left, or have been told by the other.
            drop(job.tell.try_send(done));
        });
        begun.map(drop).map_err(|_| ApiError::Busy)
    }
}

// === impl Pace ===

impl Pace {
    /// Of the thread that asks.
    fn set(self) {
        let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
        let nice = match self {
            Self::GivesWay if set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle).is_ok() => {
                return;
            }
            Self::GivesWay => 19,
            Self::Insists => 10,
        };
        if let Err(error) = rustix::process::nice(nice) {
            tracing::debug!(%error, "passwords are computed at the priority of requests");
        }
    }
}

// === impl Waiting ===

impl<'a> Waiting<'a> {
    fn begin(gauge: &'a prometheus::IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use std::sync::{
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc,
    };

    use thread_priority::thread_schedule_policy;
    use tokio::{
        task::{JoinSet, yield_now},
        time::Instant,
    };

    use super::*;

    fn one_at_a_time() -> Arc<Hashing> {
        let metrics = OfficeMetrics::new(&prometheus::Registry::new()).unwrap();
        let params = Argon2Params { memory_kib: 64, iterations: 1, parallelism: 1 };
        Arc::new(Hashing::new(params, 1, metrics).unwrap())
    }

    /// Keeps whoever waits at it until its other half is dropped.
    fn gate() -> (mpsc::Sender<()>, impl Fn() -> bool + Send + Sync + 'static) {
        let (go, gate) = mpsc::channel::<()>();
        let gate = Mutex::new(gate);
        (go, move || gate.lock().unwrap().recv().is_err())
    }

    #[tokio::test]
    async fn one_runs_some_wait_and_the_next_is_told_to_come_again() {
        let hashing = one_at_a_time();
        let (go, gate) = gate();
        let mut admitted = JoinSet::new();
        let first = Arc::clone(&hashing);
        admitted.spawn(async move { first.compute(move |_| gate()).await.is_ok() });
        for _ in 0..WAITING_PER_SLOT {
            let hashing = Arc::clone(&hashing);
            admitted.spawn(async move { hashing.compute(|_| ()).await.is_ok() });
        }
        while hashing.room.available_permits() > 0 {
            yield_now().await;
        }
        assert_eq!(hashing.metrics.hashes_waiting.get(), i64::try_from(WAITING_PER_SLOT).unwrap());
        assert!(matches!(hashing.compute(|_| ()).await, Err(ApiError::Busy)));
        assert_eq!((hashing.metrics.hashes.get(), hashing.metrics.hashes_refused.get()), (1, 1));
        drop(go);
        assert!(admitted.join_all().await.into_iter().all(|served| served));
        assert_eq!(
            (hashing.metrics.hashes.get(), hashing.metrics.hashes_waiting.get()),
            (1 + WAITING_PER_SLOT as u64, 0)
        );
    }

    #[tokio::test]
    async fn whoever_leaves_makes_no_room_before_their_work_is_done() {
        let hashing = one_at_a_time();
        let ((go, gate), (begun, has_begun)) = (gate(), mpsc::channel());
        let leaver = Arc::clone(&hashing);
        let leaver = tokio::spawn(async move {
            leaver
                .compute(move |_| {
                    begun.send(()).unwrap();
                    gate()
                })
                .await
        });
        while has_begun.try_recv().is_err() {
            yield_now().await;
        }
        leaver.abort();
        assert!(leaver.await.is_err());
        assert_eq!(hashing.slots.available_permits(), 0);
        drop(go);
        assert!(hashing.compute(|_| ()).await.is_ok());
    }

    /// No processor has time: what has begun does not go on, and the clock does, as nothing else is left to do.
    #[tokio::test(start_paused = true)]
    async fn whoever_would_wait_longer_than_the_door_is_told_to_come_again_and_makes_no_room() {
        let hashing = one_at_a_time();
        let (go, gate) = gate();
        let told = async |work: Box<dyn Fn() -> bool + Send + Sync>| {
            let asked = Instant::now();
            let computed = hashing.compute(move |_| work()).await;
            assert!(matches!(computed, Err(ApiError::Busy)), "{:?}", computed.err());
            asked.elapsed().as_secs()
        };
        // One is computed for that long; the next waits for the slot for that long.
        assert_eq!(told(Box::new(gate)).await, PATIENCE.as_secs());
        assert_eq!(told(Box::new(|| true)).await, PATIENCE.as_secs());
        assert_eq!((hashing.metrics.hashes.get(), hashing.metrics.hashes_refused.get()), (1, 2));
        assert_eq!(hashing.metrics.hashes_waiting.get(), 0);
        // Who waits no more has left the queue; what has begun is still there.
        assert_eq!((hashing.slots.available_permits(), hashing.room.available_permits()), (0, WAITING_PER_SLOT));
        drop(go);
        tokio::time::resume();
        assert!(hashing.compute(|_| ()).await.is_ok());
    }

    #[tokio::test]
    async fn who_computes_comes_after_everybody_else() {
        let policy = || thread_schedule_policy().unwrap();
        let before = policy();
        let during = one_at_a_time().compute(move |_| policy()).await.unwrap();
        assert_eq!(during, ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle));
        assert!(policy() == before && before != during);
    }

    #[tokio::test]
    async fn who_has_given_way_for_too_long_is_overtaken_by_a_second_try_and_meanwhile_nobody_gives_way() {
        let hashing = one_at_a_time();
        let ((go, gate), is_first) = (gate(), AtomicBool::new(true));
        let policy = || thread_schedule_policy().unwrap();
        let insists = policy();
        let late = hashing.compute(move |_| {
            if is_first.swap(false, SeqCst) {
                gate();
            }
            policy()
        });
        assert!(late.await.unwrap() == insists);
        assert_eq!(hashing.slots.available_permits(), 1, "the second try has given back what both had");
        assert!(hashing.compute(move |_| policy()).await.unwrap() == insists, "the first is still there");
        drop(go);
        while Arc::strong_count(&hashing.late) > 1 {
            yield_now().await;
        }
        assert!(hashing.compute(move |_| policy()).await.unwrap() != insists);
    }

    #[tokio::test]
    async fn a_computation_that_panics_is_a_defect_and_frees_its_slot() {
        let hashing = one_at_a_time();
        let failed: Result<(), _> = hashing.compute(|_| panic!("hunter2")).await;
        assert!(matches!(failed, Err(ApiError::Internal(cause)) if !cause.contains("hunter2")));
        assert!(hashing.compute(|_| ()).await.is_ok());
    }
}
