//! The keys of external issuers: fetched, kept, and fetched anew (DESIGN §3).
//!
//! Nobody who shows a token of a known key waits for a fetch: keys are fetched in the background, and the last good ones serve
//! while the issuer is away, up to a limit. A token of an unknown key (an issuer has just rotated) makes one fetch, however many
//! wait for it, within budgets that no client can drain alone ([`budget`]). They wait 2 s at most; the fetch goes on, and its keys
//! serve whoever comes then. What keys are trusted is `identity`'s; how they come over the wire is [`fetch`]'s.

mod budget;
mod fetch;

use std::{
    net::IpAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use chrono::{DateTime, Utc};
use identity::{ForeignClaims, ForeignRules, KeySet, TokenError};
use moka::sync::Cache;
use prometheus::IntCounterVec;
use tokio::{
    sync::{Mutex, Semaphore},
    time::{Instant, sleep_until, timeout_at},
};

pub(crate) use self::{
    budget::Bucket,
    fetch::{client, read},
};
use self::{
    budget::Budget,
    fetch::{Fetched, Source},
};
use crate::{config::issuers::KeySource, limiter::Limiter};

/// Ids of keys that an issuer has said it does not have: how many are remembered, and for how long. For so long a key that it
/// makes right afterwards with such an id is not looked for, unless the background fetch finds it.
const ABSENT: (u64, Duration) = (1024, Duration::from_mins(1));
/// The longest id that is looked for.
const LONGEST_ID: usize = 256;
/// The first pause after a failed fetch; each further one is twice as long, up to the last.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));
/// Requests that wait for one issuer's keys at once. More are answered at once, so that a silent issuer keeps nobody else waiting.
const WAITING: usize = 256;
/// How long each of them waits: an issuer that answers at all does so sooner, and a fetch may take 10 s ([`fetch`]).
const PATIENCE: Duration = Duration::from_secs(2);

/// One issuer's keys.
pub(crate) struct JwksClient {
    source: Source,
    keys: ArcSwapOption<Held>,
    /// One fetch at a time; what it holds is what the last one has left.
    turn: Arc<Mutex<Last>>,
    waiting: Semaphore,
    failures: AtomicU32,
    absent: Cache<Box<str>, ()>,
    budget: Budget,
    refresh: (Duration, Duration),
    max_stale: Duration,
    /// Told when a key is trusted no longer.
    withdrawn: OnceLock<Box<dyn Fn() + Send + Sync>>,
    outcomes: IntCounterVec,
}

struct Held {
    set: KeySet,
    confirmed: Instant,
}

/// What the last fetch has left.
struct Last {
    began: Option<Instant>,
    /// `Ok`: when the keys are to be fetched again; `Err`: when the issuer is asked again.
    next: Result<Instant, Instant>,
    etag: Option<http::HeaderValue>,
}

/// Why a key is not to be had.
enum NoKey {
    /// The issuer has none of that id.
    Unknown,
    /// It cannot be asked now.
    Unavailable,
}

// === impl JwksClient ===

impl JwksClient {
    pub(crate) fn new(
        issuer: &KeySource,
        everybody: Arc<Bucket>,
        limiter: Arc<Limiter>,
        outcomes: IntCounterVec,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            source: Source::new(issuer)?,
            keys: ArcSwapOption::empty(),
            turn: Arc::new(Mutex::new(Last { began: None, next: Ok(Instant::now()), etag: None })),
            waiting: Semaphore::new(WAITING),
            failures: AtomicU32::new(0),
            absent: Cache::builder().max_capacity(ABSENT.0).time_to_live(ABSENT.1).build(),
            budget: Budget::new(everybody, limiter),
            refresh: issuer.refresh,
            max_stale: issuer.max_stale,
            withdrawn: OnceLock::new(),
            outcomes,
        })
    }

    /// Calls `hear` whenever a key is trusted no longer, after it is. May be set once.
    pub(crate) fn on_withdrawal(&self, hear: impl Fn() + Send + Sync + 'static) {
        // A second listener would be a mistake of ours, and the first one is as good.
        drop(self.withdrawn.set(Box::new(hear)));
    }

    /// Checks a token whose header names this key, once more if the key has to be fetched for it. `None`: its keys cannot be had now, so nobody
    /// knows.
    pub(crate) async fn verify(
        self: &Arc<Self>,
        token: &str,
        kid: Option<&str>,
        rules: &ForeignRules,
        client: IpAddr,
        now: DateTime<Utc>,
    ) -> Option<Result<ForeignClaims, TokenError>> {
        let check = || self.with_keys(|keys| ForeignClaims::verify(token, keys, rules, now));
        let checked = check();
        match kid {
            Some(kid) if matches!(checked, None | Some(Err(TokenError::UnknownKey))) => {
                match self.look_for(kid, client).await {
                    Ok(()) => check(),
                    Err(NoKey::Unknown) => Some(Err(TokenError::UnknownKey)),
                    Err(NoKey::Unavailable) => None,
                }
            }
            _ => checked,
        }
    }

    /// The keys that are trusted now; none before the first fetch, and none that have not been confirmed for too long.
    fn with_keys<T>(&self, read: impl FnOnce(&KeySet) -> T) -> Option<T> {
        let held = self.keys.load();
        held.as_deref().filter(|held| held.confirmed.elapsed() <= self.max_stale).map(|held| read(&held.set))
    }

    /// Looks for a key that is not among those held: one fetch for all who wait, if the budgets allow one.
    async fn look_for(self: &Arc<Self>, kid: &str, client: IpAddr) -> Result<(), NoKey> {
        if kid.len() > LONGEST_ID || self.absent.contains_key(kid) {
            return Err(NoKey::Unknown);
        }
        let came = Instant::now();
        let _waiting = self.waiting.try_acquire().map_err(|_| NoKey::Unavailable)?;
        if !self.budget.has_some_for(client) {
            return Err(NoKey::Unavailable);
        }
        timeout_at(came + PATIENCE, self.asked_since(came, client)).await.unwrap_or(Err(NoKey::Unavailable))?;
        if self.with_keys(|set| set.knows(kid)) == Some(true) {
            return Ok(());
        }
        self.absent.insert(kid.into(), ());
        Err(NoKey::Unknown)
    }

    /// Waits until the issuer has answered what it was asked after `came`, by this request or by another one.
    async fn asked_since(self: &Arc<Self>, came: Instant, client: IpAddr) -> Result<(), NoKey> {
        let mut last = Arc::clone(&self.turn).lock_owned().await;
        if last.began.is_none_or(|began| began < came) {
            if last.next.is_err_and(|again| Instant::now() < again) || !self.budget.spend(client) {
                return Err(NoKey::Unavailable);
            }
            let asking = Arc::clone(self);
            // A task, so that it goes on when whoever waits for it has left.
            let asked = tokio::spawn(async move {
                asking.fetch(&mut last).await;
                last
            });
            last = asked.await.map_err(|_| NoKey::Unavailable)?;
        }
        if last.next.is_err() { Err(NoKey::Unavailable) } else { Ok(()) }
    }

    /// Keeps the keys fresh, for as long as the process lives.
    pub(crate) async fn refresh(self: Arc<Self>) {
        loop {
            let due = {
                let mut last = self.turn.lock().await;
                let (Ok(due) | Err(due)) = last.next;
                if due <= Instant::now() {
                    self.fetch(&mut last).await;
                }
                let (Ok(due) | Err(due)) = last.next;
                due
            };
            sleep_until(due).await;
        }
    }

    /// Asks the issuer, and keeps what it says if that is a key set.
    async fn fetch(&self, last: &mut Last) {
        let began = Instant::now();
        let etag = last.etag.as_ref().filter(|_| self.keys.load().is_some());
        let fetched = self.source.fetch(etag).await;
        last.began = Some(began);
        let (outcome, max_age) = match fetched {
            Ok(Fetched::New { set, etag, max_age }) => {
                self.keep(set, began);
                last.etag = etag;
                ("fetched", max_age)
            }
            Ok(Fetched::Same { max_age }) => {
                let held = self.keys.load_full();
                self.keys.store(held.map(|held| Arc::new(Held { set: held.set.clone(), confirmed: began })));
                ("unchanged", max_age)
            }
            Err(error) => {
                let failures = self.failures.fetch_add(1, Ordering::Relaxed).min(16);
                let pause = PAUSES.0.saturating_mul(1 << failures).min(PAUSES.1);
                tracing::warn!(issuer = self.source.issuer(), error = format!("{error:#}"), again_in = ?pause, "the keys of an issuer cannot be fetched; those at hand stay");
                last.next = Err(Instant::now() + pause);
                self.count("failed");
                return;
            }
        };
        self.failures.store(0, Ordering::Relaxed);
        let (shortest, longest) = self.refresh;
        let wait = max_age.unwrap_or(longest).clamp(shortest, longest);
        // Not all gateways at once.
        last.next = Ok(began + wait.mul_f64(1.0 - 0.1 * fastrand::f64()));
        self.count(outcome);
    }

    /// Trusts these keys and no others. What a key that is gone has signed is no longer believed: first the keys, then
    /// everything that was learnt by the old ones.
    fn keep(&self, set: KeySet, confirmed: Instant) {
        let held = Arc::new(Held { set, confirmed });
        let before = self.keys.swap(Some(Arc::clone(&held)));
        if before.is_some_and(|before| before.set.loses_a_key_to(&held.set)) {
            tracing::info!(issuer = self.source.issuer(), "an issuer has withdrawn a key");
            if let Some(hear) = self.withdrawn.get() {
                hear();
            }
        }
    }

    fn count(&self, outcome: &str) {
        self.outcomes.with_label_values(&[self.source.issuer(), outcome]).inc();
    }
}

#[cfg(test)]
mod tests;
