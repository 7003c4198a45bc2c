//! The time of day that all gateways on one Postgres agree on, however wrong a node's own clock is: the database's.
//!
//! Tokens begin and end by it, for who makes them and for who looks (`docs/decisions/0011`). Limits, caches and time-outs count on
//! monotonic clocks and Redis' own; nothing here reaches them.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Instant,
};

use crate::{Store, StoreError};
use chrono::{DateTime, TimeDelta, Utc};

/// A node whose clock is off by less keeps it: the answer's own way takes time, and clocks that are kept in step differ by less.
const TOLERATED: TimeDelta = TimeDelta::seconds(2);

/// A database that is off by more is taken to be the one that is wrong: a clock that is followed anywhere brings back what has expired.
const FOLLOWED: TimeDelta = TimeDelta::minutes(15);

/// How many microseconds the database's clock is ahead of the system's. There is one clock for the process.
static AHEAD: AtomicI64 = AtomicI64::new(0);

/// The time of day.
#[must_use]
pub fn now() -> DateTime<Utc> {
    match AHEAD.load(Ordering::Relaxed) {
        0 => Utc::now(),
        ahead => Utc::now() + TimeDelta::microseconds(ahead),
    }
}

/// Asks the database, and says how many seconds its clock is ahead, as far as that is followed. On SQLite nobody else has to agree.
pub async fn learn(store: &Store) -> Result<i64, StoreError> {
    let began = Instant::now();
    let Some(told) = store.time().await? else { return Ok(0) };
    let (took, heard) = (TimeDelta::from_std(began.elapsed()).unwrap_or(TimeDelta::MAX), Utc::now());
    let before = TimeDelta::microseconds(AHEAD.load(Ordering::Relaxed));
    let followed = follow(told - (heard - took / 2), took, before);
    AHEAD.store(followed.num_microseconds().unwrap_or_default(), Ordering::Relaxed);
    if (followed - before).abs() >= TOLERATED {
        tracing::warn!(ahead = followed.num_seconds(), "the database's clock is followed, and not this machine's");
    }
    Ok(followed.num_seconds())
}

/// What is followed from now on of a clock that seems to be so much `ahead`, when to ask it `took` so long.
fn follow(ahead: TimeDelta, took: TimeDelta, before: TimeDelta) -> TimeDelta {
    if took > TOLERATED {
        return before;
    }
    if ahead.abs() > FOLLOWED {
        tracing::error!(
            ahead = ahead.num_seconds(),
            "the database's clock is too far from this machine's to be followed"
        );
        return before;
    }
    if ahead.abs() < TOLERATED { TimeDelta::zero() } else { ahead }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_followed_that_is_off_by_more_than_the_way_to_it_and_by_less_than_a_quarter_of_an_hour() {
        let (quick, before) = (TimeDelta::milliseconds(5), TimeDelta::seconds(77));
        let followed = |seconds| follow(TimeDelta::seconds(seconds), quick, before).num_seconds();
        assert_eq!([1, -1, 2, -300, 900].map(followed), [0, 0, 2, -300, 900]);
        assert_eq!([901, -901, i64::from(i32::MAX)].map(followed), [77; 3]);
        // Who knows when it looked at its clock.
        assert_eq!(follow(TimeDelta::seconds(300), TimeDelta::seconds(3), before), before);
    }
}
