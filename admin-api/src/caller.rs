//! Who is calling: whom the door's assertion names, and nobody else.
//!
//! `X-User-*` and whatever else a request says of itself is never read here. The door has decided already whether the
//! caller may use the route; an endpoint that takes an [`Allowed`] instead of a [`Caller`] asks again what must never depend
//! on a route alone, and before the body is made sense of. Whether what was asserted is still so then is [`crate::still`]'s.

use std::{marker::PhantomData, sync::Arc};

use axum::{
    extract::FromRequestParts,
    http::{Method, request::Parts},
};
use identity::{AccountId, AssertionClaims, Grant, Principal, TenantId, TenantRole};
use policies::{
    Policy,
    roles::{ADMIN, Permission, covers},
};
use store::{Account, DoneBy};

use crate::{error::ApiError, office::Office, trail};

/// Our signed word (DESIGN §2).
pub(crate) const ASSERTION: &str = "x-gateway-assertion";

/// A caller whom the door vouches for.
#[derive(Clone)]
pub(crate) struct Caller(pub(crate) Principal);

/// A caller who may do what `N` says.
pub(crate) struct Allowed<N> {
    pub(crate) caller: Caller,
    need: PhantomData<N>,
}

/// A service account that may do what `N` says. People may not, whatever their role is: what is counted and billed comes from machines.
pub(crate) struct Service<N> {
    pub(crate) caller: Caller,
    need: PhantomData<N>,
}

/// Something that an endpoint demands.
pub(crate) trait Need {
    /// As `roles.toml` and the scopes of keys name it.
    const PERMISSION: &'static str;
    /// Does everybody hold it for their own account? Then only the scopes of a key stand in the way.
    const OF_EVERYBODY: bool;
}

/// To manage one's own account, password and keys. A scoped key may do it only if it says so: else a key made for one
/// purpose could make itself another for every purpose.
pub(crate) enum ManageAccount {}
/// To manage the organisations to which one belongs, as far as one's role in each reaches.
pub(crate) enum ManageTenants {}
/// To set the tier and status of any organisation.
pub(crate) enum GovernTenants {}
/// To manage other people's accounts.
pub(crate) enum ManageUsers {}
/// To read what happened.
pub(crate) enum ReadAudit {}
/// To put a new configuration in force.
pub(crate) enum ReloadConfig {}
/// To manage keys at providers.
pub(crate) enum ManageIntegrations {}
/// To read what one has used oneself; who sees more is [`crate::reach`]'s, which goes by the role in the tenant whatever a key's scopes are.
pub(crate) enum ReadUsage {}
/// To say what others have used. For services.
pub(crate) enum ReportUsage {}
/// To read the bills of one's organisation; who administers it is [`crate::reach`]'s, with a key of theirs as without one.
pub(crate) enum ReadBilling {}
/// To say whether a bill is paid.
pub(crate) enum ManageBilling {}
/// To take from tenants' quotas. For services.
pub(crate) enum ReserveQuota {}

impl Need for ManageAccount {
    const PERMISSION: &'static str = "account:manage";
    const OF_EVERYBODY: bool = true;
}

impl Need for ManageTenants {
    const PERMISSION: &'static str = "tenants:manage";
    const OF_EVERYBODY: bool = true;
}

impl Need for GovernTenants {
    const PERMISSION: &'static str = "tenants:govern";
    const OF_EVERYBODY: bool = false;
}

impl Need for ManageUsers {
    const PERMISSION: &'static str = "users:manage";
    const OF_EVERYBODY: bool = false;
}

impl Need for ReadAudit {
    const PERMISSION: &'static str = "audit:read";
    const OF_EVERYBODY: bool = false;
}

impl Need for ReadUsage {
    const PERMISSION: &'static str = "usage:read";
    const OF_EVERYBODY: bool = true;
}

impl Need for ReportUsage {
    const PERMISSION: &'static str = "usage:report";
    const OF_EVERYBODY: bool = false;
}

impl Need for ReserveQuota {
    const PERMISSION: &'static str = "quota:reserve";
    const OF_EVERYBODY: bool = false;
}

impl Need for ReadBilling {
    const PERMISSION: &'static str = "billing:read";
    const OF_EVERYBODY: bool = true;
}

impl Need for ManageBilling {
    const PERMISSION: &'static str = "billing:manage";
    const OF_EVERYBODY: bool = false;
}

impl Need for ReloadConfig {
    const PERMISSION: &'static str = "config:reload";
    const OF_EVERYBODY: bool = false;
}

impl Need for ManageIntegrations {
    const PERMISSION: &'static str = "integrations:manage";
    const OF_EVERYBODY: bool = false;
}

// === impl Allowed ===

impl<N: Need> FromRequestParts<Arc<Office>> for Allowed<N> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, office: &Arc<Office>) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, office).await?;
        caller.demand_scope(N::PERMISSION)?;
        // Whoever acts as somebody sees what they see, and takes nothing of theirs over.
        if caller.0.actor.is_some() && ![Method::GET, Method::HEAD].contains(&parts.method) {
            return Err(ApiError::Impersonated);
        }
        if !N::OF_EVERYBODY {
            caller.demand_role(&office.hooks.policy(), N::PERMISSION)?;
        }
        Ok(Self { caller, need: PhantomData })
    }
}

// === impl Service ===

impl<N: Need> FromRequestParts<Arc<Office>> for Service<N> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, office: &Arc<Office>) -> Result<Self, ApiError> {
        let Allowed { caller, .. } = Allowed::<N>::from_request_parts(parts, office).await?;
        if !caller.0.is_service {
            return Err(ApiError::Forbidden("a service account".to_owned()));
        }
        Ok(Self { caller, need: PhantomData })
    }
}

// === impl Caller ===

impl FromRequestParts<Arc<Office>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, office: &Arc<Office>) -> Result<Self, ApiError> {
        if let Some(known) = parts.extensions.get::<Self>() {
            return Ok(known.clone());
        }
        let mut shown = parts.headers.get_all(ASSERTION).iter();
        let (Some(token), None) = (shown.next(), shown.next()) else { return Err(ApiError::NoAssertion) };
        let token = token.to_str().map_err(|_| ApiError::BadAssertion("not ASCII".to_owned()))?;
        let keys = office.keys.load();
        let claims: AssertionClaims =
            identity::verify(token, &keys.assertion.keys, &office.assertion_rules, office.now())
                .map_err(|error| ApiError::BadAssertion(error.to_string()))?;
        let principal = Principal::try_from(claims).map_err(|error| ApiError::BadAssertion(error.to_string()))?;
        // Whoever acts as somebody has done it, and not whom they act as.
        trail::by(principal.actor.as_deref().unwrap_or(&principal.account).uuid());
        trail::called_by(principal.account.uuid());
        if principal.actor.is_some() {
            trail::detail("as", principal.account.to_string());
        }
        Ok(Self(principal))
    }
}

impl Caller {
    /// The caller, for the store to ask whether they have their right still when it is used. Of whoever holds a certificate there is no record.
    pub(crate) fn doer(&self, office: &Office) -> Option<DoneBy> {
        let Principal { account, grant, .. } = self.0;
        let is_known = !matches!(grant, Grant::Certificate(_));
        is_known.then(|| DoneBy { account, role: self.0.role.to_string(), grant, now: office.now() })
    }

    /// The tenant in which the caller acts.
    pub(crate) fn tenant(&self) -> Result<TenantId, ApiError> {
        self.0.tenant.ok_or(ApiError::NoTenant)
    }

    /// Does the caller administer the platform?
    pub(crate) fn administers_platform(&self) -> bool {
        &*self.0.role == ADMIN
    }

    /// The caller has to administer the tenant in which it acts, or the platform.
    pub(crate) fn demand_tenant_admin(&self) -> Result<(), ApiError> {
        let administers = self.0.tenant_role.is_some_and(TenantRole::administers) || self.administers_platform();
        if administers { Ok(()) } else { Err(ApiError::Forbidden("tenant admin".to_owned())) }
    }

    /// The caller has to be allowed what only a part of an operation takes.
    pub(crate) fn demand<N: Need>(&self, policy: &Policy) -> Result<(), ApiError> {
        self.demand_scope(N::PERMISSION)?;
        if N::OF_EVERYBODY { Ok(()) } else { self.demand_role(policy, N::PERMISSION) }
    }

    /// The role has to hold the permission.
    fn demand_role(&self, policy: &Policy, permission: &str) -> Result<(), ApiError> {
        let is_granted =
            Permission::parse(permission).is_ok_and(|permission| policy.roles.granted(&self.0.role, &permission));
        if is_granted || &*self.0.role == ADMIN { Ok(()) } else { Err(ApiError::Forbidden(permission.to_owned())) }
    }

    /// A scoped key has to reach as far as the permission; whoever has no scopes does.
    fn demand_scope(&self, permission: &str) -> Result<(), ApiError> {
        let reaches = |scopes: &[Box<str>]| scopes.iter().any(|scope| covers(scope, permission));
        if self.0.scopes.as_deref().is_none_or(reaches) {
            Ok(())
        } else {
            Err(ApiError::Forbidden(permission.to_owned()))
        }
    }

    /// The caller has to reach as far as a key of these scopes; a key without any reaches everywhere.
    pub(crate) fn demand_scopes(&self, scopes: Option<&[String]>) -> Result<(), ApiError> {
        match scopes {
            Some(scopes) => scopes.iter().try_for_each(|scope| self.demand_scope(scope)),
            None => self.demand_scope("*"),
        }
    }

    /// The caller has to be allowed whatever a role holds: else who manages accounts could make itself one that may do more, or take one
    /// over. Nobody but an administrator reaches as far as an administrator, whose role may hold anything.
    pub(crate) fn demand_all_of(&self, policy: &Policy, role: &str) -> Result<(), ApiError> {
        if role == ADMIN {
            self.demand_scope("*")?;
            return if &*self.0.role == ADMIN { Ok(()) } else { Err(ApiError::Forbidden("*".to_owned())) };
        }
        let own = policy.roles.get(&self.0.role);
        let has = |held: &str| &*self.0.role == ADMIN || own.is_some_and(|own| own.iter().any(|own| covers(own, held)));
        let Some(held) = policy.roles.get(role) else { return Ok(()) };
        held.iter().try_for_each(|held| {
            self.demand_scope(held)?;
            if has(held) { Ok(()) } else { Err(ApiError::Forbidden(held.to_owned())) }
        })
    }

    /// The account that a path names, for whoever may do all that it may.
    pub(crate) async fn managed(&self, office: &Office, id: &str) -> Result<Account, ApiError> {
        let account = office.account_named(id).await?;
        self.demand_all_of(&office.hooks.policy(), &account.role)?;
        Ok(account)
    }

    /// The same, and not the caller's own.
    pub(crate) async fn managed_other(&self, office: &Office, id: &str) -> Result<Account, ApiError> {
        if id.parse().is_ok_and(|id: AccountId| id == self.0.account) {
            return Err(ApiError::OwnAccount);
        }
        self.managed(office, id).await
    }

    /// The scopes of a key that the caller makes: those asked for if they do not reach beyond the caller's own, else the
    /// caller's own.
    pub(crate) fn hand_out(&self, wanted: Option<Vec<String>>) -> Result<Option<Vec<String>>, ApiError> {
        let own = || self.0.scopes.as_deref().map(|scopes| scopes.iter().map(ToString::to_string).collect());
        match wanted {
            Some(wanted) => self.demand_scopes(Some(&wanted)).map(|()| Some(wanted)),
            None => Ok(own()),
        }
    }
}
