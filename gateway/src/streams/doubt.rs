//! Streams about whose callers something has changed: which those are, and what becomes of them.

use std::{collections::HashMap, sync::Arc};

use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream};
use identity::Principal;
use policies::{Refusal, decide_about};

use super::{Streams, end_of, ground::Ground};
use crate::{directory::GroupHeaders, stamps::Moment};

/// Callers who are looked up at once: after a change that concerns everybody, one after the other would take too long.
const AT_ONCE: usize = 16;

/// What a later look at a caller has found: who it is, when its credential ends (Unix seconds), and to which teams and domains it belongs if an
/// upstream was told.
type Verdict = Result<(Principal, i64, Option<Arc<GroupHeaders>>), Refusal>;

/// A stream about whose caller, or ground, something has changed.
pub(super) struct Doubt {
    id: u64,
    principal: Arc<Principal>,
    is_about_groups: bool,
    ground: Option<Arc<Ground>>,
}

// === impl Streams ===

impl Streams {
    /// Ends what has expired, and cuts off what was told to end and has not; gives those about whom something has changed.
    pub(super) fn doubtful(&self, now: DateTime<Utc>) -> Vec<Doubt> {
        let (now, changes, too_stale) = (now.timestamp(), self.directory.changes(), self.directory.is_too_stale());
        let mut doubtful = Vec::new();
        for shard in &self.shards {
            for (id, open) in &mut *shard.lock() {
                if open.over.is_some() {
                    open.cut_if_deaf();
                } else if now >= open.ends_at {
                    self.end(open, Refusal::Expired);
                } else if too_stale && open.caller.is_some() {
                    self.end(open, Refusal::DirectoryUnavailable);
                } else if open.held_at != changes
                    && let Some((principal, learnt)) = &open.caller
                {
                    let is_about_groups = open.told.groups.is_some();
                    let is_firm = |ground: &&Arc<Ground>| ground.is_unchanged(&self.directory, principal, *learnt);
                    let shaken = open.told.ground.as_ref().filter(|ground| !is_firm(ground));
                    if self.directory.is_unchanged(principal, *learnt)
                        && shaken.is_none()
                        && (!is_about_groups || self.directory.are_groups_unchanged(principal, *learnt))
                    {
                        open.held_at = changes;
                    } else {
                        let (principal, ground) = (Arc::clone(principal), shaken.cloned());
                        doubtful.push(Doubt { id: *id, principal, is_about_groups, ground });
                    }
                }
            }
        }
        doubtful
    }

    /// Finds out what has changed, and ends those whose callers have no right to them any more.
    pub(super) async fn look_into(&self, doubtful: Vec<Doubt>, now: DateTime<Utc>) {
        let mut of_each: HashMap<_, Vec<Doubt>> = HashMap::new();
        for doubt in doubtful {
            // One look serves them all, but for what stands in a token alone, which another token of the same subject need not say.
            let Principal { grant, tenant, scopes, authentication, .. } = &*doubt.principal;
            of_each.entry((*grant, *tenant, scopes.clone(), *authentication)).or_default().push(doubt);
        }
        let looks = stream::iter(of_each.into_values()).map(|streams| self.look_at_one(streams, now));
        let mut looks = looks.buffer_unordered(AT_ONCE);
        let mut failed = 0;
        // Where nobody can be looked up it is the database, and requests need it more; the next pass begins with others.
        while failed < AT_ONCE
            && let Some(is_known) = looks.next().await
        {
            failed += usize::from(!is_known);
        }
    }

    /// At one caller's; could it be asked for? Nobody is ended for want of an answer: a change may have overtaken it, and puts off nobody
    /// else's.
    async fn look_at_one(&self, streams: Vec<Doubt>, now: DateTime<Utc>) -> bool {
        let Some(Doubt { principal, .. }) = streams.first() else { return true };
        let learnt = self.directory.moment();
        let verdict = self.judge(principal, streams.iter().any(|doubt| doubt.is_about_groups), now).await;
        if verdict == Err(Refusal::DirectoryUnavailable) {
            return false;
        }
        for doubt in &streams {
            match self.judge_ground(doubt, &verdict).await {
                Err(Refusal::DirectoryUnavailable) => {}
                Err(why) => self.apply(doubt.id, learnt, &Err(why)),
                Ok(()) => self.apply(doubt.id, learnt, &verdict),
            }
        }
        true
    }

    async fn judge(&self, principal: &Principal, also_groups: bool, now: DateTime<Utc>) -> Verdict {
        let (principal, expires_at) = self.directory.look_again(principal, now).await?;
        let groups = if also_groups { self.directory.groups(&principal).await? } else { None };
        Ok((principal, expires_at, groups))
    }

    async fn judge_ground(&self, doubt: &Doubt, verdict: &Verdict) -> Result<(), Refusal> {
        match (&doubt.ground, verdict) {
            (Some(ground), Ok((principal, ..))) => ground.look_again(&self.directory, principal).await,
            _ => Ok(()),
        }
    }

    /// What was found out about a stream's caller at `learnt`.
    fn apply(&self, id: u64, learnt: Moment, verdict: &Verdict) {
        let mut streams = self.shard(id).lock();
        let Some(open) = streams.get_mut(&id) else { return };
        let was = open.caller.as_ref().map(|(principal, _)| Arc::clone(principal));
        let judged = verdict.clone().and_then(|(principal, expires_at, groups)| {
            let principal = Arc::new(principal);
            // Who was seen lately enough to open a stream need not be seen again while it is open.
            let whose = open.told.whose.as_deref().copied();
            let caller = Some(Arc::clone(&principal));
            let _permit = decide_about(&open.rules.policy, &open.route, caller, whose, open.begun_at)?;
            // The upstream was told its role, in which tenant it is, and as what, and perhaps to which teams it belongs.
            let told = |of: &Principal| (of.role.clone(), of.tenant, of.tenant_role);
            let told_groups = open.told.groups.as_ref();
            if was.is_some_and(|was| told(&was) != told(&principal))
                || told_groups.is_some_and(|told| groups.as_ref() != Some(told))
            {
                return Err(Refusal::Revoked);
            }
            Ok((principal, expires_at))
        });
        match judged {
            Ok((principal, expires_at)) => {
                open.caller = Some((principal, learnt));
                // A key that makes way for another ends earlier from then on.
                open.ends_at = open.ends_at.min(end_of(expires_at, &open.route));
            }
            Err(why) => self.end(open, why),
        }
    }
}
