//! A person as every answer shows them: the union of what the systems before us documented.

use chrono::{DateTime, Utc};
use identity::TenantRole;
use serde::Serialize;
use store::Account;
use utoipa::ToSchema;
use uuid::Uuid;

/// A person's account.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct User {
    id: Uuid,
    /// As it was typed at registration.
    email: String,
    name: Option<String>,
    /// The same as `name`.
    full_name: Option<String>,
    is_verified: bool,
    avatar_url: Option<String>,
    role: String,
    tier: String,
    /// The organisation in which the account acts.
    tenant_id: Option<Uuid>,
    /// As what it belongs to it.
    #[schema(value_type = Option<String>)]
    tenant_role: Option<TenantRole>,
    /// Groupings inside the platform.
    teams: Vec<String>,
    /// Business domains inside the platform.
    domains: Vec<String>,
    created_at: DateTime<Utc>,
}

// === impl User ===

impl From<Account> for User {
    fn from(account: Account) -> Self {
        Self {
            id: account.id.uuid(),
            email: account.email,
            full_name: account.name.clone(),
            name: account.name,
            is_verified: account.is_verified,
            avatar_url: account.avatar_url,
            role: account.role,
            tier: account.tier,
            tenant_id: account.tenant.map(|tenant| tenant.tenant.uuid()),
            tenant_role: account.tenant.map(|tenant| tenant.role),
            // Nobody has teams or domains yet; the fields are part of the answer from the first day.
            teams: Vec::new(),
            domains: Vec::new(),
            created_at: account.created_at,
        }
    }
}
