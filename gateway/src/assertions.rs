//! Our signed word to an upstream: minted once per caller and upstream, reused until half its life is over.
//!
//! What an assertion says and how it is signed is `identity`'s; who is given one is [`crate::inject`]'s.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use chrono::{DateTime, TimeDelta, Utc};
use identity::{AssertionClaims, Principal, TokenType};
use parking_lot::Mutex;
use smallvec::SmallVec;
use store::Keyring;

/// Mints assertions with the signing key now in force.
pub(crate) struct Minter {
    keys: Arc<ArcSwap<Keyring>>,
    issuer: Box<str>,
    /// How long an assertion is good for; at most five minutes (DESIGN §2).
    ttl: Duration,
    /// What the last assertion began with. All those of one signing key begin alike and share it.
    head: Mutex<Arc<str>>,
}

/// What has been minted for one caller. Almost always one entry, so a list with room for one is the quickest map.
#[derive(Default)]
pub(crate) struct Assertions(Mutex<SmallVec<[Minted; 1]>>);

struct Minted {
    upstream: Arc<str>,
    /// Unix seconds at which half of its life is over.
    fresh_until: i64,
    /// The header of the compact JWS (RFC 7515 §7.1), with the dot after it.
    head: Arc<str>,
    /// Payload and signature. In a box of its exact size, since it is kept for as long as the caller is.
    rest: Box<str>,
}

// === impl Assertions ===

impl Assertions {
    /// Hands the assertion of `principal` for `upstream` to `take`, as two pieces of base64url that belong together. The lock
    /// is this caller's own and is not held across an await; a signature is made under it once in half a life, so that two
    /// requests never make it twice.
    pub(crate) fn with(
        &self,
        minter: &Minter,
        principal: &Principal,
        upstream: &Arc<str>,
        now: DateTime<Utc>,
        take: impl FnOnce([&str; 2]),
    ) {
        let mut kept = self.0.lock();
        let at = match kept.iter().position(|one| one.upstream == *upstream) {
            Some(at) if now.timestamp() < kept[at].fresh_until => at,
            Some(at) => {
                kept[at] = minter.mint(principal, upstream, now);
                at
            }
            None => {
                kept.push(minter.mint(principal, upstream, now));
                kept.len() - 1
            }
        };
        take([&kept[at].head, &kept[at].rest]);
    }
}

// === impl Minter ===

impl Minter {
    pub(crate) fn new(keys: Arc<ArcSwap<Keyring>>, issuer: &str, ttl: Duration) -> Self {
        Self { keys, issuer: issuer.into(), ttl, head: Mutex::new(Arc::default()) }
    }

    fn mint(&self, principal: &Principal, upstream: &Arc<str>, now: DateTime<Utc>) -> Minted {
        let ttl = TimeDelta::from_std(self.ttl).unwrap_or(TimeDelta::minutes(1));
        let claims = AssertionClaims::of(principal, &self.issuer, upstream, now, ttl);
        let text = self.keys.load().assertion.current.sign(TokenType::Assertion, &claims);
        let (head, rest) = text.split_at(text.find('.').map_or(0, |dot| dot + 1));
        Minted {
            upstream: Arc::clone(upstream),
            fresh_until: (now + ttl / 2).timestamp(),
            head: self.shared(head),
            rest: rest.into(),
        }
    }

    fn shared(&self, head: &str) -> Arc<str> {
        let mut last = self.head.lock();
        if **last != *head {
            *last = head.into();
        }
        Arc::clone(&last)
    }
}
