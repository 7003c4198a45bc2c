//! The door's look-ups: everything there is to know about a caller, in one query each.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use identity::{
    AccountId, Assurance, Authentication, Grant, KeyId, Networks, Principal, SecretDigest, SessionId, TenantId,
};
use sqlx::types::Json;
use sqlx_macros::FromRow;
use uuid::Uuid;

use crate::{
    Account, AccountKind, MACHINE, Status, Store, StoreError,
    account::{AccountRow, account_columns, its_tenant},
    db::on,
};

/// A session or key, and the account behind it.
#[derive(Clone, Debug)]
pub struct GrantFacts {
    /// Whose it is.
    pub account: Account,
    /// When the session was ended or the key revoked.
    pub ended_at: Option<DateTime<Utc>>,
    /// When the key or cookie ends by itself, or what a machine has bought with a key.
    pub expires_at: Option<DateTime<Utc>>,
    /// When the cookie ends unless it is used before.
    pub idle_until: Option<DateTime<Utc>>,
    /// The SHA-256 of the key or cookie.
    pub digest: Option<SecretDigest>,
    /// What the key is restricted to.
    pub scopes: Option<Vec<String>>,
    /// From where the key may be shown; `None`: from anywhere.
    pub networks: Option<Networks>,
    /// How and when the person behind a session has last shown who they are.
    pub authentication: Option<Authentication>,
    /// The same of whoever has made the key.
    pub made_by: Option<Authentication>,
    /// Is it for a tenant to which its account does not belong, or does not belong any more?
    pub has_left: bool,
    /// The administrator who acts as the account's owner.
    pub actor: Option<AccountId>,
    /// Has a machine bought it with a key?
    pub is_machine: bool,
    /// How often the person behind a session has shown anew who they are.
    pub generation: u32,
}

/// Seconds between the clocks of two gateways: each goes by its own while it is less than 2 s off the database's (docs/decisions/0011).
const CLOCKS_APART: i64 = 4;

/// May it be used now?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Yes.
    Live,
    /// It was ended or revoked.
    Ended,
    /// Its time is over.
    Expired,
    /// Its account is disabled.
    AccountDisabled,
    /// The tenant in which it acts is disabled.
    TenantDisabled,
}

#[derive(FromRow)]
struct SessionRow {
    #[sqlx(flatten)]
    account: AccountRow,
    bound_to: Option<Uuid>,
    actor_id: Option<Uuid>,
    method: Option<String>,
    ended_at: Option<DateTime<Utc>>,
    bought_until: Option<DateTime<Utc>>,
    auth_time: Option<DateTime<Utc>>,
    amr: Option<String>,
    generation: i64,
}

#[derive(FromRow)]
struct CookieRow {
    #[sqlx(flatten)]
    account: AccountRow,
    bound_to: Option<Uuid>,
    actor_id: Option<Uuid>,
    ended_at: Option<DateTime<Utc>>,
    digest: Vec<u8>,
    idle_until: DateTime<Utc>,
    ends_at: DateTime<Utc>,
    auth_time: Option<DateTime<Utc>>,
    amr: Option<String>,
    generation: i64,
}

#[derive(FromRow)]
struct KeyRow {
    #[sqlx(flatten)]
    account: AccountRow,
    bound_to: Option<Uuid>,
    revoked_at: Option<DateTime<Utc>>,
    expires_at: Option<DateTime<Utc>>,
    digest: Vec<u8>,
    scopes: Option<Json<Vec<String>>>,
    allowed_networks: Option<Json<Networks>>,
    made_at: DateTime<Utc>,
    had_factor: bool,
}

// === impl Store ===

impl Store {
    /// The session of that id, with its account.
    pub async fn session_grant(&self, id: SessionId) -> Result<Option<GrantFacts>, StoreError> {
        const Q: &str = concat!(
            "SELECT ",
            account_columns!(),
            ", s.tenant_id AS bound_to, s.actor_id, s.method, s.ended_at, s.auth_time, s.amr, s.generation, \
             CASE WHEN s.method = 'client_credentials' THEN \
             (SELECT MAX(r.expires_at) FROM refresh_tokens r WHERE r.session_id = s.id) END AS bought_until \
             FROM sessions s JOIN accounts a ON a.id = s.account_id",
            its_tenant!(
                "CASE WHEN s.method = 'client_credentials' THEN s.tenant_id ELSE COALESCE(s.tenant_id, a.tenant_id) END"
            ),
            "WHERE s.id = $1"
        );
        let row: Option<SessionRow> = self
            .bounded(async { on!(self, |pool| sqlx::query_as(Q).bind(id.uuid()).fetch_optional(pool).await) })
            .await?;
        Ok(row.map(|row| {
            let account = Account::from(row.account);
            GrantFacts {
                has_left: row.bound_to.is_some() && account.tenant.is_none(),
                account,
                ended_at: row.ended_at,
                expires_at: row.bought_until,
                idle_until: None,
                digest: None,
                scopes: None,
                networks: None,
                authentication: authentication(row.auth_time, row.amr.as_deref()),
                made_by: None,
                actor: row.actor_id.map(AccountId::new),
                is_machine: row.method.as_deref() == Some(MACHINE),
                generation: u32::try_from(row.generation).unwrap_or(u32::MAX),
            }
        }))
    }

    /// The session of that id that has a cookie, with its account.
    pub async fn cookie_grant(&self, id: SessionId) -> Result<Option<GrantFacts>, StoreError> {
        const Q: &str = concat!(
            "SELECT ",
            account_columns!(),
            ", s.tenant_id AS bound_to, s.actor_id, s.ended_at, s.auth_time, s.amr, s.generation, c.digest, c.idle_until, c.ends_at \
             FROM session_cookies c JOIN sessions s ON s.id = c.session_id JOIN accounts a ON a.id = s.account_id",
            its_tenant!("COALESCE(s.tenant_id, a.tenant_id)"),
            "WHERE c.session_id = $1"
        );
        let row: Option<CookieRow> = self
            .bounded(async { on!(self, |pool| sqlx::query_as(Q).bind(id.uuid()).fetch_optional(pool).await) })
            .await?;
        Ok(row.map(|row| {
            let account = Account::from(row.account);
            GrantFacts {
                has_left: row.bound_to.is_some() && account.tenant.is_none(),
                account,
                ended_at: row.ended_at,
                expires_at: Some(row.ends_at),
                idle_until: Some(row.idle_until),
                digest: SecretDigest::from_slice(&row.digest),
                scopes: None,
                networks: None,
                authentication: authentication(row.auth_time, row.amr.as_deref()),
                made_by: None,
                actor: row.actor_id.map(AccountId::new),
                is_machine: false,
                generation: u32::try_from(row.generation).unwrap_or(u32::MAX),
            }
        }))
    }

    /// The key of that id, with its account.
    pub async fn key_grant(&self, id: KeyId) -> Result<Option<GrantFacts>, StoreError> {
        const Q: &str = concat!(
            "SELECT ",
            account_columns!(),
            ", k.tenant_id AS bound_to, k.revoked_at, k.expires_at, k.digest, k.scopes, k.allowed_networks, k.created_at AS made_at, k.had_factor \
             FROM api_keys k JOIN accounts a ON a.id = k.account_id",
            its_tenant!("k.tenant_id"),
            "WHERE k.id = $1"
        );
        let row: Option<KeyRow> = self
            .bounded(async { on!(self, |pool| sqlx::query_as(Q).bind(id.uuid()).fetch_optional(pool).await) })
            .await?;
        Ok(row.map(|row| {
            let account = Account::from(row.account);
            GrantFacts {
                has_left: row.bound_to.is_some() && account.tenant.is_none(),
                account,
                ended_at: row.revoked_at,
                expires_at: row.expires_at,
                idle_until: None,
                digest: SecretDigest::from_slice(&row.digest),
                scopes: row.scopes.map(|scopes| scopes.0),
                networks: row.allowed_networks.map(|networks| networks.0),
                authentication: None,
                made_by: Some(Authentication {
                    at: row.made_at.timestamp(),
                    // Whoever has a second factor makes no key without it.
                    assurance: if row.had_factor { Assurance::Multi } else { Assurance::Single },
                }),
                actor: None,
                is_machine: false,
                generation: 0,
            }
        }))
    }
}

fn authentication(at: Option<DateTime<Utc>>, amr: Option<&str>) -> Option<Authentication> {
    let assurance = Assurance::of_methods(amr.unwrap_or_default());
    at.map(|at| Authentication { at: at.timestamp(), assurance })
}

// === impl GrantFacts ===

impl GrantFacts {
    /// An account whose owner somebody else vouches for.
    #[must_use]
    pub const fn of_account(account: Account) -> Self {
        Self {
            account,
            ended_at: None,
            expires_at: None,
            idle_until: None,
            digest: None,
            scopes: None,
            networks: None,
            authentication: None,
            made_by: None,
            has_left: false,
            actor: None,
            is_machine: false,
            generation: 0,
        }
    }

    /// The same, where it is for one tenant alone, to which the account has to belong.
    #[must_use]
    pub fn of_account_in(account: Account, tenant: Option<TenantId>) -> Self {
        let has_left = tenant.is_some() && account.tenant.is_none();
        Self { has_left, ..Self::of_account(account) }
    }

    /// May it be used now? That the account is disabled is said first: it is why its sessions have ended.
    #[must_use]
    pub fn standing(&self, now: DateTime<Utc>) -> Standing {
        if self.account.status == Status::Disabled {
            Standing::AccountDisabled
        } else if self.ended_at.is_some() || self.has_left {
            Standing::Ended
        } else if self.account.tenant.is_some_and(|tenant| tenant.status == Status::Disabled) {
            Standing::TenantDisabled
        } else if self.expires_at.into_iter().chain(self.idle_until).any(|at| at <= now) {
            Standing::Expired
        } else {
            Standing::Live
        }
    }

    /// The same for an access token of this generation, made at `iat` (Unix seconds): whoever has shown anew who they are has another one
    /// since, and this has ended. A gateway of a version that knows no generations names none; what it makes after that moment is as
    /// good as what any other makes, since it took the refresh token too.
    #[must_use]
    pub fn standing_of_token(&self, generation: u32, iat: i64, now: DateTime<Utc>) -> Standing {
        let renewed_at = self.authentication.map(|authentication| authentication.at.saturating_add(CLOCKS_APART));
        let is_since = generation == 0 && renewed_at.is_some_and(|renewed_at| iat > renewed_at);
        match self.standing(now) {
            Standing::Live if generation != self.generation && !is_since => Standing::Ended,
            standing => standing,
        }
    }

    /// The caller that these facts make.
    #[must_use]
    pub fn principal(&self, grant: Grant) -> Principal {
        let account = &self.account;
        let grant = match grant {
            Grant::Session(id) if self.is_machine => Grant::Machine(id),
            other => other,
        };
        Principal {
            account: account.id,
            role: Arc::from(account.role.as_str()),
            tier: Arc::from(account.tier.as_str()),
            tenant: account.tenant.map(|tenant| tenant.tenant),
            tenant_role: account.tenant.map(|tenant| tenant.role),
            actor: self.actor.map(Box::new),
            is_service: account.kind == AccountKind::Service,
            grant,
            scopes: self.scopes.as_ref().map(|scopes| scopes.iter().map(|scope| scope.as_str().into()).collect()),
            networks: self.networks.clone().map(Box::new),
            authentication: self.authentication.or(self.made_by),
            generation: self.generation,
        }
    }
}
