//! The record of an account as it is read, with the tenant in which it acts: which columns it is made of, and what they mean.

use chrono::{DateTime, Utc};
use identity::{AccountId, Email, TenantId, TenantRole};
use sqlx_macros::FromRow;
use uuid::Uuid;

use crate::{StoreError, db::kept_as_text};

/// A person's record, without the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// The address as its owner writes it.
    pub email: String,
    /// The name.
    pub name: Option<String>,
    /// The role.
    pub role: String,
    /// The tier in effect: its own if it has one, else its tenant's, else the one it was made with.
    pub tier: String,
    /// Is that its own, whatever its tenant's is?
    pub has_own_tier: bool,
    /// May it be used?
    pub status: Status,
    /// Who has it?
    pub kind: AccountKind,
    /// The customer organisation in which it acts.
    pub tenant: Option<Membership>,
    /// Has the address been verified?
    pub is_verified: bool,
    /// A picture.
    pub avatar_url: Option<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When something of it last changed by which logins are weighed: whatever its owner shows or may do, and neither name nor picture.
    pub updated_at: DateTime<Utc>,
}

#[derive(FromRow)]
pub(crate) struct AccountRow {
    id: Uuid,
    email: String,
    name: Option<String>,
    role: String,
    tier: String,
    has_own_tier: bool,
    status: Status,
    kind: AccountKind,
    tenant_id: Option<Uuid>,
    tenant_role: Option<String>,
    tenant_status: Option<String>,
    is_verified: bool,
    avatar_url: Option<String>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// May an account be used?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Yes.
    Active,
    /// No: nothing that belongs to it opens the door.
    Disabled,
}

/// Who has an account?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountKind {
    /// Somebody.
    Person,
    /// A machine, which has keys and no password.
    Service,
}

/// That an account belongs to a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Which.
    pub tenant: TenantId,
    /// As what.
    pub role: TenantRole,
    /// May the tenant be used?
    pub status: Status,
}

/// What an [`AccountRow`] is read from, where [`its_tenant!`] is joined to `accounts a`.
macro_rules! account_columns {
    () => {
        "a.id, a.email, a.name, a.role, CASE WHEN a.has_own_tier THEN a.tier ELSE COALESCE(t.tier, a.tier) END AS tier, \
         a.has_own_tier, a.status, a.kind, t.id AS tenant_id, m.role AS tenant_role, t.status AS tenant_status, a.is_verified, \
         a.avatar_url, a.created_at, a.updated_at"
    };
}

/// Joins the tenant of this id to `accounts a`, if the account belongs to it.
macro_rules! its_tenant {
    ($id:literal) => {
        concat!(
            " LEFT JOIN tenant_members m ON m.account_id = a.id AND m.tenant_id = ",
            $id,
            " LEFT JOIN tenants t ON t.id = m.tenant_id "
        )
    };
}

/// Every account with the tenant that is its own, for a condition to follow.
macro_rules! account_where {
    ($condition:literal) => {
        concat!(
            "SELECT ",
            $crate::account::account_columns!(),
            " FROM accounts a",
            $crate::account::its_tenant!("a.tenant_id"),
            "WHERE ",
            $condition
        )
    };
}

pub(crate) use {account_columns, account_where, its_tenant};

// === impl Account ===

impl From<AccountRow> for Account {
    fn from(row: AccountRow) -> Self {
        Self {
            id: row.id.into(),
            email: row.email,
            name: row.name,
            role: row.role,
            tier: row.tier,
            has_own_tier: row.has_own_tier,
            status: row.status,
            kind: row.kind,
            tenant: membership(row.tenant_id, row.tenant_role.as_deref(), row.tenant_status),
            is_verified: row.is_verified,
            avatar_url: row.avatar_url,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// What cannot be read is no membership, and no right.
fn membership(tenant: Option<Uuid>, role: Option<&str>, status: Option<String>) -> Option<Membership> {
    let (tenant, role) = (TenantId::new(tenant?), TenantRole::read(role?)?);
    Some(Membership { tenant, role, status: status?.try_into().ok()? })
}

// === impl Account ===

impl Account {
    /// Its address; [`StoreError::Corrupt`] if what is stored is none.
    pub fn address(&self) -> Result<Email, StoreError> {
        Email::parse(&self.email).map_err(|error| StoreError::Corrupt(error.to_string()))
    }

    /// Is this tier, if it is said, not its own yet?
    pub(crate) fn lacks_tier(&self, tier: Option<&str>) -> bool {
        tier.is_some_and(|tier| tier != self.tier || !self.has_own_tier)
    }
}

// === impl AccountKind ===

impl AccountKind {
    /// As it is stored and shown.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Service => "service",
        }
    }
}

impl TryFrom<String> for AccountKind {
    type Error = StoreError;

    fn try_from(word: String) -> Result<Self, StoreError> {
        match word.as_str() {
            "person" => Ok(Self::Person),
            "service" => Ok(Self::Service),
            _ => Err(StoreError::Corrupt(format!("an account is of the kind {word}"))),
        }
    }
}

// === impl Status ===

impl Status {
    /// As it is stored and shown.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
        }
    }
}

impl TryFrom<String> for Status {
    type Error = StoreError;

    fn try_from(word: String) -> Result<Self, StoreError> {
        match word.as_str() {
            "active" => Ok(Self::Active),
            "disabled" => Ok(Self::Disabled),
            _ => Err(StoreError::Corrupt(format!("an account has the status {word}"))),
        }
    }
}

kept_as_text!(AccountKind, Status);
