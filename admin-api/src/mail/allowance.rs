//! How many letters an address gets, and at whose asking. They are counted where they are written (`store::Allowance`, `store::Most`).
//!
//! Of most kinds one letter serves whoever reads it, so it is one count, and nobody goes without who has one that still serves. But some letters serve
//! only who has asked for them: a link to log in its browser, a registration whoever chose its password. With one count a
//! stranger who asks five times would leave nothing for the owner; with a count for each place alone, one who has many would flood the
//! mailbox (docs/decisions/0008-lockout.md).

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use identity::{AccountId, SecretDigest};
use serde::{Deserialize, Serialize};
use store::{Account, Asker, Letters, Most, StoreError};

use super::Letter;
use crate::office::Office;

/// Letters of one kind to one address in an hour; of a kind that serves who asked alone, for one place.
const MOST: u64 = 5;
/// Up to so many letters at strangers' asking each place has its five; then each has one …
const AT_EASE: u64 = 10;
/// … and after so many none, until the hour is over. At so many it also ends that links which are ended make room for others.
const AT_MOST: u64 = 20;
const HOUR: TimeDelta = TimeDelta::hours(1);

/// From where somebody asks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Source {
    /// From a network.
    #[serde(rename = "network")]
    Network(String),
    /// For a tenant.
    #[serde(rename = "tenant")]
    Tenant(uuid::Uuid),
}

/// A letter that is weighed.
pub(super) struct Weighed<'a> {
    pub(super) letter: Letter,
    /// The normalised address that it goes to.
    pub(super) address: &'a str,
    /// Whose account it is about.
    pub(super) account: Option<AccountId>,
    /// The browser in which alone it serves.
    pub(super) device: Option<SecretDigest>,
    pub(super) source: Option<Source>,
}

// === impl Office ===

impl Office {
    /// At whose asking a letter is made; nobody in particular where any serves whoever reads it.
    pub(super) async fn asker(&self, weighed: &Weighed<'_>) -> Result<Option<Asker>, StoreError> {
        let address = weighed.address;
        let stranger = |kind, name: &[u8]| Some(Asker { place: place(address, kind, name), is_familiar: false });
        let network = match &weighed.source {
            Some(Source::Network(network)) => network.as_str(),
            Some(Source::Tenant(_)) | None => "",
        };
        Ok(match (weighed.letter, weighed.account, weighed.device, &weighed.source) {
            (Letter::MagicLink, Some(account), Some(device), _) => {
                let familiar = |kind, name: &[u8]| Some(Asker { place: place(address, kind, name), is_familiar: true });
                match self.store.knows(account, Some(&device), network).await? {
                    [true, _] => familiar("device", device.as_bytes()),
                    [_, true] => familiar("network", network.as_bytes()),
                    _ => stranger("site", network.as_bytes()),
                }
            }
            (Letter::Register, ..) => stranger("site", network.as_bytes()),
            (Letter::ChangeEmail, Some(account), ..) => stranger("account", account.uuid().as_bytes()),
            (Letter::TenantInvite, _, _, Some(Source::Tenant(tenant))) => stranger("tenant", tenant.as_bytes()),
            _ => None,
        })
    }
}

/// Since when a letter is of late that serves for so long: whoever reads the mail has one then that serves for half of its time more, unless
/// its link was ended before.
pub(super) fn late(ttl: Option<Duration>, now: DateTime<Utc>) -> DateTime<Utc> {
    let half = ttl.and_then(|ttl| TimeDelta::from_std(ttl / 2).ok());
    now - half.unwrap_or(HOUR).min(HOUR)
}

/// May one more be written?
pub(super) fn has_room(made: Letters, asker: Option<&Asker>) -> bool {
    match asker {
        None => made.all < MOST || made.of_late == 0 || made.of_late <= made.ended && made.all < AT_MOST,
        // No stranger makes a place familiar, so nobody but the owner, and whoever sits beside them, is written to for it.
        Some(Asker { is_familiar: true, .. }) => made.of_place < MOST,
        Some(_) if made.of_strangers < AT_EASE => made.of_place < MOST,
        Some(_) => made.of_place == 0 && made.of_strangers < AT_MOST,
    }
}

/// How many letters there may be that tell of what has happened to an account. While nobody has confirmed its address, whoever it is may be a
/// stranger who has registered it, and all that they do is one kind.
pub(super) fn most(letter: Letter, account: &Account) -> Most {
    let kinds = if account.is_verified { vec![letter.word()] } else { Letter::NOTICES.map(Letter::word).to_vec() };
    Most { letters: MOST, kinds }
}

/// Salted: one place is another for each address.
fn place(address: &str, kind: &str, name: &[u8]) -> SecretDigest {
    SecretDigest::of(&[kind.as_bytes(), b"\0", address.as_bytes(), b"\0", name].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many letters are made when each place asks so often, one after the other.
    fn made(places: u64, times: u64) -> u64 {
        let asker = Asker { place: place("ada@example.com", "network", b"x"), is_familiar: false };
        (0..places).fold(0, |of_strangers, _| {
            (0..times)
                .fold((of_strangers, 0), |(of_strangers, of_place), _| {
                    let made = Letters { all: of_strangers, of_strangers, of_place, of_late: of_strangers, ended: 0 };
                    let more = u64::from(has_room(made, Some(&asker)));
                    (of_strangers + more, of_place + more)
                })
                .0
        })
    }

    #[test]
    fn strangers_share_what_is_left_and_whoever_is_many_floods_nobody() {
        assert_eq!([made(1, 9), made(2, 9), made(3, 9), made(7, 9)], [5, 10, 11, 15]);
        assert_eq!([made(12, 1), made(12, 9), made(1000, 9)], [12, 20, 20]);
    }

    #[test]
    fn who_is_at_home_has_a_count_that_no_stranger_fills() {
        let home = Asker { place: place("ada@example.com", "device", b"x"), is_familiar: true };
        let flooded = |of_place| Letters { all: 99, of_strangers: 99, of_place, ..Letters::default() };
        assert!(has_room(flooded(4), Some(&home)));
        assert!(!has_room(flooded(5), Some(&home)));
    }

    #[test]
    fn what_serves_whoever_reads_it_is_written_again_when_none_of_late_still_serves() {
        let made = |all, of_late, ended| Letters { all, of_late, ended, ..Letters::default() };
        let none_of_late = [made(4, 4, 0), made(5, 1, 0), made(5, 0, 0), made(19, 0, 0), made(20, 0, 0)];
        assert_eq!(none_of_late.map(|made| has_room(made, None)), [true, false, true, true, true]);
        let none_that_serves = [made(5, 5, 4), made(5, 5, 5), made(19, 9, 9), made(20, 9, 9)];
        assert_eq!(none_that_serves.map(|made| has_room(made, None)), [false, true, true, false]);
        let now = DateTime::from_timestamp(1_790_000_000, 0).expect("a moment");
        for (ttl, seconds) in [(None, 3600), (Some(1800), 900), (Some(86_400), 3600), (Some(u64::MAX), 3600)] {
            assert_eq!(now - late(ttl.map(Duration::from_secs), now), TimeDelta::seconds(seconds), "{ttl:?}");
        }
    }

    #[test]
    fn a_place_is_another_for_each_address_and_kind() {
        let one = place("ada@example.com", "network", b"192.0.2.1");
        assert_ne!(one, place("bob@example.com", "network", b"192.0.2.1"));
        assert_ne!(one, place("ada@example.com", "device", b"192.0.2.1"));
    }
}
