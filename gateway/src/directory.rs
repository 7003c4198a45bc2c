//! Who are you: a credential becomes a [`Known`] caller, from the cache if it was seen before, else verified and looked up.
//!
//! One cache, keyed by the SHA-256 of the whole credential. An entry holds what the signature proves and what the account
//! is, and counts only while nothing about its session, key or account has changed since before it was loaded
//! ([`Stamps`]); so a hit costs one look-up, checks no signature, does no SQL and holds no lock across an await. Whoever was here in this very
//! second already is found before the cache is asked ([`Recent`]), and believed by the same rule.
//! What a caller may do is decided in `policies`; who hears of changes is [`crate::feed`].

mod again;
mod asking;
mod digest;
mod elsewhere;
mod foreign;
mod guarded;
mod known;
mod provider;
mod recent;
mod strangers;
mod wanted;

use std::{
    collections::HashSet,
    hash::BuildHasherDefault,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use identity::{AccountId, ApiKey, Credential, Principal, SessionCookie, TenantId, TokenError, TokenRules};
use moka::future::Cache;
use parking_lot::Mutex;
use policies::{Possession, Quota, Refusal, ResourceKind};
use store::{Keyring, Store, Subject};
use uuid::Uuid;

pub(crate) use self::{
    asking::Asking,
    foreign::Outside,
    guarded::GroupHeaders,
    known::Known,
    provider::{Provided, ProviderKeys, nothing},
};
use self::{
    digest::{Digest, FirstBytes, digest_of},
    elsewhere::Denied,
    guarded::{Guarded, groups_of, integrations_of},
    known::{Uses, ids_of},
    recent::Recent,
    strangers::{Turn, Turns},
    wanted::Wanted,
};
use crate::{
    jwks_client::JwksClient,
    limiter::Limiter,
    metrics::CacheMetrics,
    stamps::{Moment, Stamps},
};

/// Entries that are looked at before others have their turn at the worker: it serves requests too.
const TIDIED_AT_ONCE: usize = 1024;
/// Loads that a change may overtake before the request gives up. Two in a row is already rare.
const TRIES: usize = 3;

/// Verified credentials, and how to verify those that are not.
pub(crate) struct Directory {
    store: Store,
    keys: Arc<ArcSwap<Keyring>>,
    rules: TokenRules,
    outside: Outside,
    known: Cache<Digest, Arc<Known>, BuildHasherDefault<FirstBytes>>,
    /// Those of them who have been found there in this second.
    recent: Recent,
    /// Credentials refused a moment ago by what the database says. Bounded and short, keyed by the whole credential (so
    /// that a wrong secret cannot shut out the right one), and void as soon as its session, key or account changes.
    refused: Cache<Digest, Denied>,
    /// Teams and domains of callers, where upstreams ask for them.
    groups: Guarded<(AccountId, TenantId), Arc<GroupHeaders>>,
    /// Whose things are, where routes ask for that.
    things: Guarded<(ResourceKind, Uuid), Option<Possession>>,
    stamps: Stamps,
    /// Every role and tier met so far: a handful, since administrators can give only those that are configured.
    words: Mutex<HashSet<Arc<str>>>,
    /// For routes that show them.
    provider_keys: Option<ProviderKeys>,
    /// Set while what is cached is too old to be believed: the change feed has been silent for `max_stale`.
    pub(crate) too_stale: AtomicBool,
    limiter: Arc<Limiter>,
    refusals: Quota,
    turns: Turns,
    /// Seconds for which a cookie is good when it is not used.
    cookie_idle: u32,
    metrics: CacheMetrics,
    store_failures: prometheus::IntCounter,
    store_seconds: prometheus::Histogram,
}

/// What a directory needs to know of the configuration.
pub(crate) struct DirectorySettings {
    pub(crate) rules: TokenRules,
    pub(crate) capacity: u64,
    pub(crate) refused_capacity: u64,
    pub(crate) refused_ttl: Duration,
    /// How long a cookie is good when it is not used.
    pub(crate) cookie_idle: Duration,
    /// Refusals one address may cause before it is refused unheard.
    pub(crate) refusals: Quota,
}

// === impl Directory ===

impl Directory {
    pub(crate) fn new(
        store: Store,
        keys: Arc<ArcSwap<Keyring>>,
        limiter: Arc<Limiter>,
        settings: DirectorySettings,
        metrics: &crate::metrics::Metrics,
    ) -> Self {
        let evictions = metrics.cache.evictions.clone();
        let known = Cache::builder()
            .max_capacity(settings.capacity)
            .eviction_listener(move |_, _, cause| {
                if cause.was_evicted() {
                    evictions.inc();
                }
            })
            .build_with_hasher(BuildHasherDefault::default());
        let refused =
            Cache::builder().max_capacity(settings.refused_capacity).time_to_live(settings.refused_ttl).build();
        let turns = Turns::new(store.connections());
        Self {
            store,
            keys,
            rules: settings.rules,
            outside: Outside::default(),
            known,
            recent: Recent::new(),
            refused,
            groups: Guarded::new(settings.capacity),
            things: Guarded::new(settings.capacity),
            stamps: Stamps::new(),
            words: Mutex::default(),
            provider_keys: None,
            too_stale: AtomicBool::new(false),
            limiter,
            refusals: settings.refusals,
            turns,
            cookie_idle: u32::try_from(settings.cookie_idle.as_secs()).unwrap_or(u32::MAX),
            metrics: metrics.cache.clone(),
            store_failures: metrics.store.failures.clone(),
            store_seconds: metrics.store.seconds.clone(),
        }
    }

    /// Believes others too.
    pub(crate) fn believing(self, outside: Outside) -> Self {
        Self { outside, ..self }
    }

    /// Forgets what an issuer's keys have proved when one of them is withdrawn; gives the keys of all issuers, to be kept fresh.
    pub(crate) fn hear_issuers(self: &Arc<Self>) -> Vec<Arc<JwksClient>> {
        let clients = self.outside.clients().map(|(mark, client)| {
            let hearer = Arc::downgrade(self);
            client.on_withdrawal(move || {
                if let Some(directory) = hearer.upgrade() {
                    directory.stamps.changed(mark);
                }
            });
            Arc::clone(client)
        });
        clients.collect()
    }

    /// Who shows this credential? Refuses with 401 what proves nothing, 429 an address that has been refused too often
    /// lately (before any signature check or look-up), 503 when the database is needed and does not answer.
    pub(crate) async fn authenticate(
        &self,
        credential: Credential<'_>,
        asking: Asking<'_>,
    ) -> Result<Arc<Known>, Refusal> {
        let (digest, now) = (digest_of(&credential), asking.now);
        if let Some(known) = self.recent.get(&digest, now.timestamp())
            && self.is_believed(&known, now)
        {
            return self.welcome(known, asking);
        }
        // Boxed, so that a request of somebody who was just here does not carry room for it.
        Box::pin(self.find(credential, digest, asking)).await
    }

    /// Whose it is by the cache, or else by what is heard of it.
    async fn find(
        &self,
        credential: Credential<'_>,
        digest: Digest,
        asking: Asking<'_>,
    ) -> Result<Arc<Known>, Refusal> {
        let now = asking.now;
        let is_stranger = match self.known.get(&digest).await {
            Some(known) if self.is_believed(&known, now) => {
                self.recent.put(digest, &known, now.timestamp());
                return self.welcome(known, asking);
            }
            // Known a moment ago: a change of its account is no reason to count it among strangers.
            Some(_) => {
                self.metrics.stale.inc();
                false
            }
            None => {
                self.refuse_unheard(&digest, asking).await?;
                true
            }
        };
        self.metrics.misses.inc();
        // Boxed, so that a request that hits the cache does not carry room for a database query with it.
        Box::pin(self.hear_out(credential, digest, asking, is_stranger)).await
    }

    /// Voids what was learnt about those who changed.
    pub(crate) fn hear(&self, subjects: impl IntoIterator<Item = Subject>) {
        for subject in subjects {
            self.provider_keys.iter().for_each(|keys| keys.hear(subject));
            match subject {
                Subject::Account(id) => self.stamps.changed(id.uuid()),
                Subject::Session(id) => self.stamps.changed(id.uuid()),
                Subject::Key(id) => self.stamps.changed(id.uuid()),
                Subject::External(id) => self.stamps.changed(id.uuid()),
                Subject::Tenant(id) => self.stamps.changed(id.uuid()),
                Subject::Resource(id) => self.stamps.changed(id),
                Subject::Groups(tenant) => self.stamps.changed(groups_of(tenant)),
                Subject::Integrations(owner) => self.stamps.changed(integrations_of(owner)),
                // The keys are loaded first; then everything is forgotten.
                Subject::SigningKeys => {}
                Subject::Unknown => self.forget_all(),
            }
        }
    }

    /// Hears what this process changes before whoever asked for it is answered; what others change is heard by the feed.
    pub(crate) fn hear_own_changes(self: &Arc<Self>, store: &Store) {
        let hearer = Arc::clone(self);
        store.listen(move |changed| hearer.hear(changed.iter().copied()));
    }

    /// Forgets everything, when changes may have been missed or the keys that signed it are gone.
    pub(crate) fn forget_all(&self) {
        self.stamps.all_changed();
        if let Some(keys) = &self.provider_keys {
            keys.forget_all();
        }
    }

    /// Drops what has expired (an expiry per entry would cost each of them a timer), and writes down when API keys and cookies were
    /// last used, in one transaction but for what somebody else holds. What the database does not take is offered to it again the next time.
    pub(crate) async fn tidy(&self, now: DateTime<Utc>) {
        self.recent.tidy(now.timestamp());
        let (mut keys, mut cookies) = (Uses::none(), Uses::none());
        for (nth, (digest, known)) in self.known.iter().enumerate() {
            if nth % TIDIED_AT_ONCE == 0 {
                tokio::task::yield_now().await;
            }
            keys.add(known.unwritten_use(), &known);
            cookies.add(known.unwritten_idle(now), &known);
            known.assertions.forget_stale(now);
            if known.expires_at <= now.timestamp() {
                self.known.invalidate(&*digest).await;
            }
        }
        if !keys.at.is_empty() {
            keys.are_written(self.store.touch_keys(&keys.at).await, "API keys");
        }
        if !cookies.at.is_empty() {
            cookies.are_written(self.store.touch_cookies(&cookies.at, now).await, "cookies");
        }
    }

    /// Entries in the cache, for the gauge.
    pub(crate) fn len(&self) -> u64 {
        self.known.entry_count()
    }

    /// Verifies a credential and loads the facts behind it, once however many requests wait for them, until no change
    /// overtakes the work: what was noted before the signature was checked guards keys and facts alike. A stranger's takes its `turn`.
    async fn verify<'a>(
        &'a self,
        credential: Credential<'_>,
        digest: Digest,
        asking: Asking<'_>,
        is_stranger: bool,
        turn: &mut Option<Turn<'a>>,
    ) -> Result<Arc<Known>, Refusal> {
        let now = asking.now;
        for _ in 0..TRIES {
            let begun = self.stamps.now();
            let wanted = self.prove(credential, asking).await?;
            if is_stranger && turn.is_none() {
                *turn = Some(self.turn(asking.client).await?);
            }
            if self.known.get(&digest).await.is_some_and(|known| !self.is_believed(&known, now)) {
                self.known.invalidate(&digest).await;
            }
            let known = self.known.try_get_with(digest, self.fetch(&wanted, digest, begun, asking)).await;
            // Whoever waits for the same load may be somewhere else.
            let known = known.map_err(|denied| denied.told(asking.place()))?;
            if self.still_holds(&known) {
                return Ok(known);
            }
        }
        Err(Refusal::DirectoryUnavailable)
    }

    /// What the credential proves by itself, and which record has to stand behind it.
    async fn prove(
        &self,
        credential: Credential<'_>,
        Asking { client, now, .. }: Asking<'_>,
    ) -> Result<Wanted, Refusal> {
        match credential {
            Credential::Jwt(token) => match self.outside.prove(token, client, now).await {
                Some(vouched) => vouched.map(Wanted::Vouched),
                None => identity::verify(token, &self.keys.load().access.keys, &self.rules, now)
                    .map(Wanted::Session)
                    .map_err(|error| refusal_of(&error, "none of [[issuers]]")),
            },
            Credential::ApiKey(text) => ApiKey::parse(text).map(Wanted::Key).map_err(|_| Refusal::InvalidToken),
            Credential::Developer { email, name } => Outside::named_by_developer(email, name).map(Wanted::Vouched),
            Credential::Cookie(text) => {
                SessionCookie::parse(text).map(Wanted::Cookie).map_err(|_| Refusal::InvalidToken)
            }
        }
    }

    /// One query: everything there is to know about the caller.
    async fn fetch(
        &self,
        wanted: &Wanted,
        digest: Digest,
        learnt: Moment,
        asking: Asking<'_>,
    ) -> Result<Arc<Known>, Denied> {
        let facts = self.facts_behind(wanted, asking).await.map_err(Denied::passing)?;
        match wanted.judge(facts, asking.now) {
            Ok(facts) => Ok(self.known_by(wanted, &facts, learnt, asking.now)),
            Err((refusal, about, networks)) => {
                let denied = Denied { refusal, about, learnt, networks };
                self.refused.insert(digest, denied.clone()).await;
                Err(denied)
            }
        }
    }

    /// The same principal, its role and tier in memory that it shares with all others of them.
    fn with_shared_words(&self, mut principal: Principal) -> Principal {
        let mut words = self.words.lock();
        for word in [&mut principal.role, &mut principal.tier] {
            match words.get(word) {
                Some(shared) => *word = Arc::clone(shared),
                None => drop(words.insert(Arc::clone(word))),
            }
        }
        principal
    }

    /// Does what is kept of a caller count, wherever it is kept?
    fn is_believed(&self, known: &Known, now: DateTime<Utc>) -> bool {
        self.still_holds(known) && !known.is_idle(now)
    }

    fn still_holds(&self, known: &Known) -> bool {
        if self.too_stale.load(Ordering::Acquire) {
            return false;
        }
        let applied = self.stamps.applied();
        if known.held_at.load(Ordering::Relaxed) == applied {
            return true;
        }
        let about = ids_of(&known.principal);
        let of_issuer = self.outside.mark_of(known.issuer);
        let holds = self.stamps.unchanged_since(known.learnt, about)
            && of_issuer.is_none_or(|mark| self.stamps.unchanged_since(known.learnt, [mark; 2]));
        if holds {
            known.held_at.store(applied, Ordering::Relaxed);
        }
        holds
    }
}

/// Who shows a token is not told what is wrong with it; whoever looks for the reason turns `log.level` to `debug`.
fn refusal_of(error: &TokenError, issuer: &str) -> Refusal {
    tracing::debug!(%error, issuer, "a token is refused");
    match error {
        TokenError::Expired => Refusal::Expired,
        _ => Refusal::InvalidToken,
    }
}

#[cfg(test)]
pub(crate) mod tests;
