//! How often somebody has guessed a password or a code, and whether anybody is listened to: docs/decisions/0008-lockout.md.
//!
//! What is counted together: failures at one account from one familiar place (a browser in which, or a network from which, its owner
//! has logged in); failures at one account from everywhere else; failures from one network at whatever accounts. An address
//! without an account is counted as one with, so that a lock tells nothing. Codes have a count of their own, which none can fill but who has
//! shown the first factor: else any stranger's wrong passwords would keep the owner from showing theirs.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{Arc, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use identity::{Email, LockRules, SecretDigest};
use store::{AccountKind, Aim, Claim, Claimed, LoginFacts};
use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    time::timeout,
};

use crate::{
    error::ApiError,
    mail::{Letter, Said},
    office::Office,
    trail,
    visitor::Visitor,
};

/// Two addresses in this many wait for one another.
const TURNS: usize = 1024;
/// How many wait for a turn at most, as for a slot in which passwords are computed: at 16 ms each the last waits a second. More of them are nobody who has
/// mistyped a password, and each holds a connection of the door's.
const WAITING_PER_TURN: usize = 64;
/// How many of them, whoever they are. The other places are for networks of which nobody waits there yet: whoever fills the queue of an address from one
/// network leaves its owner elsewhere a turn.
const OF_ANY_NETWORK: usize = 48;
/// For how long: four times that, since the account may have a dearer hash of an older system.
pub(crate) const PATIENCE: Duration = Duration::from_secs(4);

/// Lets those who guess at one account come one after the other: else a hundred at once would all find it unlocked.
pub(crate) struct Turns {
    /// Which addresses wait for one another is this process's secret. Else whoever has found addresses that share a victim's turn would fill its
    /// queue with them, and no lock of the victim's account would stop it.
    choice: RandomState,
    places: Box<[Place]>,
}

/// Where those wait who guess at some accounts.
#[derive(Default)]
struct Place {
    turn: Arc<Mutex<()>>,
    /// The network of each who waits.
    waiting: std::sync::Mutex<Vec<u64>>,
}

/// Somebody who waits, also if they give up.
struct Waits<'a> {
    place: &'a Place,
    network: u64,
}

/// What is guessed at an account.
#[derive(Clone, Copy)]
enum Guessed {
    Password,
    Code,
}

/// Somebody who says an account is theirs.
pub(crate) struct Attempt {
    pub(crate) facts: Option<LoginFacts>,
    /// What the dearest hash of an older system costs that is still in use.
    pub(crate) dearest: Option<u32>,
    /// Where a failure is counted.
    aims: [(Aim, LockRules); 2],
    address: String,
    /// Is there anything to forgive?
    has_failed: bool,
    _turn: OwnedMutexGuard<()>,
}

// === impl Turns ===

impl Turns {
    pub(crate) fn new() -> Self {
        Self { choice: RandomState::new(), places: (0..TURNS).map(|_| Place::default()).collect() }
    }

    /// Waits for the turn, unless too many do, and not for ever.
    async fn of(&self, subject: &SecretDigest, network: Option<&str>) -> Result<OwnedMutexGuard<()>, ApiError> {
        let place = &self.places[self.place(subject)];
        if let Ok(turn) = Arc::clone(&place.turn).try_lock_owned() {
            return Ok(turn);
        }
        let _waits = place.wait(self.choice.hash_one(network)).ok_or(ApiError::Busy)?;
        timeout(PATIENCE, Arc::clone(&place.turn).lock_owned()).await.map_err(|_| ApiError::Busy)
    }

    fn place(&self, subject: &SecretDigest) -> usize {
        self.choice.hash_one(subject.as_bytes()) as usize % TURNS
    }
}

// === impl Place ===

impl Place {
    /// A place in the queue, if there is one for somebody of this network.
    fn wait(&self, network: u64) -> Option<Waits<'_>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let most = if waiting.contains(&network) { OF_ANY_NETWORK } else { WAITING_PER_TURN };
        if waiting.len() >= most {
            return None;
        }
        waiting.push(network);
        drop(waiting);
        Some(Waits { place: self, network })
    }
}

// === impl Waits ===

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        let mut waiting = self.place.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = waiting.iter().position(|network| *network == self.network) {
            waiting.swap_remove(at);
        }
    }
}

// === impl Attempt ===

impl Attempt {
    /// Looks before a password is computed: one question, whoever it is. Refuses if nobody is listened to.
    pub(crate) async fn begin(office: &Office, visitor: &Visitor, email: &Email) -> Result<Self, ApiError> {
        Self::at(office, visitor, email, Guessed::Password).await
    }

    /// Looks before a code is: for somebody who has shown the first factor, or is in a session.
    pub(crate) async fn at_code(office: &Office, visitor: &Visitor, email: &Email) -> Result<Self, ApiError> {
        Self::at(office, visitor, email, Guessed::Code).await
    }

    async fn at(office: &Office, visitor: &Visitor, email: &Email, guessed: Guessed) -> Result<Self, ApiError> {
        let subject = guessed.subject(email.normalised());
        let (device, network) = (visitor.device(), visitor.network());
        let turn = office.turns.of(&subject, network.as_deref()).await;
        let turn = turn.inspect_err(|_| office.metrics.hashes_refused.inc())?;
        let named = network.as_deref().unwrap_or_default();
        let familiar = SecretDigest::of(format!("network\0{named}").as_bytes());
        let from = Aim::anywhere(SecretDigest::of(format!("from\0{named}").as_bytes()));
        let network = (network.as_deref(), familiar);
        let claim = Claim { email, device: device.as_ref(), network, subject, from };
        let Claimed { facts, at, tallies, dearest } = office.store.claim(claim).await?;
        // A machine has no password and no codes: it is nobody who could be known by them.
        let facts = facts.filter(|facts| facts.account.kind == AccountKind::Person);
        if let Some(facts) = &facts {
            trail::about(facts.account.id.uuid());
        }
        let knows_device = facts.as_ref().is_some_and(|facts| facts.knows_device);
        let lockout = &office.settings.lockout;
        // The neighbours of somebody in a browser of their own are not theirs to answer for.
        let of_network = if knows_device { LockRules { attempts: 0, ..lockout.network } } else { lockout.network };
        let now = office.now();
        let [of_account, of_source] = tallies.map(|tally| tally.locked(now));
        // Nor are those of whoever has shown the first factor.
        let heeds_network = matches!(guessed, Guessed::Password) && !knows_device;
        let until = of_account.max(of_source.filter(|_| heeds_network));
        if let Some(until) = until {
            return Err(ApiError::Locked(seconds_until(until, now)));
        }
        Ok(Self {
            facts,
            dearest,
            aims: [(at, lockout.account), (from, of_network)],
            address: email.normalised().to_owned(),
            has_failed: tallies[0].failures > 0 || tallies[0].locks > 0,
            _turn: turn,
        })
    }

    /// What was shown is wrong, or there is no such account.
    pub(crate) async fn failed(self, office: &Office) -> Result<(), ApiError> {
        let now = office.now();
        let notice = |until: DateTime<Utc>| {
            let minutes = (until - now).num_minutes();
            office.wish_later(Letter::AccountLocked, &self.address, &Said::minutes(minutes), now)
        };
        let [of_account, of_network] = office.store.count_failure(self.aims, notice, now).await?;
        if of_account {
            office.metrics.lockout("account");
            office.has_posted();
        }
        if of_network {
            office.metrics.lockout("network");
        }
        Ok(())
    }

    /// What was shown is right: what was counted there before was its owner.
    pub(crate) async fn succeeded(self, office: &Office) {
        if !self.has_failed {
            return;
        }
        if let Err(error) = office.store.forgive(self.aims[0].0).await {
            tracing::warn!(%error, "failed logins could not be forgiven");
        }
    }
}

/// Under what wrong passwords of an account are counted, whether there is one or not.
pub(crate) fn subject_of(normalised: &str) -> SecretDigest {
    Guessed::Password.subject(normalised)
}

/// Everything under which failures at an account are counted.
pub(crate) fn subjects_of(normalised: &str) -> [SecretDigest; 2] {
    [Guessed::Password, Guessed::Code].map(|guessed| guessed.subject(normalised))
}

// === impl Guessed ===

impl Guessed {
    fn subject(self, normalised: &str) -> SecretDigest {
        let word = match self {
            Self::Password => "account",
            Self::Code => "codes",
        };
        SecretDigest::of(format!("{word}\0{normalised}").as_bytes())
    }
}

/// Whole seconds, and never none: who comes back then is listened to.
fn seconds_until(until: DateTime<Utc>, now: DateTime<Utc>) -> u64 {
    u64::try_from((until - now).num_seconds()).unwrap_or_default() + 1
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use tokio::{
        task::{JoinSet, yield_now},
        time::Instant,
    };

    use super::*;

    #[test]
    fn which_addresses_wait_for_one_another_is_a_secret_of_the_process() {
        let chosen = |turns: &Turns| -> Vec<usize> {
            (0..64).map(|n| turns.place(&subject_of(&format!("person{n}@example.com")))).collect()
        };
        let (one, other) = (Turns::new(), Turns::new());
        assert_eq!(chosen(&one), chosen(&one));
        assert_ne!(chosen(&one), chosen(&other));
    }

    /// As many as that come to wait, from these networks.
    async fn wait_from(
        turns: &Arc<Turns>,
        subject: SecretDigest,
        networks: impl Iterator<Item = String>,
    ) -> JoinSet<bool> {
        let (mut waiting, place) = (JoinSet::new(), &turns.places[turns.place(&subject)]);
        for network in networks {
            let (turns, before) = (Arc::clone(turns), waiting_at(place));
            waiting.spawn(async move { turns.of(&subject, Some(&network)).await.is_ok() });
            while waiting_at(place) == before {
                yield_now().await;
            }
        }
        waiting
    }

    fn waiting_at(place: &Place) -> usize {
        place.waiting.lock().unwrap().len()
    }

    #[tokio::test(start_paused = true)]
    async fn one_has_the_turn_some_wait_and_the_next_is_told_at_once_to_come_again() {
        let (turns, subject) = (Arc::new(Turns::new()), subject_of("ada@example.com"));
        let turn = turns.of(&subject, None).await.unwrap();
        let networks = (0..WAITING_PER_TURN).map(|n| format!("192.0.2.{n}"));
        let waiting = wait_from(&turns, subject, networks).await;
        let asked = Instant::now();
        assert!(matches!(turns.of(&subject, Some("198.51.100.7")).await, Err(ApiError::Busy)));
        assert_eq!(asked.elapsed(), Duration::ZERO);
        drop(turn);
        assert!(waiting.join_all().await.into_iter().all(|served| served));
        assert_eq!(waiting_at(&turns.places[turns.place(&subject)]), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_fills_the_queue_of_an_address_from_one_network_leaves_its_owner_a_turn() {
        let (turns, subject) = (Arc::new(Turns::new()), subject_of("ada@example.com"));
        let turn = turns.of(&subject, Some("192.0.2.1")).await.unwrap();
        let strangers = std::iter::repeat_n("192.0.2.1".to_owned(), OF_ANY_NETWORK);
        let mut waiting = wait_from(&turns, subject, strangers).await;
        assert!(matches!(turns.of(&subject, Some("192.0.2.1")).await, Err(ApiError::Busy)));
        let owner = Arc::clone(&turns);
        waiting.spawn(async move { owner.of(&subject, Some("198.51.100.7")).await.is_ok() });
        let place = &turns.places[turns.place(&subject)];
        while waiting_at(place) == OF_ANY_NETWORK {
            yield_now().await;
        }
        assert!(matches!(turns.of(&subject, Some("198.51.100.7")).await, Err(ApiError::Busy)), "one for each");
        drop(turn);
        assert!(waiting.join_all().await.into_iter().all(|served| served));
        assert_eq!(waiting_at(place), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_turn_for_ever() {
        let (turns, subject) = (Turns::new(), subject_of("ada@example.com"));
        let turn = turns.of(&subject, None).await.unwrap();
        let asked = Instant::now();
        assert!(matches!(turns.of(&subject, None).await, Err(ApiError::Busy)));
        assert_eq!(asked.elapsed().as_secs(), PATIENCE.as_secs());
        drop(turn);
        assert!(turns.of(&subject, None).await.is_ok());
    }
}
