//! `PATCH /admin/users/{id}`: an administrator sets somebody's role, tier or status. It counts at once, for tokens that
//! are already out too.
//!
//! Nobody changes their own account here: role and tier are never set by the person they belong to, and whoever changes
//! accounts is an administrator still, so that the last one cannot lock everybody out.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use policies::Policy;
use serde::Deserialize;
use store::{Account, AccountChange, NewTier, Status};
use utoipa::ToSchema;

use crate::{
    body::Body,
    caller::{Allowed, ManageUsers},
    error::{ApiError, OrMissing},
    form::Form,
    office::Office,
    trail,
    user::{ManagedUser, NO_ACCOUNT},
};

/// What shall change; at least one of them.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeUser {
    /// A role of the configuration.
    role: Option<String>,
    /// A tier of the configuration, whatever that of the account's organisation is; `null`: that of the organisation.
    #[serde(default, deserialize_with = "super::update_me::present")]
    #[schema(value_type = Option<String>)]
    #[expect(clippy::option_option, reason = "left out is not the same as null")]
    tier: Option<Option<String>>,
    /// `disabled`: nothing that belongs to the account opens the door, neither sessions nor keys, until it is `active`.
    status: Option<NewStatus>,
}

/// May the account be used?
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(rename_all = "lowercase")]
pub(crate) enum NewStatus {
    Active,
    Disabled,
}

/// Changes somebody's role, tier or status. For administrators.
#[utoipa::path(
    patch, path = "/admin/users/{id}", tag = "administration", request_body = ChangeUser,
    security(("access_token" = []), ("api_key" = [])),
    params(("id" = String, Path, description = "The account's id")),
    responses(
        (status = 200, description = "The account as it is now", body = ManagedUser),
        (status = 403, description = "`forbidden`: the caller may not manage users, or a role may do what the caller may not; `own_account`: it is the caller's own"),
        (status = 404, description = "`not_found`: there is no such account"),
        (status = 409, description = "`conflict`: nobody else would administer the platform, or the account was changed at the same moment"),
    )
)]
pub(crate) async fn change_user(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageUsers>,
    Path(id): Path<String>,
    Body(request): Body<ChangeUser>,
) -> Result<Json<ManagedUser>, ApiError> {
    let account = caller.managed_other(&office, &id).await?;
    let id = account.id;
    let change = request.parse(&office.hooks.policy(), &office.settings.default_tier, account)?;
    if let Some(role) = &change.role {
        caller.demand_all_of(&office.hooks.policy(), role)?;
    }
    tracing::info!(by = %caller.0.account, account = %id, ?change, "an account is changed");
    if let Some(role) = &change.role {
        trail::detail("role", role.as_str());
    }
    if let Some(NewTier::Own(tier) | NewTier::TenantsOr(tier)) = &change.tier {
        trail::detail("tier", tier.as_str());
    }
    if let Some(status) = change.status {
        trail::detail("status", status.word());
    }
    let change = AccountChange { by: caller.doer(&office), ..change };
    let account = office.store.change_account(id, change, office.now()).await.or_missing(NO_ACCOUNT)?;
    Ok(Json(office.managed_user(account).await))
}

// === impl NewStatus ===

/// Not derived: serde would take `{"disabled": null}` for a status as well.
impl TryFrom<String> for NewStatus {
    type Error = &'static str;

    fn try_from(word: String) -> Result<Self, &'static str> {
        match word.as_str() {
            "active" => Ok(Self::Active),
            "disabled" => Ok(Self::Disabled),
            _ => Err("must be `active` or `disabled`"),
        }
    }
}

impl From<NewStatus> for Status {
    fn from(status: NewStatus) -> Self {
        match status {
            NewStatus::Active => Self::Active,
            NewStatus::Disabled => Self::Disabled,
        }
    }
}

// === impl ChangeUser ===

impl ChangeUser {
    fn parse(self, policy: &Policy, default_tier: &str, whose: Account) -> Result<AccountChange, ApiError> {
        let mut form = Form::default();
        if let Some(role) = &self.role {
            form.role(role, policy, whose.kind);
        }
        if let Some(tier) = self.tier.iter().flatten().find(|tier| !policy.tiers.contains(tier)) {
            form.fault("tier", format!("there is no tier `{tier}`"));
        }
        if self.role.is_none() && self.tier.is_none() && self.status.is_none() {
            form.fault("", "give a role, a tier or a status");
        }
        let status = self.status.map(Into::into);
        let tier = self.tier.map(|tier| match tier {
            Some(tier) => NewTier::Own(tier),
            None => NewTier::TenantsOr(default_tier.to_owned()),
        });
        form.finish(Some(AccountChange { role: self.role, tier, status, of_role: Some(whose.role), by: None }))
    }
}
