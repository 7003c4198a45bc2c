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
    Utc::now() + TimeDelta::microseconds(AHEAD.load(Ordering::Relaxed))
}

/// Asks the database, and says how many seconds its clock is ahead, as far as that is followed. On SQLite nobody else has to agree.
pub async fn learn(store: &Store) -> Result<i64, StoreError> {
    let began = Instant::now();
    let Some(told) = store.time().await? else { return Ok(0) };
    let (took, heard) = (TimeDelta::from_std(began.elapsed()).unwrap_or(TimeDelta::MAX), Utc::now());
    if took > TOLERATED {
        return Ok(TimeDelta::microseconds(AHEAD.load(Ordering::Relaxed)).num_seconds());
    }
    let ahead = told - (heard - took / 2);
    if ahead.abs() > FOLLOWED {
        tracing::error!(
            seconds = ahead.num_seconds(),
            "the database's clock is too far from this machine's to be followed"
        );
        return Ok(TimeDelta::microseconds(AHEAD.load(Ordering::Relaxed)).num_seconds());
    }
    let followed = if ahead.abs() < TOLERATED { TimeDelta::zero() } else { ahead };
    let before = AHEAD.swap(followed.num_microseconds().unwrap_or_default(), Ordering::Relaxed);
    if (followed - TimeDelta::microseconds(before)).abs() >= TOLERATED {
        tracing::warn!(
            seconds = followed.num_seconds(),
            "the database's clock is ahead of this machine's, and is followed"
        );
    }
    Ok(followed.num_seconds())
}
