//! Our signed word to an upstream: minted once per caller and upstream, reused until half its life is over.
//!
//! What an assertion says and how it is signed is `identity`'s; who is given one is [`crate::inject`]'s.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use chrono::{DateTime, TimeDelta, Utc};
use http::HeaderValue;
use identity::{AssertionClaims, Principal, TokenType};
use parking_lot::Mutex;
use smallvec::SmallVec;
use store::Keyring;

/// Mints assertions with the signing key now in force.
pub(crate) struct Minter {
    pub(crate) keys: Arc<ArcSwap<Keyring>>,
    pub(crate) issuer: Box<str>,
    /// How long an assertion is good for; at most five minutes (DESIGN §2).
    pub(crate) ttl: Duration,
}

/// What has been minted for one caller. Almost always one entry, so a list with room for one is the quickest map.
#[derive(Default)]
pub(crate) struct Assertions(Mutex<SmallVec<[Minted; 1]>>);

struct Minted {
    upstream: Arc<str>,
    /// Unix seconds at which half of its life is over.
    fresh_until: i64,
    header: HeaderValue,
}

// === impl Assertions ===

impl Assertions {
    /// The assertion of `principal` for `upstream`. The lock is this caller's own and is not held across an await; a
    /// signature is made under it once in half a life, so that two requests never make it twice.
    pub(crate) fn header(
        &self,
        minter: &Minter,
        principal: &Principal,
        upstream: &Arc<str>,
        now: DateTime<Utc>,
    ) -> HeaderValue {
        let mut kept = self.0.lock();
        let found = kept.iter().position(|one| one.upstream == *upstream);
        if let Some(one) = found.map(|at| &kept[at])
            && now.timestamp() < one.fresh_until
        {
            return one.header.clone();
        }
        let fresh = minter.mint(principal, upstream, now);
        let header = fresh.header.clone();
        if let Some(at) = found {
            kept[at] = fresh;
        } else {
            kept.push(fresh);
        }
        header
    }
}

// === impl Minter ===

impl Minter {
    fn mint(&self, principal: &Principal, upstream: &Arc<str>, now: DateTime<Utc>) -> Minted {
        let ttl = TimeDelta::from_std(self.ttl).unwrap_or(TimeDelta::minutes(1));
        let claims = AssertionClaims::of(principal, &self.issuer, upstream, now, ttl);
        let text = self.keys.load().assertion.current.sign(TokenType::Assertion, &claims);
        Minted {
            upstream: Arc::clone(upstream),
            fresh_until: (now + ttl / 2).timestamp(),
            // A compact JWS is base64url and dots: always a header value.
            // Copied to its exact size, since it is kept for as long as the caller is.
            header: HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("")),
        }
    }
}
