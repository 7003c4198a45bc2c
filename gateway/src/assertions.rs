//! Our signed word to an upstream: minted once per caller and upstream, reused until half its life is over.
//!
//! What an assertion says and how it is signed is `identity`'s; who is given one is [`crate::inject`]'s.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use http::HeaderValue;
use identity::{AssertionClaims, Principal, TokenType};
use parking_lot::Mutex;
use smallvec::SmallVec;
use store::Keyring;

/// Mints assertions with the signing key now in force.
pub(crate) struct Minter {
    keys: Arc<ArcSwap<Keyring>>,
    issuer: Box<str>,
    /// How long an assertion is good for; at most five minutes (DESIGN §2).
    ttl: TimeDelta,
    /// The header of the last assertion. All those of one signing key have the same and share it.
    header: Mutex<Arc<str>>,
}

/// What has been minted for one caller. Almost always one entry, so a list with room for one is the quickest map.
#[derive(Default)]
pub(crate) struct Assertions(Mutex<SmallVec<[Minted; 1]>>);

/// An assertion, kept for as long as its caller is.
struct Minted {
    upstream: Arc<str>,
    /// Unix seconds, which fit until 2106.
    issued_at: u32,
    /// Unix seconds at which half of its life is over.
    fresh_until: u32,
    /// How often it has been sent, up to [`BUSY`].
    sent: u8,
    kept: Kept,
}

/// As what an assertion is kept.
enum Kept {
    /// As its signature alone, since what was signed follows from the caller and the time; it is written out whenever it is sent.
    Signed {
        /// The header of the compact JWS (RFC 7515 §7.1), as it is written.
        header: Arc<str>,
        signature: Box<[u8]>,
    },
    /// As it is sent: its caller sends many requests.
    Written(HeaderValue),
}

/// How often an assertion is sent before it is kept as it is written. That takes half a kilobyte more, and most callers are
/// quiet: it is gone when half of its life is over.
const BUSY: u8 = 8;

// === impl Assertions ===

impl Assertions {
    /// The assertion of `principal` for `upstream`. The lock
    /// is this caller's own and is not held across an await; a signature is made under it once in half a life, so that two
    /// requests never make it twice.
    pub(crate) fn of(
        &self,
        minter: &Minter,
        principal: &Principal,
        upstream: &Arc<str>,
        now: DateTime<Utc>,
    ) -> Option<HeaderValue> {
        let mut kept = self.0.lock();
        let at = match kept.iter().position(|one| one.upstream == *upstream) {
            Some(at) if kept[at].is_fresh(now) => at,
            Some(at) => {
                kept[at] = minter.mint(principal, upstream, now);
                at
            }
            None => {
                kept.push(minter.mint(principal, upstream, now));
                kept.len() - 1
            }
        };
        kept[at].value(minter, principal)
    }

    /// Forgets what would be minted anew anyway: they are the larger half of a cached caller, and most callers are quiet.
    pub(crate) fn forget_stale(&self, now: DateTime<Utc>) {
        self.0.lock().retain(|one| one.is_fresh(now));
    }
}

// === impl Minted ===

impl Minted {
    /// What was minted before the clock was put back would not be believed until it has caught up.
    fn is_fresh(&self, now: DateTime<Utc>) -> bool {
        (i64::from(self.issued_at)..i64::from(self.fresh_until)).contains(&now.timestamp())
    }

    fn value(&mut self, minter: &Minter, principal: &Principal) -> Option<HeaderValue> {
        let (header, signature) = match &self.kept {
            Kept::Written(value) => return Some(value.clone()),
            Kept::Signed { header, signature } => (header, signature),
        };
        let value = write(header, signature, &minter.claims(principal, &self.upstream, self.issued_at))?;
        self.sent += 1;
        if self.sent == BUSY {
            self.kept = Kept::Written(value.clone());
        }
        Some(value)
    }
}

/// The compact JWS of these claims, which are those that were signed. Base64url and dots are always a header's value.
fn write(header: &str, signature: &[u8], claims: &AssertionClaims) -> Option<HeaderValue> {
    let payload = serde_json::to_vec(claims).ok()?;
    let mut text = String::with_capacity(header.len() + (payload.len() + signature.len() + 4).div_ceil(3) * 4);
    text.push_str(header);
    for part in [&*payload, signature] {
        text.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(part, &mut text);
    }
    HeaderValue::from_maybe_shared(Bytes::from(text)).ok()
}

// === impl Minter ===

impl Minter {
    pub(crate) fn new(keys: Arc<ArcSwap<Keyring>>, issuer: &str, ttl: Duration) -> Self {
        let ttl = TimeDelta::from_std(ttl).unwrap_or(TimeDelta::minutes(1));
        Self { keys, issuer: issuer.into(), ttl, header: Mutex::new(Arc::default()) }
    }

    fn mint(&self, principal: &Principal, upstream: &Arc<str>, now: DateTime<Utc>) -> Minted {
        let issued_at = u32::try_from(now.timestamp()).unwrap_or_default();
        let claims = self.claims(principal, upstream, issued_at);
        let text = self.keys.load().assertion.current.sign(TokenType::Assertion, &claims);
        let (signed, signature) = text.rsplit_once('.').unwrap_or_default();
        let (header, _) = signed.split_once('.').unwrap_or_default();
        Minted {
            upstream: Arc::clone(upstream),
            issued_at,
            fresh_until: issued_at.saturating_add(u32::try_from((self.ttl / 2).num_seconds()).unwrap_or_default()),
            sent: 0,
            kept: Kept::Signed {
                header: self.shared(header),
                signature: BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap_or_default().into(),
            },
        }
    }

    /// What is said, the same for the same caller and second: whoever asks again gets what has been signed.
    fn claims(&self, principal: &Principal, upstream: &str, issued_at: u32) -> AssertionClaims {
        let issued_at = DateTime::from_timestamp(issued_at.into(), 0).unwrap_or_default();
        AssertionClaims::of(principal, &self.issuer, upstream, issued_at, self.ttl)
    }

    fn shared(&self, header: &str) -> Arc<str> {
        let mut last = self.header.lock();
        if **last != *header {
            *last = header.into();
        }
        Arc::clone(&last)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use identity::{AccountId, Algorithm, Grant, KeySet, SessionId, SigningKey, TokenRules, verify};
    use store::SigningSet;
    use uuid::Uuid;

    use super::*;

    fn set() -> SigningSet {
        let current = SigningKey::generate(Algorithm::EdDsa, "k".into(), &mut rand::rng()).unwrap();
        SigningSet { keys: KeySet::new(vec![current.verifying_key()], None), current }
    }

    fn minter() -> Minter {
        let keyring = Keyring { access: set(), assertion: set() };
        Minter::new(Arc::new(ArcSwap::from_pointee(keyring)), "door", Duration::from_mins(5))
    }

    fn principal() -> Principal {
        Principal {
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
        }
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        Utc::now() + TimeDelta::seconds(seconds)
    }

    fn shown(kept: &Assertions, minter: &Minter, upstream: &str, now: DateTime<Utc>) -> String {
        kept.of(minter, &principal(), &upstream.into(), now).unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn an_assertion_is_for_one_upstream_and_is_minted_once_in_half_its_life() {
        let (kept, minter) = (Assertions::default(), minter());
        let first = shown(&kept, &minter, "one", at(0));
        assert_eq!(shown(&kept, &minter, "one", at(140)), first);
        assert_ne!(shown(&kept, &minter, "one", at(160)), first);
        for upstream in ["one", "two"] {
            let rules = TokenRules {
                issuer: "door".into(),
                audience: upstream.into(),
                typ: TokenType::Assertion,
                leeway: Duration::from_mins(5),
            };
            let text = shown(&kept, &minter, upstream, at(160));
            let claims: AssertionClaims = verify(&text, &minter.keys.load().assertion.keys, &rules, at(160)).unwrap();
            assert_eq!(Principal::try_from(claims).unwrap(), principal());
        }
    }

    #[test]
    fn who_sends_many_requests_is_told_the_same_and_what_is_kept_goes_with_it() {
        let (kept, minter) = (Assertions::default(), minter());
        let texts: Vec<_> = (0..2 * BUSY).map(|_| shown(&kept, &minter, "one", at(0))).collect();
        let is_written = || matches!(kept.0.lock()[0].kept, Kept::Written(_));
        assert!(texts.iter().all(|text| *text == texts[0]) && is_written());
        assert_ne!(shown(&kept, &minter, "one", at(160)), texts[0]);
        assert!(!is_written());
    }

    #[test]
    fn after_a_rotation_what_is_minted_begins_with_the_new_key() {
        let (kept, minter) = (Assertions::default(), minter());
        let before = shown(&kept, &minter, "one", at(0));
        let fresh = SigningKey::generate(Algorithm::EdDsa, "next".into(), &mut rand::rng()).unwrap();
        let keys = KeySet::new(vec![fresh.verifying_key()], None);
        minter.keys.store(Arc::new(Keyring { access: set(), assertion: SigningSet { current: fresh, keys } }));
        let head = |text: &str| text.split('.').next().unwrap().to_owned();
        assert_ne!(head(&shown(&kept, &minter, "two", at(0))), head(&before));
        assert_eq!(shown(&kept, &minter, "one", at(1)), before, "what was signed before keeps its own header");
    }

    #[test]
    fn when_the_clock_is_put_back_what_it_said_before_is_said_no_more() {
        let (kept, minter) = (Assertions::default(), minter());
        let early = shown(&kept, &minter, "one", at(300));
        let now = at(0);
        let again = shown(&kept, &minter, "one", now);
        assert_ne!(again, early);
        assert_eq!(shown(&kept, &minter, "one", now), again);
    }

    #[test]
    fn what_is_stale_is_forgotten_and_nothing_else() {
        let (kept, minter) = (Assertions::default(), minter());
        let first = shown(&kept, &minter, "one", at(0));
        kept.forget_stale(at(140));
        assert_eq!(shown(&kept, &minter, "one", at(0)), first);
        kept.forget_stale(at(160));
        assert!(kept.0.lock().is_empty());
    }
}
