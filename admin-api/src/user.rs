//! A person as every answer shows them: the union of what the systems before us documented.

use chrono::{DateTime, Utc};
use identity::{Principal, TenantId, TenantRole};
use serde::Serialize;
use store::{Account, Groups, Status};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    error::ApiError,
    group::{Domain, Team},
    office::Office,
};

pub(crate) const NO_ACCOUNT: ApiError = ApiError::NotFound("account");

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
    /// Teams of the organisation to which the account belongs, and as what. Left out while they cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    teams: Option<Vec<Team>>,
    /// Domains of the organisation to which it is assigned. Left out while they cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    domains: Option<Vec<Domain>>,
    created_at: DateTime<Utc>,
}

/// An account as those who manage accounts see it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ManagedUser {
    #[serde(flatten)]
    user: User,
    /// `active`, or `disabled`: nothing that belongs to it opens the door.
    status: &'static str,
}

// === impl Office ===

impl Office {
    /// The account that a path names.
    pub(crate) async fn account_named(&self, id: &str) -> Result<Account, ApiError> {
        let id = id.parse().map_err(|_| NO_ACCOUNT)?;
        self.store.account(id).await?.ok_or(NO_ACCOUNT)
    }

    /// The caller's own account, as it is where the caller acts.
    pub(crate) async fn own_account(&self, caller: &Principal) -> Result<Account, ApiError> {
        // A program that acts in no tenant does so wherever its owner acts: none has this id.
        let nowhere = caller.grant.is_of_a_program().then(|| TenantId::new(Uuid::nil()));
        self.store.account_in(caller.account, caller.tenant.or(nowhere)).await?.ok_or(ApiError::CallerGone)
    }

    /// An account with its teams and domains in the tenant in which it acts.
    pub(crate) async fn user(&self, account: Account) -> Result<User, ApiError> {
        let groups = match account.tenant {
            Some(membership) => self.store.groups_of(membership.tenant, account.id).await?,
            None => Groups::default(),
        };
        Ok(User::with_groups(account, groups))
    }

    /// The same for whoever has a session already, whom nothing can be refused any more: without them while they cannot be read.
    pub(crate) async fn user_in_session(&self, account: Account) -> User {
        match self.user(account.clone()).await {
            Ok(user) => user,
            Err(error) => {
                tracing::warn!(account = %account.id, %error, "teams and domains could not be read");
                account.into()
            }
        }
    }

    /// The same for those who manage accounts.
    pub(crate) async fn managed_user(&self, account: Account) -> ManagedUser {
        let status = account.status;
        ManagedUser::new(self.user_in_session(account).await, status)
    }

    /// A page of accounts, with their teams and domains.
    pub(crate) async fn managed_users(&self, accounts: Vec<Account>) -> Result<Vec<ManagedUser>, ApiError> {
        let groups = self.store.groups_of_page(&accounts).await?;
        let users = accounts.into_iter().zip(groups).map(|(account, groups)| {
            let status = account.status;
            ManagedUser::new(User::with_groups(account, groups), status)
        });
        Ok(users.collect())
    }
}

// === impl ManagedUser ===

impl ManagedUser {
    pub(crate) fn new(user: User, status: Status) -> Self {
        Self { user, status: status.word() }
    }
}

// === impl User ===

impl User {
    /// An account with what it belongs to in the tenant in which it acts.
    pub(crate) fn with_groups(account: Account, groups: Groups) -> Self {
        let teams = Some(groups.teams.into_iter().map(Team::from).collect());
        let domains = Some(groups.domains.into_iter().map(Domain::from).collect());
        Self { teams, domains, ..account.into() }
    }
}

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
            teams: None,
            domains: None,
            created_at: account.created_at,
        }
    }
}
