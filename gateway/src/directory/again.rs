//! Callers who were let in: who those are now whose streams are still open.

use std::sync::atomic::Ordering;

use chrono::{DateTime, Utc};
use identity::{Grant, Principal, Voucher};
use policies::Refusal;
use store::{GrantFacts, Standing};
use uuid::Uuid;

use super::{Directory, groups_of, integrations_of, known::ids_of};
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
        self.stamps.unchanged_since(learnt, ids_of(principal))
    }

    /// Nor about the teams and domains of its tenant?
    pub(crate) fn are_groups_unchanged(&self, principal: &Principal, learnt: Moment) -> bool {
        principal.tenant.is_none_or(|tenant| self.stamps.unchanged_since(learnt, [groups_of(tenant)]))
    }

    /// Nor about a thing?
    pub(crate) fn is_thing_unchanged(&self, id: Uuid, learnt: Moment) -> bool {
        self.stamps.unchanged_since(learnt, [id])
    }

    /// Nor about its integrations and those of its tenant?
    pub(crate) fn are_integrations_unchanged(&self, principal: &Principal, learnt: Moment) -> bool {
        let account = principal.account.uuid();
        let tenant = principal.tenant.map_or(account, |tenant| tenant.uuid());
        self.stamps.unchanged_since(learnt, [integrations_of(account), integrations_of(tenant)])
    }

    /// Is nothing that was learnt before believed any more, for want of a database?
    pub(crate) fn is_too_stale(&self) -> bool {
        self.too_stale.load(Ordering::Acquire)
    }

    /// Who a caller is now, and when what is kept of its credential says that it ends (Unix seconds; `i64::MAX`: nothing does), or why it is
    /// a caller no longer. That its credential has expired is left to the clock.
    pub(crate) async fn look_again(
        &self,
        principal: &Principal,
        now: DateTime<Utc>,
    ) -> Result<(Principal, i64), Refusal> {
        let facts = match principal.grant {
            Grant::Session(id) | Grant::Cookie(id) | Grant::Machine(id) => self.store.session_grant(id).await,
            Grant::Key(id) => self.store.key_grant(id).await,
            Grant::External(id, Voucher::Issuer) => self.store.external_grant(id).await,
            Grant::External(id, Voucher::IssuerForTenant) => {
                let known = self.store.external_account(id, principal.tenant).await;
                known.map(|known| known.map(|(account, _)| GrantFacts::of_account_in(account, principal.tenant)))
            }
            // Only the account can change.
            Grant::External(_, Voucher::Legacy | Voucher::Developer) => self
                .store
                .account_in(principal.account, principal.tenant)
                .await
                .map(|account| account.map(GrantFacts::of_account)),
            // There is no record that could say otherwise.
            Grant::Certificate(_) => return Ok((principal.clone(), i64::MAX)),
        };
        let facts = facts.map_err(|error| {
            self.store_failures.inc();
            tracing::warn!(%error, "a caller with an open stream could not be looked up");
            Refusal::DirectoryUnavailable
        })?;
        let facts = facts.ok_or(Refusal::Revoked)?;
        match facts.standing(now) {
            Standing::Live | Standing::Expired => {
                let expires_at = facts.expires_at.map_or(i64::MAX, |at| at.timestamp());
                let now = facts.principal(principal.grant);
                // What an issuer's token is limited to, and by what its owner was seen, stands in the token alone, which does not change.
                let scopes = now.scopes.or_else(|| principal.scopes.clone());
                let authentication = now.authentication.or(principal.authentication);
                Ok((self.with_shared_words(Principal { scopes, authentication, ..now }), expires_at))
            }
            Standing::Ended => Err(Refusal::Revoked),
            Standing::AccountDisabled => Err(Refusal::AccountDisabled),
            Standing::TenantDisabled => Err(Refusal::TenantDisabled),
        }
    }
}
