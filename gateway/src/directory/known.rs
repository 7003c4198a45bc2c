//! A caller who has been verified, and everything that is kept for it while it is cached.

use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

use chrono::{DateTime, Utc};
use identity::{Grant, KeyId, Principal, SessionId};
use policies::Refusal;
use store::StoreError;
use uuid::Uuid;

use crate::{assertions::Assertions, limiter::Own, stamps::Moment};

/// How much earlier than it is true a cookie that is used all the time may be written down as unused; a statement for each use would
/// cost more than the use.
const IDLE_ERROR: u32 = 60;

/// A caller who has been verified.
pub(crate) struct Known {
    pub(crate) principal: Arc<Principal>,
    /// The account's address and after it its name, in one piece: callers are kept by the million.
    pub(super) called: Box<str>,
    /// Assertions minted for this principal; they go when the facts they were made from go.
    pub(crate) assertions: Assertions,
    /// What the account has spent, at hand.
    pub(crate) meters: Own,
    /// Unix seconds after which the credential is worth nothing.
    pub(super) expires_at: i64,
    pub(super) learnt: Moment,
    /// [`Stamps::applied`] when it was last seen to hold, at first a number that never comes: while nothing at all changes,
    /// the table of stamps, whose lines are seldom in a processor's cache, need not be read.
    pub(super) held_at: AtomicU64,
    /// Unix seconds of the last use, and of the last one that has been written down. They fit until 2106.
    pub(super) used_at: AtomicU32,
    pub(super) written_at: AtomicU32,
    /// Seconds for which it is good when it is not used, if it is a cookie's; else 0.
    pub(super) idle: u32,
    /// Bytes of `called` that are the address; it has at most 254. Fits where nothing else would.
    pub(super) address: u16,
    /// Which external issuer's keys it was verified with; 0: with none of theirs. Fits where nothing else would.
    pub(super) issuer: u16,
}

/// Uses of keys or cookies that are to be written down.
pub(super) struct Uses<I> {
    pub(super) at: Vec<(I, DateTime<Utc>)>,
    by: Vec<Arc<Known>>,
}

// With the counts of its `Arc` it fills a block of 192 bytes of the allocator; the next is one of 224.
const _: () = assert!(size_of::<Known>() <= 176, "a cached caller has grown");

/// Whose change could change what a caller is. Who acts as somebody does so no longer than their own sessions go on.
pub(super) fn ids_of(principal: &Principal) -> [Uuid; 4] {
    let account = principal.account.uuid();
    let tenant = principal.tenant.map_or(account, |tenant| tenant.uuid());
    [principal.grant.uuid(), account, tenant, principal.actor.as_ref().map_or(account, |actor| actor.uuid())]
}

// === impl Known ===

impl Known {
    /// A caller with this address and name, of whom nothing else is known that could change.
    pub(super) fn of(principal: Principal, email: &str, name: Option<&str>) -> Self {
        Self {
            principal: Arc::new(principal),
            called: [email, name.unwrap_or_default()].concat().into(),
            address: u16::try_from(email.len()).unwrap_or_default(),
            assertions: Assertions::default(),
            meters: Own::default(),
            expires_at: i64::MAX,
            learnt: Moment::NEVER,
            held_at: AtomicU64::new(u64::MAX),
            used_at: AtomicU32::new(0),
            written_at: AtomicU32::new(0),
            idle: 0,
            issuer: 0,
        }
    }

    /// The holder of a client certificate, who has no account and so no address.
    pub(crate) fn certified(principal: Principal, subject: &str) -> Self {
        Self::of(principal, "", Some(subject))
    }

    /// The account's address, as its owner writes it; empty for whoever has none.
    pub(crate) fn email(&self) -> &str {
        &self.called[..self.address.into()]
    }

    /// The account's name; empty for whoever has none.
    pub(crate) fn name(&self) -> &str {
        &self.called[self.address.into()..]
    }

    /// Reads a word of each piece of memory that this request will need of its caller: seldom is one of them in a processor's own cache. They do not
    /// depend on each other, so all are waited for at once; where they are needed, locks and looks at the clock stand between them, and a
    /// processor begins nothing that comes after those.
    pub(super) fn touch(&self) {
        let Principal { account, role, is_service, .. } = &*self.principal;
        self.meters.touch(|| (*account, role.len(), *is_service, self.called.as_bytes().first().copied()));
    }

    /// An entry outlives its expiry until the next tidying, and the clock may step: what counts is the time now.
    pub(super) fn unless_expired(self: Arc<Self>, now: DateTime<Utc>) -> Result<Arc<Self>, Refusal> {
        let now = now.timestamp();
        if now >= self.expires_at {
            return Err(Refusal::Expired);
        }
        self.used_at.store(u32::try_from(now).unwrap_or_default(), Ordering::Relaxed);
        Ok(self)
    }

    /// Is it a cookie that has not been used here for too long? It may have been used at another node.
    pub(super) fn is_idle(&self, now: DateTime<Utc>) -> bool {
        self.idle != 0 && now.timestamp() >= i64::from(self.used_at.load(Ordering::Relaxed)) + i64::from(self.idle)
    }

    /// Until when a cookie is good if it is not used again, if nobody has written that down ([`Self::is_written`]).
    pub(super) fn unwritten_idle(&self, now: DateTime<Utc>) -> Option<(SessionId, DateTime<Utc>)> {
        let Grant::Cookie(id) = self.principal.grant else { return None };
        let used_at = self.used_at.load(Ordering::Relaxed);
        if self.is_idle(now) || used_at < self.written_at.load(Ordering::Relaxed).saturating_add(IDLE_ERROR) {
            return None;
        }
        DateTime::from_timestamp(i64::from(used_at) + i64::from(self.idle), 0).map(|until| (id, until))
    }

    /// The last use of an API key, if it has not been written down ([`Self::is_written`]).
    pub(super) fn unwritten_use(&self) -> Option<(KeyId, DateTime<Utc>)> {
        let Grant::Key(id) = self.principal.grant else { return None };
        let used_at = self.used_at.load(Ordering::Relaxed);
        let written = self.written_at.load(Ordering::Relaxed) == used_at;
        DateTime::from_timestamp(used_at.into(), 0).filter(|_| !written).map(|at| (id, at))
    }

    /// It is written down when a key was used, or until when a cookie is good: to be said only once it is, and of a time that was given here, since
    /// there may have been another use meanwhile.
    pub(super) fn is_written(&self, at: DateTime<Utc>) {
        let used_at = u32::try_from(at.timestamp() - i64::from(self.idle)).unwrap_or_default();
        self.written_at.store(used_at, Ordering::Relaxed);
    }

    /// Unix seconds after which the credential is worth nothing.
    pub(crate) fn expires_at(&self) -> i64 {
        self.expires_at
    }

    pub(crate) fn learnt(&self) -> Moment {
        self.learnt
    }
}

// === impl Uses ===

impl<I> Uses<I> {
    pub(super) fn none() -> Self {
        Self { at: Vec::new(), by: Vec::new() }
    }

    pub(super) fn add(&mut self, used: Option<(I, DateTime<Utc>)>, known: &Arc<Known>) {
        if let Some(used) = used {
            self.at.push(used);
            self.by.push(Arc::clone(known));
        }
    }

    /// They are written down, unless they could not be.
    pub(super) fn are_written(&self, written: Result<(), StoreError>, what: &str) {
        match written {
            Ok(()) => self.by.iter().zip(&self.at).for_each(|(known, (_, at))| known.is_written(*at)),
            Err(error) => {
                tracing::warn!(%error, uses = self.at.len(), "the last use of {what} could not be written down");
            }
        }
    }
}
