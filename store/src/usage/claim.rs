//! What a service says of whose use something was, looked up: by now the key may be revoked, and the account may act elsewhere, have
//! left, or be gone.

use identity::{AccountId, TenantId};
use uuid::Uuid;

use super::Used;
use crate::{Store, StoreError, db::on};

/// What of an event is not so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misplaced {
    /// There is no such account, nor has it used anything there.
    Account,
    /// The account never had this key.
    Key,
    /// The account never belonged to this tenant, or the key acts in another one.
    Tenant,
}

// === impl Store ===

impl Store {
    /// In whose name something was used: the key's tenant, or none if the key acts in none; without a key the one that is named, if the account
    /// belongs or has belonged to it; else the account's own.
    pub async fn place_usage(&self, used: &Used) -> Result<Result<Option<TenantId>, Misplaced>, StoreError> {
        let account = self.account(used.account).await?;
        let home = account.as_ref().and_then(|account| account.tenant).map(|membership| membership.tenant);
        // The keys of a deleted account are gone with it.
        if let (Some(key), true) = (used.key, account.is_some()) {
            let Some(own) = self.tenant_of_key(key.uuid(), used.account).await? else {
                return Ok(Err(Misplaced::Key));
            };
            let own = own.map(TenantId::new);
            let is_told_apart = used.tenant.is_some() && used.tenant != own;
            return Ok(if is_told_apart { Err(Misplaced::Tenant) } else { Ok(own) });
        }
        if used.tenant.is_none() && account.is_some() {
            return Ok(Ok(home));
        }
        let has_belonged = self.has_belonged(used.account, used.tenant).await?;
        Ok(match (has_belonged, account) {
            (true, _) => Ok(used.tenant),
            (false, Some(_)) => Err(Misplaced::Tenant),
            (false, None) => Err(Misplaced::Account),
        })
    }

    /// In which tenant a key of the account acts, revoked or not.
    async fn tenant_of_key(&self, key: Uuid, account: AccountId) -> Result<Option<Option<Uuid>>, StoreError> {
        const Q: &str = "SELECT tenant_id FROM api_keys WHERE id = $1 AND account_id = $2";
        self.bounded(async {
            on!(self, |pool| sqlx::query_scalar(Q).bind(key).bind(account.uuid()).fetch_optional(pool).await)
        })
        .await
    }

    /// Does the account belong to the tenant, or has it belonged to it? Who has left before that was noted has perhaps acted there.
    async fn has_belonged(&self, account: AccountId, tenant: Option<TenantId>) -> Result<bool, StoreError> {
        const Q: &str = "SELECT CAST(1 AS bigint) WHERE EXISTS (SELECT 1 FROM tenant_members WHERE tenant_id = $1 AND account_id = $2) \
                         OR EXISTS (SELECT 1 FROM left_tenants WHERE tenant_id = $1 AND account_id = $2) \
                         OR EXISTS (SELECT 1 FROM usage_days WHERE tenant_id = $1 AND account_id = $2) \
                         OR EXISTS (SELECT 1 FROM sessions WHERE tenant_id = $1 AND account_id = $2) \
                         OR EXISTS (SELECT 1 FROM api_keys WHERE tenant_id = $1 AND account_id = $2)";
        let tenant = tenant.map_or(Uuid::nil(), |tenant| tenant.uuid());
        let found: Option<i64> = self
            .bounded(async {
                on!(self, |pool| sqlx::query_scalar(Q).bind(tenant).bind(account.uuid()).fetch_optional(pool).await)
            })
            .await?;
        Ok(found.is_some())
    }
}
