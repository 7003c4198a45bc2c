//! How many wrong passwords are too many, and for how long nobody is listened to then.
//!
//! A tally counts failures in a row. At `attempts` it locks, first for `duration`, then for twice as long, and so on up to
//! `longest`; an attempt while it is locked is not looked at and so does not count. After `forget_after` without a failure all is
//! forgotten. What is counted together, and who passes all the same, is said in docs/decisions/0008-lockout.md.

use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};

/// When a tally locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockRules {
    /// Failures in a row; 0: it never locks.
    pub attempts: u32,
    /// The first lock.
    pub duration: Duration,
    /// The longest lock.
    pub longest: Duration,
    /// Without a failure for so long, counted from the end of a lock, everything is forgotten.
    pub forget_after: Duration,
}

/// Failures counted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Since the last success or lock.
    pub failures: u32,
    /// Locks since everything was forgotten.
    pub locks: u32,
    /// Nobody is listened to until then.
    pub locked_until: Option<DateTime<Utc>>,
    /// The last failure.
    pub last_at: Option<DateTime<Utc>>,
}

// === impl Tally ===

impl Tally {
    /// Until when nobody is listened to, if that is so now.
    #[must_use]
    pub fn locked(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.locked_until.filter(|until| *until > now)
    }

    /// One failure later.
    #[must_use]
    pub fn failed(self, rules: &LockRules, now: DateTime<Utc>) -> Self {
        let over = self.last_at.max(self.locked_until).is_some_and(|last| now > later(last, rules.forget_after));
        let before = if over { Self::default() } else { self };
        let failures = before.failures.saturating_add(1);
        if rules.attempts == 0 || failures < rules.attempts {
            return Self { failures, locked_until: before.locked(now), last_at: Some(now), ..before };
        }
        let locks = before.locks.saturating_add(1);
        // 2^16 times a second is most of a day: whatever the first lock is, the longest is reached.
        let length = rules.duration.saturating_mul(1 << (locks - 1).min(16)).min(rules.longest);
        Self { failures: 0, locks, locked_until: Some(later(now, length)), last_at: Some(now) }
    }
}

fn later(time: DateTime<Utc>, by: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(by).ok().and_then(|by| time.checked_add_signed(by)).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// Bits of an IPv6 address that say whose it is: a provider gives a home 256 networks as a rule (RIPE-690 §4.2), and whoever has one of them
/// in a data centre shares with 255 neighbours, as people behind one IPv4 address do.
const OF_SITE: u32 = 56;

/// Who shares whatever is counted by an address, everywhere: one IPv4 address, or one IPv6 /56, by the first address in it.
#[must_use]
pub fn site_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !(u128::MAX >> OF_SITE)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

/// The same as text.
#[must_use]
pub fn network_of(address: IpAddr) -> String {
    match site_of(address) {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("{address}/{OF_SITE}"),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULES: LockRules = LockRules {
        attempts: 5,
        duration: Duration::from_mins(30),
        longest: Duration::from_hours(4),
        forget_after: Duration::from_hours(24),
    };

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_790_000_000, 0).unwrap() + TimeDelta::minutes(minute)
    }

    fn fail(mut tally: Tally, times: usize, now: DateTime<Utc>) -> Tally {
        for _ in 0..times {
            tally = tally.failed(&RULES, now);
        }
        tally
    }

    #[test]
    fn the_fifth_failure_in_a_row_locks_for_half_an_hour() {
        let four = fail(Tally::default(), 4, at(0));
        assert_eq!((four.failures, four.locked(at(0))), (4, None));
        let five = fail(four, 1, at(0));
        assert_eq!((five.failures, five.locked(at(0))), (0, Some(at(30))));
        assert_eq!((five.locked(at(29)).is_some(), five.locked(at(30))), (true, None), "it ends by itself");
    }

    #[test]
    fn each_lock_is_twice_as_long_up_to_the_longest() {
        let (mut tally, mut now, mut lengths) = (Tally::default(), at(0), Vec::new());
        for _ in 0..6 {
            tally = fail(tally, 5, now);
            let until = tally.locked(now).unwrap();
            lengths.push((until - now).num_minutes());
            now = until;
        }
        assert_eq!(lengths, [30, 60, 120, 240, 240, 240]);
    }

    #[test]
    fn after_a_day_without_a_failure_everything_is_forgotten() {
        let locked = fail(Tally::default(), 5, at(0));
        let day = 24 * 60;
        assert_eq!(fail(locked, 1, at(30 + day)).locks, 1, "the day begins when the lock ends");
        assert_eq!((fail(locked, 1, at(31 + day)).locks, fail(locked, 1, at(31 + day)).failures), (0, 1));
        let four = fail(Tally::default(), 4, at(0));
        assert_eq!(fail(four, 1, at(day)).locks, 1);
        assert_eq!(fail(four, 1, at(day + 1)).failures, 1);
    }

    #[test]
    fn no_attempts_means_no_lock() {
        let rules = LockRules { attempts: 0, ..RULES };
        let tally = (0..1000).fold(Tally::default(), |tally, _| tally.failed(&rules, at(0)));
        assert_eq!(tally.locked(at(0)), None);
    }

    #[test]
    fn an_address_of_ipv6_counts_with_its_neighbours() {
        for (address, network) in [
            ("203.0.113.7", "203.0.113.7"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("2001:db8:1:2ab:3:4:5:6", "2001:db8:1:200::/56"),
            ("2001:db8:1:2ff:ffff:ffff:ffff:ffff", "2001:db8:1:200::/56"),
            ("2001:db8:1:300::", "2001:db8:1:300::/56"),
            ("::1", "::/56"),
        ] {
            assert_eq!(network_of(address.parse().unwrap()), network, "{address}");
        }
    }

    proptest! {
        #[test]
        fn however_long_somebody_guesses_no_lock_is_longer_than_the_longest(minutes in proptest::collection::vec(0_i64..600, 1..200)) {
            let (mut tally, mut now, mut tried) = (Tally::default(), at(0), 0);
            for minute in minutes {
                now += TimeDelta::minutes(minute);
                if let Some(until) = tally.locked(now) {
                    prop_assert!(until - now <= TimeDelta::hours(4));
                    continue;
                }
                tried += 1;
                tally = tally.failed(&RULES, now);
            }
            prop_assert!(tried > 0 && tally.failures < 5);
        }
    }
}
