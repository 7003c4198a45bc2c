//! Whoever is not known yet: how often one address may be wrong, and how much of what it asks the database is asked at once.
//!
//! That somebody is refused is counted when it is known, after the database has answered. A thousand who show made-up keys at one moment would all
//! find the budget of their address untouched. So what is asked for one address is asked a few at a time, and each looks at the budget when
//! its turn comes: what gets through is the budget, and those few.

use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use identity::Credential;
use policies::Refusal;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use super::{Asking, Directory, Known, digest::Digest};
use crate::limiter::network;

/// The budget of refusals is a limit like any other and needs an id of its own.
const REFUSALS: u64 = u64::from_be_bytes(*b"refusals");
/// Addresses share their turns with one in so many others, by chance.
const PLACES: usize = 1024;

/// Whose turn it is to ask the database.
pub(super) struct Turns {
    places: Box<[Semaphore]>,
    hasher: RandomState,
    /// How long one is waited for.
    patience: Duration,
}

/// Held until the database has answered, and a refusal by what it says is counted.
pub(super) type Turn<'a> = SemaphorePermit<'a>;

// === impl Turns ===

impl Turns {
    /// For each address half of the connections to the database, so that there are others for others; waited for as long as for one of those.
    pub(super) fn new((connections, patience): (u32, Duration)) -> Self {
        let at_once = (connections as usize / 2).max(1);
        let places = (0..PLACES).map(|_| Semaphore::new(at_once)).collect();
        Self { places, hasher: RandomState::new(), patience }
    }

    fn of(&self, client: IpAddr) -> &Semaphore {
        &self.places[self.hasher.hash_one(network(client)) as usize % PLACES]
    }
}

// === impl Directory ===

impl Directory {
    /// Verifies a credential that is not known, or not as it was, and counts it against its address if it proves nothing.
    pub(super) async fn hear_out(
        &self,
        credential: Credential<'_>,
        digest: Digest,
        asking: Asking<'_>,
        is_stranger: bool,
    ) -> Result<Arc<Known>, Refusal> {
        let _took = self.metrics.seconds.start_timer();
        let mut turn = None;
        let outcome = match self.verify(credential, digest, asking, is_stranger, &mut turn).await {
            Ok(known) if known.is_elsewhere(asking.place()) => {
                return Err(self.refuse_elsewhere(&known, asking.client));
            }
            outcome => outcome.and_then(|known| known.unless_expired(asking.now)),
        };
        if outcome.as_ref().is_err_and(|refusal| refusal.status() == 401) {
            self.count_refusal(asking.client);
            // What proves nothing any more is a stranger's: else it would be verified each time, however often it has been refused.
            self.known.invalidate(&digest).await;
        }
        outcome
    }

    /// Refuses what was refused a moment ago, and whoever has been refused too often.
    pub(super) async fn refuse_unheard(&self, digest: &Digest, asking: Asking<'_>) -> Result<(), Refusal> {
        self.check_refusals(asking.client)?;
        match self.refused.get(digest).await {
            Some(denied) if self.stamps.unchanged_since(denied.learnt, denied.about) => {
                let refusal = denied.told(asking.place());
                // As when it was refused first: whoever proved who they are guesses nothing.
                if refusal.status() == 401 {
                    self.count_refusal(asking.client);
                }
                Err(refusal)
            }
            _ => Ok(()),
        }
    }

    /// Waits until it is the turn of this address to have the database asked. It may have been refused too often by then.
    pub(super) async fn turn(&self, client: IpAddr) -> Result<Turn<'_>, Refusal> {
        let place = self.turns.of(client);
        let turn = match place.try_acquire() {
            Ok(turn) => turn,
            Err(_) => match timeout(self.turns.patience, place.acquire()).await {
                Ok(Ok(turn)) => turn,
                Ok(Err(_)) | Err(_) => return Err(Refusal::DirectoryUnavailable),
            },
        };
        self.check_refusals(client)?;
        Ok(turn)
    }

    /// Refuses an address that has been refused too often.
    pub(super) fn check_refusals(&self, client: IpAddr) -> Result<(), Refusal> {
        match self.limiter.address_exhausted(REFUSALS, &self.refusals, client) {
            Some(retry_after) => Err(Refusal::TooManyRefusals { retry_after }),
            None => Ok(()),
        }
    }

    /// Counts a refusal against the budget of its address.
    pub(crate) fn count_refusal(&self, client: IpAddr) {
        self.limiter.spend_address(REFUSALS, &self.refusals, client);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use std::net::Ipv4Addr;

    use futures_util::future::join_all;
    use identity::ApiKey;

    use super::{
        super::tests::{House, unknown_key},
        *,
    };

    const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    /// How many are told what, of those who show these keys at one moment.
    async fn told(house: &House, keys: &[ApiKey]) -> [usize; 3] {
        let said = join_all(keys.iter().map(|key| house.code_of_key(key))).await;
        ["ok", "invalid_token", "too_many_refusals"].map(|code| said.iter().filter(|said| **said == code).count())
    }

    #[tokio::test]
    async fn a_crowd_of_made_up_keys_is_looked_up_no_oftener_than_one_after_the_other() {
        let house = House::open().await;
        let keys: Vec<_> = (0..100).map(|_| unknown_key()).collect();
        let [_, looked_up, unheard] = told(&house, &keys).await;
        // The house bears three, and its database has one connection, so that none more was under way by then.
        assert_eq!((looked_up, unheard), (3, 97));
    }

    #[tokio::test]
    async fn a_crowd_with_good_keys_is_let_in_behind_one_address() {
        let house = House::open().await;
        let mut keys = Vec::new();
        for n in 0..32 {
            let account = house.person(&format!("person{n}@example.com")).await;
            keys.push(house.key(&account, None).await);
        }
        assert_eq!(told(&house, &keys).await, [32, 0, 0]);
    }

    #[test]
    fn one_address_has_half_of_the_connections_and_at_least_one() {
        for (connections, at_once) in [(1, 1), (3, 1), (4, 2), (16, 8), (64, 32)] {
            let turns = Turns::new((connections, Duration::ZERO));
            assert_eq!(turns.of(HOME).available_permits(), at_once, "of {connections}");
        }
    }

    #[tokio::test]
    async fn one_address_leaves_the_database_to_others_and_waits_for_itself_no_longer_than_for_a_connection() {
        let house = House::open().await;
        let turn = house.directory.turn(HOME).await;
        assert!(turn.is_ok());
        let elsewhere =
            |other: &IpAddr| !std::ptr::eq(house.directory.turns.of(*other), house.directory.turns.of(HOME));
        let other = (1..9).map(|n| IpAddr::from([192, 0, 2, n])).find(elsewhere).unwrap();
        assert!(house.directory.turn(other).await.is_ok());
        tokio::time::pause();
        assert_eq!(house.directory.turn(HOME).await.err(), Some(Refusal::DirectoryUnavailable));
        drop(turn);
        assert!(house.directory.turn(HOME).await.is_ok());
    }
}
