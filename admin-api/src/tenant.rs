//! A tenant as answers show it, and who may do what in the one that a path names.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use identity::{AccountId, TenantId, TenantRole};
use serde::Serialize;
use store::{AccountKind, Status, Tenant};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{caller::Caller, error::ApiError, office::Office};

/// Whoever is not in a tenant learns nothing of it, not even that it is there.
pub(crate) const NO_TENANT: ApiError = ApiError::NotFound("organisation");

/// A customer organisation.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TenantShape {
    id: Uuid,
    /// Others may call theirs the same.
    name: String,
    /// The tier of its members who have none of their own; `null`: each has the one that its account was made with.
    tier: Option<String>,
    /// `active`, or `disabled`: nobody can act in it.
    status: &'static str,
    /// As what the caller belongs to it; `null`: not at all.
    #[schema(value_type = Option<String>)]
    role: Option<TenantRole>,
    created_at: DateTime<Utc>,
}

/// What a caller wants to do in a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// See it.
    See,
    /// Manage who belongs to it, and what it is called.
    Administer,
    /// End it, and say who answers for it.
    Own,
}

/// Every endpoint about organisations and who belongs to them.
pub(crate) fn endpoints() -> OpenApiRouter<Arc<Office>> {
    OpenApiRouter::new()
        .routes(routes!(crate::routes::list_tenants::list_tenants))
        .routes(routes!(crate::routes::create_tenant::create_tenant))
        .routes(routes!(crate::routes::read_tenant::read_tenant))
        .routes(routes!(crate::routes::change_tenant::change_tenant))
        .routes(routes!(crate::routes::delete_tenant::delete_tenant))
        .routes(routes!(crate::routes::list_members::list_members))
        .routes(routes!(crate::routes::invite_member::invite_member))
        .routes(routes!(crate::routes::change_member::change_member))
        .routes(routes!(crate::routes::remove_member::remove_member))
        .routes(routes!(crate::routes::list_tenant_invitations::list_tenant_invitations))
        .routes(routes!(crate::routes::withdraw_invitation::withdraw_invitation))
        .routes(routes!(crate::routes::list_invitations::list_invitations))
        .routes(routes!(crate::routes::accept_invitation::accept_invitation))
        .routes(routes!(crate::routes::decline_invitation::decline_invitation))
        .routes(routes!(crate::routes::switch_tenant::switch_tenant))
        .routes(routes!(crate::routes::list_all_tenants::list_all_tenants))
        .routes(routes!(crate::routes::see_tenant::see_tenant))
        .routes(routes!(crate::routes::govern_tenant::govern_tenant))
}

// === impl TenantShape ===

impl TenantShape {
    pub(crate) fn of(tenant: Tenant, role: Option<TenantRole>) -> Self {
        Self {
            id: tenant.id.uuid(),
            name: tenant.name,
            tier: tenant.tier,
            status: tenant.status.word(),
            role,
            created_at: tenant.created_at,
        }
    }
}

// === impl Office ===

impl Office {
    /// The tenant that a path names, if the caller may do so much there: its members by their role, and whoever administers the
    /// platform. A key acts in the tenant for which it was made and in no other, and so does an
    /// issuer's token in the one that it names. What is disabled is managed by the platform alone.
    pub(crate) async fn tenant_named(
        &self,
        caller: &Caller,
        id: &str,
        reach: Reach,
    ) -> Result<(Tenant, Option<TenantRole>), ApiError> {
        let id: TenantId = id.parse().map_err(|_| NO_TENANT)?;
        if caller.0.grant.is_for_one_tenant() && caller.0.tenant != Some(id) {
            return Err(NO_TENANT);
        }
        let tenant = self.store.tenant(id).await?.ok_or(NO_TENANT)?;
        let role = self.store.role_in(id, caller.0.account).await?;
        if caller.administers_platform() {
            return Ok((tenant, role));
        }
        let role = role.ok_or(NO_TENANT)?;
        let least = match reach {
            Reach::See => TenantRole::Member,
            Reach::Administer => TenantRole::Admin,
            Reach::Own => TenantRole::Owner,
        };
        if role < least {
            return Err(ApiError::Forbidden(format!("tenant {}", least.word())));
        }
        if reach != Reach::See && tenant.status == Status::Disabled {
            return Err(ApiError::TenantDisabled);
        }
        Ok((tenant, Some(role)))
    }

    /// Machines are the platform's, also those that work within a tenant: whoever ended one would end the metering of their own use.
    pub(crate) async fn demand_rule_over(&self, caller: &Caller, member: AccountId) -> Result<(), ApiError> {
        if caller.administers_platform() {
            return Ok(());
        }
        let account = self.store.account(member).await?;
        match account.map(|account| account.kind) {
            Some(AccountKind::Service) => Err(ApiError::Forbidden("platform admin".to_owned())),
            _ => Ok(()),
        }
    }
}
