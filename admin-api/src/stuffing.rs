//! Signs that somebody tries what was stolen elsewhere (credential stuffing) or one password at everybody (spraying).
//!
//! Locks stop one network and guesses at one account (docs/decisions/0008-lockout.md). Who comes from a thousand networks with a thousand
//! addresses is under every lock; that is seen here, over all of them, and told by a metric. Nobody is refused by it: a shared office and a
//! fashionable password look alike. Each node counts by itself.
//!
//! Only passwords that were wrong are looked at, and none is kept: [`Password::mark`] by a key that dies with the process.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use identity::{CrowdRules, Crowds, Email, Password, SecretDigest};
use rand::Rng as _;
use zeroize::Zeroizing;

use crate::{attempt::subject_of, metrics::OfficeMetrics, visitor::Visitor};

/// Accounts at which somebody from one network has failed. Behind one address many people forget passwords, but not so many in an hour.
const OF_NETWORK: CrowdRules = CrowdRules { members: 15, ..HOUR };
/// Accounts at which one password was wrong: people do not share theirs by chance.
const OF_PASSWORD: CrowdRules = CrowdRules { members: 10, ..HOUR };
/// 8,192 networks, and passwords, are a megabyte each.
const HOUR: CrowdRules = CrowdRules { members: 10, window: Duration::from_hours(1), capacity: 8192 };

/// Who fails with whom.
pub(crate) struct Stuffing {
    key: Zeroizing<[u8; 32]>,
    crowds: Mutex<[Crowds; 2]>,
}

// === impl Stuffing ===

impl Stuffing {
    pub(crate) fn new() -> Self {
        let mut key = Zeroizing::new([0; 32]);
        rand::rng().fill_bytes(&mut *key);
        Self { key, crowds: Mutex::new([Crowds::new(OF_NETWORK), Crowds::new(OF_PASSWORD)]) }
    }

    /// A wrong password was shown, whether there is such an account or not.
    pub(crate) fn failed(
        &self,
        visitor: &Visitor,
        email: &Email,
        password: &Password,
        metrics: &OfficeMetrics,
        now: DateTime<Utc>,
    ) {
        let account = first_bytes(&subject_of(email.normalised())) as u32;
        let network = visitor.network().unwrap_or_default();
        let network = first_bytes(&SecretDigest::of(network.as_bytes()));
        let mark = u64::from(password.mark(&self.key));
        let [of_network, of_password] = &mut *self.crowds.lock().unwrap_or_else(PoisonError::into_inner);
        for (sign, is_one) in
            [("network", of_network.add(network, account, now)), ("password", of_password.add(mark, account, now))]
        {
            if is_one {
                metrics.stuffing(sign);
            }
        }
    }
}

fn first_bytes(digest: &SecretDigest) -> u64 {
    digest.as_bytes().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}
