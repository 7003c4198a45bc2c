//! Who was just here: the callers of this very second, before the cache is asked for them.
//!
//! To find somebody in the cache some ten lines of memory are touched (bucket, key, entry, what it notes of the use), and again when it
//! puts its entries in order; with a thousand callers few of them are in a processor's own cache. Here it is one. It decides nothing: whoever
//! is found here is believed by the same rule as whoever is found there. And since the cache is asked again in each second, it knows which of
//! its entries are used.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{Known, digest::Digest};

/// Together 256 KiB.
const SETS: usize = 2048;
/// Two who share a set by chance do not drive each other out.
const PLACES: usize = 2;

/// Callers by their credentials.
pub(super) struct Recent(Box<[[Place; PLACES]]>);

/// A line of memory, so that nobody waits for what is written of others.
#[derive(Default)]
#[repr(align(64))]
struct Place(Mutex<Option<Kept>>);

struct Kept {
    digest: Digest,
    known: Arc<Known>,
    /// Unix seconds at which the cache was asked.
    second: i64,
}

const _: () = assert!(size_of::<Place>() == 64, "a place is more than a line of memory");

// === impl Recent ===

impl Recent {
    pub(super) fn new() -> Self {
        Self((0..SETS).map(|_| <[Place; PLACES]>::default()).collect())
    }

    /// Whose credential it is, if the cache has said so in this second. Waits for nobody: while somebody has the place it is as if nobody were there.
    pub(super) fn get(&self, digest: &Digest, second: i64) -> Option<Arc<Known>> {
        self.set(digest).iter().find_map(|place| {
            let kept = place.0.try_lock()?;
            let here = kept.as_ref().filter(|kept| kept.second == second && kept.digest == *digest)?;
            Some(Arc::clone(&here.known))
        })
    }

    /// The cache knows whose it is. Takes the place of the same one, or of somebody who has not been here in this second, or else of the last one.
    pub(super) fn put(&self, digest: Digest, known: &Arc<Known>, second: i64) {
        for (nth, place) in self.set(&digest).iter().enumerate() {
            let Some(mut kept) = place.0.try_lock() else { continue };
            let is_free = kept.as_ref().is_none_or(|kept| kept.second != second || kept.digest == digest);
            if is_free || nth + 1 == PLACES {
                *kept = Some(Kept { digest, known: Arc::clone(known), second });
                return;
            }
        }
    }

    /// Lets go of all who were not here in this second: who is gone is kept by nobody.
    pub(super) fn tidy(&self, second: i64) {
        for place in self.0.as_flattened() {
            drop(place.0.lock().take_if(|kept| kept.second != second));
        }
    }

    /// By the last bytes, since the cache goes by the first: who is crowded there is not crowded here.
    fn set(&self, digest: &Digest) -> &[Place; PLACES] {
        let [.., high, low] = *digest;
        &self.0[usize::from(u16::from_be_bytes([high, low])) % SETS]
    }
}

#[cfg(test)]
mod tests {
    use identity::{AccountId, Grant, Principal, SessionId};
    use uuid::Uuid;

    use super::*;

    fn somebody() -> Arc<Known> {
        let principal = Principal {
            account: AccountId::new(Uuid::from_u128(1)),
            role: "user".into(),
            tier: "free".into(),
            tenant: None,
            tenant_role: None,
            actor: None,
            is_service: false,
            grant: Grant::Session(SessionId::new(Uuid::from_u128(2))),
            scopes: None,
            networks: None,
            authentication: None,
            generation: 0,
        };
        Arc::new(Known::of(principal, "", None))
    }

    /// All of them share a set.
    fn digest(first: u8) -> Digest {
        let mut digest = [7; 32];
        digest[0] = first;
        digest
    }

    /// Is it this one who is found?
    fn finds(recent: &Recent, digest: &Digest, second: i64, whom: &Arc<Known>) -> bool {
        recent.get(digest, second).is_some_and(|found| Arc::ptr_eq(&found, whom))
    }

    #[test]
    fn who_was_here_in_this_second_is_found_by_all_of_their_credential_and_by_nothing_less() {
        let (recent, ada) = (Recent::new(), somebody());
        recent.put(digest(1), &ada, 5);
        assert!(finds(&recent, &digest(1), 5, &ada));
        assert!(recent.get(&digest(1), 4).is_none() && recent.get(&digest(1), 6).is_none(), "in another second");
        for nth in 0..32 {
            let mut other = digest(1);
            other[nth] ^= 1;
            assert!(recent.get(&other, 5).is_none(), "{nth}");
        }
    }

    #[test]
    fn two_who_share_a_set_are_both_found_and_a_third_takes_the_place_of_one() {
        let (recent, all) = (Recent::new(), [1, 2, 3].map(|first| (digest(first), somebody())));
        let found = || all.each_ref().map(|(digest, known)| finds(&recent, digest, 5, known));
        let come = |who: usize| recent.put(all[who].0, &all[who].1, 5);
        come(0);
        come(1);
        assert_eq!(found(), [true, true, false]);
        come(2);
        assert_eq!(found(), [true, false, true]);
    }

    #[test]
    fn who_has_changed_takes_their_own_place() {
        let (recent, [before, after, other]) = (Recent::new(), [0; 3].map(|_| somebody()));
        recent.put(digest(1), &before, 5);
        recent.put(digest(2), &other, 5);
        recent.put(digest(1), &after, 5);
        assert!(finds(&recent, &digest(1), 5, &after) && finds(&recent, &digest(2), 5, &other));
        assert_eq!(Arc::strong_count(&before), 1);
    }

    #[test]
    fn nobody_waits_for_a_place() {
        let (recent, [ada, bob]) = (Recent::new(), [0; 2].map(|_| somebody()));
        recent.put(digest(1), &ada, 5);
        let [one, other] = recent.set(&digest(1));
        let first = one.0.lock();
        assert!(recent.get(&digest(1), 5).is_none());
        recent.put(digest(2), &bob, 5);
        assert!(finds(&recent, &digest(2), 5, &bob), "the other one is free");
        let second = other.0.lock();
        recent.put(digest(3), &bob, 5);
        drop((first, second));
        assert!(finds(&recent, &digest(1), 5, &ada) && recent.get(&digest(3), 5).is_none());
    }

    #[test]
    fn who_is_gone_is_let_go() {
        let (recent, [ada, bob]) = (Recent::new(), [0; 2].map(|_| somebody()));
        recent.put(digest(1), &ada, 5);
        recent.put([8; 32], &bob, 6);
        recent.tidy(6);
        assert_eq!([Arc::strong_count(&ada), Arc::strong_count(&bob)], [1, 2]);
        assert!(finds(&recent, &[8; 32], 6, &bob));
    }
}
