//! Callers who were let in: until when they may be believed, and who those are now whose streams are still open.

use std::sync::{Arc, atomic::Ordering};

use chrono::{DateTime, Utc};
use identity::{Grant, KeyId, Principal};
use policies::Refusal;
use store::Standing;

use super::{Directory, Known};
use crate::stamps::Moment;

// === impl Directory ===

impl Directory {
    /// A number that is another one after every change.
    pub(crate) fn changes(&self) -> u64 {
        self.stamps.applied()
    }

    /// To be taken before [`Self::look_again`]: what that finds counts from here on.
    pub(crate) fn moment(&self) -> Moment {
        self.stamps.now()
    }

    /// Has anything changed about this caller since it was learnt?
    pub(crate) fn is_unchanged(&self, principal: &Principal, learnt: Moment) -> bool {
        self.stamps.unchanged_since(learnt, [principal.grant.uuid(), principal.account.uuid()])
    }

    /// Is nothing that was learnt before believed any more, for want of a database?
    pub(crate) fn is_too_stale(&self) -> bool {
        self.too_stale.load(Ordering::Acquire)
    }

    /// Who a caller is now, or why it is a caller no longer. That its credential has expired is left to the clock.
    pub(crate) async fn look_again(&self, principal: &Principal, now: DateTime<Utc>) -> Result<Principal, Refusal> {
        let facts = match principal.grant {
            Grant::Session(id) => self.store.session_grant(id).await,
            Grant::Key(id) => self.store.key_grant(id).await,
        };
        let facts = facts.map_err(|error| {
            self.store_failures.inc();
            tracing::warn!(%error, "a caller with an open stream could not be looked up");
            Refusal::DirectoryUnavailable
        })?;
        let facts = facts.ok_or(Refusal::Revoked)?;
        match facts.standing(now) {
            Standing::Live | Standing::Expired => Ok(self.with_shared_words(facts.principal(principal.grant))),
            Standing::Ended => Err(Refusal::Revoked),
            Standing::AccountDisabled => Err(Refusal::AccountDisabled),
        }
    }
}

// === impl Known ===

impl Known {
    /// An entry outlives its expiry until the next tidying, and the clock may step: what counts is the time now.
    pub(super) fn unless_expired(self: Arc<Self>, now: DateTime<Utc>) -> Result<Arc<Self>, Refusal> {
        let now = now.timestamp();
        if now >= self.expires_at {
            return Err(Refusal::Expired);
        }
        self.used_at.store(u32::try_from(now).unwrap_or_default(), Ordering::Relaxed);
        Ok(self)
    }

    /// The last use of an API key, if it has not been written down.
    pub(super) fn unwritten_use(&self) -> Option<(KeyId, DateTime<Utc>)> {
        let Grant::Key(id) = self.principal.grant else { return None };
        let used_at = self.used_at.load(Ordering::Relaxed);
        let written = self.written_at.swap(used_at, Ordering::Relaxed) == used_at;
        DateTime::from_timestamp(used_at.into(), 0).filter(|_| !written).map(|at| (id, at))
    }

    /// Unix seconds after which the credential is worth nothing.
    pub(crate) fn expires_at(&self) -> i64 {
        self.expires_at
    }

    pub(crate) fn learnt(&self) -> Moment {
        self.learnt
    }
}
