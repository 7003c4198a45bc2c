//! `POST /tenants/{id}/members`: asks somebody to belong to an organisation. They say yes by an account whose address is confirmed to be the
//! one that was asked; whether it has an account yet is told to nobody.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use chrono::{DateTime, Utc};
use identity::TenantRole;
use serde::{Deserialize, Serialize};
use store::{Invitation, NewInvitation};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    body::Body,
    caller::{Allowed, ManageTenants},
    error::ApiError,
    form::Form,
    mail::{Letter, Said, Source},
    office::Office,
    tenant::Reach,
    trail,
};

/// Invitations that an organisation may have out.
const MOST: u32 = 500;

/// Who shall be asked.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InviteMember {
    #[schema(format = Email, example = "user@example.com")]
    email: String,
    /// `member` by default; `admin`, or `owner`, which only an owner can make somebody.
    role: Option<String>,
}

/// Somebody who has been asked.
#[derive(Serialize, ToSchema)]
pub(crate) struct InvitationShape {
    id: Uuid,
    tenant_id: Uuid,
    /// What the organisation is called.
    tenant_name: String,
    /// Whom, as addresses are compared.
    email: String,
    /// As what.
    #[schema(value_type = String)]
    role: TenantRole,
    /// Who asks.
    invited_by: Option<Uuid>,
    created_at: DateTime<Utc>,
    /// Until when it can be accepted.
    expires_at: DateTime<Utc>,
}

/// Invites somebody. For administrators of the organisation.
#[utoipa::path(
    post, path = "/tenants/{id}/members", tag = "tenants", request_body = InviteMember,
    security(("access_token" = []), ("api_key" = [])),
    params(("id" = String, Path, description = "The organisation's id")),
    responses(
        (status = 202, description = "A mail is on its way; to ask again replaces the invitation", body = InvitationShape),
        (status = 403, description = "`forbidden`: the caller does not administer it, or only owners may make owners, and ask them anew; `tenant_disabled`"),
        (status = 404, description = "`not_found`: the caller belongs to none of that id"),
        (status = 409, description = "`conflict`: it is a member's address, or 500 invitations are out"),
    )
)]
pub(crate) async fn invite_member(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageTenants>,
    Path(id): Path<String>,
    Body(request): Body<InviteMember>,
) -> Result<(StatusCode, Json<InvitationShape>), ApiError> {
    let mut form = Form::default();
    let email = form.email(&request.email);
    let role = form.tenant_role(request.role.as_deref().unwrap_or("member"));
    let (email, role) = form.finish(email.zip(role))?;
    let reach = if role == TenantRole::Owner { Reach::Own } else { Reach::Administer };
    let (tenant, _) = office.tenant_named(&caller, &id, reach).await?;
    let now = office.now();
    let new = NewInvitation {
        tenant: tenant.id,
        email: &email,
        role,
        by: caller.0.account,
        most: MOST,
        now,
        expires_at: now + office.settings.accounts.invitation_ttl,
    };
    trail::detail("role", role.word());
    let invitation = office.store.invite_member(new).await?;
    trail::detail("invitation", invitation.id.to_string());
    let said = Said::to(&email).from(Some(Source::Tenant(tenant.id.uuid())));
    office.wish(Letter::TenantInvite, email.normalised(), &said).await?;
    Ok((StatusCode::ACCEPTED, Json(invitation.into())))
}

// === impl InvitationShape ===

impl From<Invitation> for InvitationShape {
    fn from(invitation: Invitation) -> Self {
        Self {
            id: invitation.id,
            tenant_id: invitation.tenant.uuid(),
            tenant_name: invitation.tenant_name,
            email: invitation.address,
            role: invitation.role,
            invited_by: invitation.by.map(|by| by.uuid()),
            created_at: invitation.created_at,
            expires_at: invitation.expires_at,
        }
    }
}
