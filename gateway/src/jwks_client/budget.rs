//! How often strangers may make us ask an issuer for keys. Any token can name a key that there is not.
//!
//! Three budgets in a row: that of the client's address, so that one client alone cannot use up the others; that of the issuer,
//! which it can be asked without being burdened; and that of the whole process.

use std::{net::IpAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use policies::Quota;
use tokio::time::Instant;

use crate::limiter::Limiter;

/// The limiter counts this by itself.
const LOOKING: u64 = u64::from_be_bytes(*b"look_kid");
/// Unknown keys of one IPv4 address or IPv6 /56. After a rotation one is enough; a few more, since proxies hide many people.
const PER_CLIENT: Quota = Quota { units: 5, window: Duration::from_mins(1) };
/// Fetches in a row that unknown keys may make of one issuer, and how long one takes to come back: 12 in the first minute, then
/// 12 a minute.
const PER_ISSUER: (u32, Duration) = (12, Duration::from_secs(5));
/// And of all issuers together.
const IN_ALL: (u32, Duration) = (60, Duration::from_secs(1));

/// A bucket that fills by itself.
pub(crate) struct Bucket {
    most: u32,
    every: Duration,
    /// When it will be, or was, full.
    full_at: Mutex<Instant>,
}

/// What one issuer may be asked.
pub(crate) struct Budget {
    own: Bucket,
    everybody: Arc<Bucket>,
    limiter: Arc<Limiter>,
}

// === impl Bucket ===

impl Bucket {
    fn new((most, every): (u32, Duration)) -> Self {
        Self { most, every, full_at: Mutex::new(Instant::now()) }
    }

    /// That of the whole process.
    pub(crate) fn of_everybody() -> Arc<Self> {
        Arc::new(Self::new(IN_ALL))
    }

    fn spend(&self, now: Instant) -> bool {
        let mut full_at = self.full_at.lock();
        let next = (*full_at).max(now) + self.every;
        let has_one = next.saturating_duration_since(now) <= self.every * self.most;
        if has_one {
            *full_at = next;
        }
        has_one
    }
}

// === impl Budget ===

impl Budget {
    pub(super) fn new(everybody: Arc<Bucket>, limiter: Arc<Limiter>) -> Self {
        Self { own: Bucket::new(PER_ISSUER), everybody, limiter }
    }

    /// May this client make us ask at all?
    pub(super) fn has_some_for(&self, client: IpAddr) -> bool {
        self.limiter.address_exhausted(LOOKING, &PER_CLIENT, client).is_none()
    }

    /// One fetch, made for this client. Who only waits for what another one's fetch brings spends nothing.
    pub(super) fn spend(&self, client: IpAddr) -> bool {
        let now = Instant::now();
        let has_one = self.has_some_for(client) && self.own.spend(now) && self.everybody.spend(now);
        if has_one {
            self.limiter.spend_address(LOOKING, &PER_CLIENT, client);
        }
        has_one
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_what_it_holds_and_then_what_comes_back() {
        let (bucket, now) = (Bucket::new((3, Duration::from_secs(5))), Instant::now());
        let given = |bucket: &Bucket, at| (0..10).filter(|_| bucket.spend(at)).count();
        assert_eq!(given(&bucket, now), 3);
        assert_eq!(given(&bucket, now + Duration::from_secs(4)), 0);
        assert_eq!(given(&bucket, now + Duration::from_secs(10)), 2);
        assert_eq!(given(&bucket, now + Duration::from_hours(1)), 3, "it holds no more than it can");
    }
}
