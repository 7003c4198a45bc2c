//! Whose usage and money somebody may see: their own, their tenant's, or anybody's.

use std::sync::Arc;

use identity::{AccountId, TenantId, TenantRole};
use policies::{Policy, roles::Permission};

use crate::{caller::Caller, error::ApiError};

/// How far a caller sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Themselves, in the tenant in which they act.
    Own(AccountId, Option<TenantId>),
    /// All of the tenant that they administer, and in which they act.
    Tenant(TenantId),
    /// Everybody; this is the tenant in which they act.
    Platform(Option<TenantId>),
}

/// To read everybody's usage and statements, whatever tenant they are of. A scoped key reaches as far only if it says so.
pub(crate) const READ_ANY: &str = "usage:read-any";

/// The caller as whoever owes what they have used in no tenant's name. A grant for one tenant sees nothing of that.
pub(crate) fn debtor(caller: &Caller) -> Option<TenantId> {
    let principal = &caller.0;
    let is_elsewhere = principal.grant.is_for_one_tenant() && principal.tenant.is_some();
    (!is_elsewhere).then(|| TenantId::new(principal.account.uuid()))
}

// === impl Reach ===

impl Reach {
    /// A scope says what kind of thing a key is for, the role in the tenant how far.
    pub(crate) fn of(caller: &Caller, policy: &Arc<Policy>) -> Self {
        let principal = &caller.0;
        let holds =
            |permission| Permission::parse(permission).is_ok_and(|wanted| policy.roles.holds(principal, &wanted));
        match principal.tenant {
            tenant if holds(READ_ANY) => Self::Platform(tenant),
            Some(tenant) if principal.tenant_role.is_some_and(TenantRole::administers) => Self::Tenant(tenant),
            tenant => Self::Own(principal.account, tenant),
        }
    }

    /// The tenant and the account that are asked about, if the caller sees as far. Who asks about none asks about all that is theirs;
    /// what somebody may not see is no different from what is not there.
    pub(crate) fn narrow(
        self,
        tenant: Option<TenantId>,
        account: Option<AccountId>,
    ) -> Result<(Option<TenantId>, Option<AccountId>), ApiError> {
        match self {
            Self::Platform(own) => Ok((tenant.or(own), account)),
            Self::Tenant(own) if tenant.is_none_or(|tenant| tenant == own) => Ok((Some(own), account)),
            Self::Own(id, own)
                if account.is_none_or(|account| account == id) && tenant.is_none_or(|tenant| Some(tenant) == own) =>
            {
                Ok((own, Some(id)))
            }
            Self::Tenant(_) => Err(ApiError::NotFound("tenant")),
            Self::Own(..) => Err(ApiError::NotFound("account")),
        }
    }
}
