//! `GET /tenants/{id}/members`: who belongs to an organisation, for its members.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::Uri,
};
use chrono::{DateTime, Utc};
use identity::TenantRole;
use serde::Serialize;
use store::Member;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    caller::{Allowed, ManageTenants},
    error::ApiError,
    office::Office,
    paging::Paging,
    tenant::Reach,
};

/// Somebody who belongs to an organisation.
#[derive(Serialize, ToSchema)]
pub(crate) struct MemberShape {
    account_id: Uuid,
    email: String,
    name: Option<String>,
    /// `owner`, `admin` or `member`.
    #[schema(value_type = String)]
    role: TenantRole,
    since: DateTime<Utc>,
}

/// A page of members.
#[derive(Serialize, ToSchema)]
pub(crate) struct Members {
    items: Vec<MemberShape>,
    /// Give it as `cursor` for the next page; `null` on the last.
    next_cursor: Option<String>,
}

/// Lists who belongs to an organisation.
#[utoipa::path(
    get, path = "/tenants/{id}/members", tag = "tenants", security(("access_token" = []), ("api_key" = [])),
    params(
        ("id" = String, Path, description = "The organisation's id"),
        ("cursor" = Option<String>, Query, description = "Where the page before this one ended: its `next_cursor`"),
        ("limit" = Option<u32>, Query, description = "Members on the page, 1 to 200; 50 by default", minimum = 1, maximum = 200),
    ),
    responses(
        (status = 200, description = "A page", body = Members),
        (status = 404, description = "`not_found`: the caller belongs to none of that id"),
    )
)]
pub(crate) async fn list_members(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageTenants>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Json<Members>, ApiError> {
    let paging = Paging::read(&uri)?;
    let (tenant, _) = office.tenant_named(&caller, &id, Reach::See).await?;
    let page = office.store.list_members(tenant.id, paging.after, paging.limit).await?;
    Ok(Json(Members {
        items: page.items.into_iter().map(MemberShape::from).collect(),
        next_cursor: page.next.map(|cursor| cursor.to_string()),
    }))
}

// === impl MemberShape ===

impl From<Member> for MemberShape {
    fn from(member: Member) -> Self {
        Self {
            account_id: member.account.uuid(),
            email: member.email,
            name: member.name,
            role: member.role,
            since: member.since,
        }
    }
}
