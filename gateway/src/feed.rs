//! Hears what changed and voids what was learnt before: the reader of the change feed (DESIGN §5).
//!
//! It polls once a second and is nudged at once by writes in this process, and of others ([`crate::nudges`]). A change applied twice is harmless; when the
//! feed cannot be read for longer than `max_stale`, nothing cached is believed any more.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use arc_swap::ArcSwap;
use identity::SealKeys;
use prometheus::IntGauge;
use store::{Change, Keyring, Store, StoreError, Subject};
use tokio::{
    sync::Notify,
    time::{Instant, MissedTickBehavior, interval},
};

use crate::{directory::Directory, metrics::Metrics, readiness::Readiness};

/// How often the feed is asked when nothing nudges.
const POLL_EVERY: Duration = Duration::from_secs(1);
/// How often the signing keys are loaded although nothing says that they changed: a key retires by the clock.
pub(crate) const KEYS_EVERY: Duration = Duration::from_mins(5);
/// How often the database is asked for the time.
const CLOCK_EVERY: Duration = Duration::from_secs(10);
/// Changes read at once.
const BATCH: u32 = 1000;

/// Reads the feed and tells the directory.
pub(crate) struct Feed {
    pub(crate) store: Store,
    pub(crate) directory: Arc<Directory>,
    pub(crate) keys: Arc<ArcSwap<Keyring>>,
    pub(crate) seal: Arc<SealKeys>,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) metrics: Metrics,
    pub(crate) max_stale: Duration,
    /// [`KEYS_EVERY`], but for tests.
    pub(crate) keys_every: Duration,
    /// The last change applied, if there has been one. Taken before anything was cached.
    pub(crate) last: Option<Change>,
    /// Another gateway has changed something.
    pub(crate) told: Arc<Notify>,
}

/// Whether changes are heard, for all who have to know. When it goes none are any more, for whatever reason: nothing that is cached is believed.
struct Hearing {
    directory: Arc<Directory>,
    readiness: Arc<Readiness>,
    healthy: IntGauge,
}

// === impl Hearing ===

impl Hearing {
    fn tell(&self, healthy: bool, too_stale: bool) {
        self.healthy.set(i64::from(healthy));
        self.readiness.store_away.store(!healthy, Ordering::Relaxed);
        self.directory.too_stale.store(too_stale, Ordering::Release);
    }
}

impl Drop for Hearing {
    fn drop(&mut self) {
        self.tell(false, true);
    }
}

// === impl Feed ===

impl Feed {
    /// Follows the feed until the process ends.
    pub(crate) async fn follow(mut self) {
        let (directory, readiness) = (Arc::clone(&self.directory), Arc::clone(&self.readiness));
        let hearing = Hearing { directory, readiness, healthy: self.metrics.feed.healthy.clone() };
        let mut nudged = self.store.nudges();
        let mut ticks = interval(POLL_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        let (mut keys_loaded, mut clock_read): (_, Option<Instant>) = (Instant::now(), None);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                alive = nudged.changed() => if alive.is_err() { return },
                () = self.told.notified() => {}
            }
            match self.catch_up().await {
                Ok(()) => {
                    heard = Instant::now();
                    self.metrics.feed.heard();
                    hearing.tell(true, false);
                    if clock_read.is_none_or(|at| at.elapsed() > CLOCK_EVERY)
                        && let Ok(ahead) = store::clock::learn(&self.store).await
                    {
                        self.metrics.feed.clock_ahead.set(ahead);
                        clock_read = Some(Instant::now());
                    }
                    // Keys that have retired meanwhile are trusted no longer. What they signed has expired before.
                    if keys_loaded.elapsed() > self.keys_every && self.reload_keys().await.is_ok() {
                        keys_loaded = Instant::now();
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, silent_for = ?heard.elapsed(), "the change feed cannot be read");
                    hearing.tell(false, heard.elapsed() > self.max_stale);
                }
            }
        }
    }

    /// Applies every change there is.
    async fn catch_up(&mut self) -> Result<(), StoreError> {
        loop {
            let changes = self.store.changes_since(self.position(), BATCH).await?;
            // Asked after reading: what is deleted goes from the oldest on, so that nothing between the two was missing.
            if let Some(last) = &self.last
                && !self.store.still_has(last).await?
            {
                self.begin_anew().await?;
                continue;
            }
            let Some(last) = changes.last() else { return Ok(()) };
            let mut subjects = changes.iter().map(|change| change.subject);
            self.directory.hear(changes.iter().map(|change| change.subject));
            if subjects.any(|subject| subject == Subject::SigningKeys) {
                self.reload_keys().await?;
                // What a withdrawn key has signed must be verified again.
                self.directory.forget_all();
            }
            self.stand_on(Some(*last));
        }
    }

    /// Changes may have been missed: the feed was not read for as long as they are kept, or the database is an older one
    /// that was restored. Nothing learnt before is believed any more.
    async fn begin_anew(&mut self) -> Result<(), StoreError> {
        tracing::warn!(position = self.position(), "changes may have been missed; everything is learnt anew");
        let last = self.store.last_change().await?;
        self.reload_keys().await?;
        self.directory.forget_all();
        self.stand_on(last);
        Ok(())
    }

    fn position(&self) -> i64 {
        self.last.map_or(0, |last| last.position)
    }

    fn stand_on(&mut self, last: Option<Change>) {
        self.last = last;
        self.metrics.feed.position.set(self.position());
    }

    /// Loads the signing keys anew. When they cannot be opened the old ones stay: revocations must go on being heard. When they
    /// cannot be read, what is to be heard about them has not been.
    async fn reload_keys(&self) -> Result<(), StoreError> {
        match Keyring::load(&self.store, &self.seal).await {
            Ok(keyring) => self.keys.store(Arc::new(keyring)),
            Err(error @ (StoreError::Unavailable(_) | StoreError::Forbidden(_))) => return Err(error),
            Err(error) => tracing::error!(%error, "the signing keys cannot be loaded; the old ones stay"),
        }
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use chrono::{TimeDelta, Utc};
    use identity::{Algorithm, MasterKey};
    use rand::SeedableRng;
    use store::Purpose;

    use super::*;
    use crate::directory::tests::House;

    /// A feed that has heard everything so far, of a house whose signing keys come from its database.
    async fn feed(house: &House, keys_every: Duration) -> Feed {
        let seal = Arc::new(SealKeys::new(MasterKey::generate(&mut rand::rng()), Vec::new()));
        let mut rng = rand::rngs::StdRng::from_rng(&mut rand::rng());
        store::ensure_keys(&house.store, &seal, Algorithm::EdDsa, None, &mut rng, Utc::now()).await.unwrap();
        house.keys.store(Arc::new(Keyring::load(&house.store, &seal).await.unwrap()));
        Feed {
            store: house.store.clone(),
            directory: Arc::clone(&house.directory),
            keys: Arc::clone(&house.keys),
            seal,
            readiness: Arc::default(),
            metrics: house.metrics.clone(),
            max_stale: Duration::from_secs(1),
            keys_every,
            last: house.store.last_change().await.unwrap(),
            told: Arc::default(),
        }
    }

    /// Puts the next signing key in force; the old one is worth nothing from then on.
    async fn withdraw_key(feed: &Feed) {
        let mut rng = rand::rngs::StdRng::from_rng(&mut rand::rng());
        let (none, now) = (TimeDelta::zero(), Utc::now());
        store::rotate(&feed.store, &feed.seal, Purpose::Access, none, &mut rng, now).await.unwrap();
    }

    #[tokio::test]
    async fn a_key_whose_time_is_over_is_dropped_by_the_clock_although_nothing_is_heard() {
        let house = House::open().await;
        let mut feed = feed(&house, Duration::ZERO).await;
        let retired = house.keys.load().access.current.kid().to_owned();
        withdraw_key(&feed).await;
        // The rotation has been heard; that its old key's time is over since then says nobody.
        feed.last = feed.store.last_change().await.unwrap();
        let following = tokio::spawn(feed.follow());
        let dropped = async {
            while house.keys.load().access.current.kid() == retired {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), dropped).await.expect("the old key is trusted for ever");
        following.abort();
    }

    #[tokio::test]
    async fn who_hears_no_changes_any_more_believes_nothing_it_has_learnt() {
        let house = House::open().await;
        let feed = feed(&house, KEYS_EVERY).await;
        let readiness = Arc::clone(&feed.readiness);
        let following = tokio::spawn(feed.follow());
        let heard = async {
            while house.metrics.feed.healthy.get() == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), heard).await.expect("nothing is ever heard");
        assert!(!house.directory.is_too_stale());
        following.abort();
        assert!(following.await.unwrap_err().is_cancelled());
        assert!(house.directory.is_too_stale());
        assert_eq!((house.metrics.feed.healthy.get(), readiness.degraded()), (0, vec!["store_unavailable"]));
    }

    #[tokio::test]
    async fn who_may_have_missed_changes_believes_nothing_it_has_learnt() {
        let house = House::open().await;
        let mut feed = feed(&house, KEYS_EVERY).await;
        let token = house.new_token().await;
        assert_eq!(house.code_of(&token).await, "ok");
        feed.catch_up().await.unwrap();
        let lookups = house.metrics.cache.misses.get();
        assert_eq!(house.code_of(&token).await, "ok");
        assert_eq!(house.metrics.cache.misses.get(), lookups, "it is cached");

        // What this node stands on is not in the database's history.
        let elsewhere = feed.last.unwrap();
        feed.last = Some(Change { changed_at: elsewhere.changed_at - TimeDelta::seconds(1), ..elsewhere });
        feed.catch_up().await.unwrap();
        assert_eq!(feed.last, Some(elsewhere));
        assert_eq!(house.code_of(&token).await, "ok");
        assert_eq!(
            house.metrics.cache.misses.get(),
            lookups + 1,
            "it was believed although changes may have been missed"
        );
    }

    #[tokio::test]
    async fn what_a_withdrawn_key_has_signed_is_refused_although_it_was_cached() {
        let house = House::open().await;
        let mut feed = feed(&house, KEYS_EVERY).await;
        let token = house.new_token().await;
        assert_eq!(house.code_of(&token).await, "ok");
        withdraw_key(&feed).await;
        feed.catch_up().await.unwrap();
        assert_eq!(house.code_of(&token).await, "invalid_token");
    }
}
