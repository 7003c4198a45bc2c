//! Tenants: customer organisations. Who belongs to one is `members`'s; who is asked to, `tenant_invitations`'s.

use chrono::{DateTime, Utc};
use identity::{AccountId, TenantId, TenantRole};
use sqlx_macros::FromRow;
use uuid::Uuid;

use crate::{
    Cursor, DoneBy, Page, Status, Store, StoreError, Subject,
    db::{Tx, on, on_tx, stored},
};

/// A customer organisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// What its owners call it. Others may call theirs the same.
    pub name: String,
    /// The tier of its members who have none of their own; `None`: each has the one that its account was made with.
    pub tier: Option<String>,
    /// May it be used?
    pub status: Status,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// What of a tenant is changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TenantChange {
    /// A new name.
    pub name: Option<String>,
    /// A new tier, or none.
    pub tier: Option<Option<String>>,
    /// A new status.
    pub status: Option<Status>,
    /// By which administrator of the platform, while they are one still; `None`: by whoever may without.
    pub by: Option<DoneBy>,
}

#[derive(FromRow)]
pub(crate) struct TenantRow {
    id: Uuid,
    name: String,
    tier: Option<String>,
    status: Status,
    created_at: DateTime<Utc>,
}

#[derive(FromRow)]
struct Own {
    #[sqlx(flatten)]
    tenant: TenantRow,
    role: String,
}

// === impl Store ===

impl Store {
    /// Lets an account whose owner has no session here, since others vouch for them, act in another tenant of theirs from now on;
    /// [`StoreError::NotFound`] if it does not belong to it. Its sessions and keys stay where they are.
    pub async fn move_home(&self, account: AccountId, tenant: TenantId, now: DateTime<Utc>) -> Result<(), StoreError> {
        const Q: &str = "UPDATE accounts SET tenant_id = $2 WHERE id = $1 \
                         AND EXISTS (SELECT 1 FROM tenant_members WHERE account_id = $1 AND tenant_id = $2)";
        self.bounded(async {
            let mut tx = self.begin().await?;
            tx.pin_logins(account).await?;
            let moved = on_tx!(&mut tx, |c| sqlx::query(Q)
                .bind(account.uuid())
                .bind(tenant.uuid())
                .execute(c)
                .await
                .map(|done| done.rows_affected()))?;
            if moved == 0 {
                return Err(StoreError::NotFound);
            }
            self.commit_and_tell(tx, &[Subject::Account(account)], now).await
        })
        .await
    }

    /// Makes a tenant that an account answers for, and acts in from now on if it acts in none; [`StoreError::TooManyTenants`] if the account answers for `most` already.
    pub async fn create_tenant(
        &self,
        name: &str,
        owner: AccountId,
        most: u32,
        now: DateTime<Utc>,
    ) -> Result<Tenant, StoreError> {
        const HOME: &str = "UPDATE accounts SET tenant_id = $2 WHERE id = $1 AND tenant_id IS NULL";
        const OWNED: &str = "SELECT COUNT(*) FROM tenant_members WHERE account_id = $1 AND role = 'owner'";
        self.bounded(async {
            let mut tx = self.begin().await?;
            tx.lock_account(owner).await?;
            let count: i64 = on_tx!(&mut tx, |c| sqlx::query_scalar(OWNED).bind(owner.uuid()).fetch_one(c).await)?;
            if count >= i64::from(most) {
                return Err(StoreError::TooManyTenants);
            }
            let id = tx.found(name, owner, now).await?;
            let tenant = tx.tenant(id).await?.ok_or(StoreError::NotFound)?;
            let moved = on_tx!(&mut tx, |c| sqlx::query(HOME)
                .bind(owner.uuid())
                .bind(id.uuid())
                .execute(c)
                .await
                .map(|done| done.rows_affected()))?;
            let heard = if moved > 0 { vec![Subject::Account(owner)] } else { Vec::new() };
            self.commit_and_tell(tx, &heard, now).await?;
            Ok(tenant)
        })
        .await
    }

    /// The tenant of that id.
    pub async fn tenant(&self, id: TenantId) -> Result<Option<Tenant>, StoreError> {
        let row: Option<TenantRow> = self
            .bounded(async { on!(self, |pool| sqlx::query_as(BY_ID).bind(id.uuid()).fetch_optional(pool).await) })
            .await?;
        Ok(row.map(Tenant::from))
    }

    /// The tenants to which an account belongs, and as what; the oldest first.
    pub async fn tenants_of(&self, account: AccountId) -> Result<Vec<(Tenant, TenantRole)>, StoreError> {
        const Q: &str = "SELECT t.id, t.name, t.tier, t.status, t.created_at, m.role FROM tenant_members m \
                         JOIN tenants t ON t.id = m.tenant_id WHERE m.account_id = $1 ORDER BY t.id";
        let rows: Vec<Own> = self
            .bounded(async { on!(self, |pool| sqlx::query_as(Q).bind(account.uuid()).fetch_all(pool).await) })
            .await?;
        Ok(rows.into_iter().filter_map(|own| Some((own.tenant.into(), TenantRole::read(&own.role)?))).collect())
    }

    /// A page of the tenants to which an account belongs, and as what, the oldest first; of one alone if it is named.
    pub async fn list_tenants_of(
        &self,
        account: AccountId,
        only: Option<TenantId>,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Page<(Tenant, TenantRole)>, StoreError> {
        const Q: &str = "SELECT t.id, t.name, t.tier, t.status, t.created_at, m.role FROM tenant_members m \
                         JOIN tenants t ON t.id = m.tenant_id WHERE m.account_id = $1 AND t.id > $2 AND t.id = COALESCE($3, t.id) \
                         ORDER BY t.id LIMIT $4";
        let rows: Vec<Own> = self
            .bounded(async {
                on!(self, |pool| sqlx::query_as(Q)
                    .bind(account.uuid())
                    .bind(after.map_or(Uuid::nil(), Cursor::uuid))
                    .bind(only.map(|only| only.uuid()))
                    .bind(i64::from(limit) + 1)
                    .fetch_all(pool)
                    .await)
            })
            .await?;
        let page = Page::cut(rows, limit, |own| own.tenant.id);
        Ok(page.filter_map(|own| Some((own.tenant.into(), TenantRole::read(&own.role)?))))
    }

    /// The tenants to which an account has belonged and belongs no more; they may be gone.
    pub async fn tenants_left(&self, account: AccountId) -> Result<Vec<TenantId>, StoreError> {
        const Q: &str = "SELECT tenant_id FROM left_tenants l WHERE account_id = $1 AND NOT EXISTS \
                         (SELECT 1 FROM tenant_members m WHERE m.tenant_id = l.tenant_id AND m.account_id = $1) ORDER BY tenant_id";
        let ids: Vec<Uuid> = self
            .bounded(async { on!(self, |pool| sqlx::query_scalar(Q).bind(account.uuid()).fetch_all(pool).await) })
            .await?;
        Ok(ids.into_iter().map(TenantId::new).collect())
    }

    /// A page of all tenants in the order of their making.
    pub async fn list_tenants(&self, after: Option<Cursor>, limit: u32) -> Result<Page<Tenant>, StoreError> {
        const Q: &str = "SELECT id, name, tier, status, created_at FROM tenants WHERE id > $1 ORDER BY id LIMIT $2";
        let after = after.map_or(Uuid::nil(), Cursor::uuid);
        let rows: Vec<TenantRow> = self
            .bounded(async {
                on!(self, |pool| sqlx::query_as(Q).bind(after).bind(i64::from(limit) + 1).fetch_all(pool).await)
            })
            .await?;
        Ok(Page::cut(rows.into_iter().map(Tenant::from).collect(), limit, |tenant| tenant.id.uuid()))
    }

    /// Changes a tenant; its members' tier or right to come in changes with it, at once. [`StoreError::Conflict`] if whoever governs it so has lost
    /// the right to it.
    pub async fn change_tenant(
        &self,
        id: TenantId,
        change: TenantChange,
        now: DateTime<Utc>,
    ) -> Result<Tenant, StoreError> {
        const Q: &str = "UPDATE tenants SET name = COALESCE($2, name), tier = CASE WHEN $3 THEN $4 ELSE tier END, \
                         tier_said_at = CASE WHEN $3 THEN $6 ELSE tier_said_at END, tier_from = CASE WHEN $3 THEN NULL ELSE tier_from END, \
                         status = COALESCE($5, status) WHERE id = $1";
        self.bounded(async {
            let mut tx = self.begin().await?;
            if change.tier.is_some() {
                tx.note_tier(id, now).await?;
            } else {
                tx.lock_tenant(id).await?;
            }
            tx.hold_doer(change.by.as_ref(), None).await?;
            on_tx!(&mut tx, |c| sqlx::query(Q)
                .bind(id.uuid())
                .bind(change.name)
                .bind(change.tier.is_some())
                .bind(change.tier.flatten())
                .bind(change.status.map(Status::word))
                .bind(now.timestamp())
                .execute(c)
                .await
                .map(drop))?;
            let tenant = tx.tenant(id).await?.ok_or(StoreError::NotFound)?;
            self.commit_and_tell(tx, &[Subject::Tenant(id)], now).await?;
            Ok::<_, StoreError>(tenant)
        })
        .await
    }

    /// Deletes a tenant with all that it owns but what it owes. Whoever acted in it has to log in again, and keys that were made for it are worth nothing.
    /// `by`: the owner who does it, unless it is the platform; [`StoreError::Conflict`] if they own it no more.
    pub async fn delete_tenant(
        &self,
        id: TenantId,
        by: Option<AccountId>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        const HOMES: &str = "UPDATE accounts SET tenant_id = (SELECT other.tenant_id FROM tenant_members other \
                             WHERE other.account_id = accounts.id AND other.tenant_id <> $1 ORDER BY other.tenant_id LIMIT 1), \
                             updated_at = $2 WHERE tenant_id = $1";
        const KEYS: &str = "UPDATE api_keys SET revoked_at = $2 WHERE tenant_id = $1 AND revoked_at IS NULL";
        const SESSIONS: &str = "UPDATE sessions SET ended_at = $2 WHERE tenant_id = $1 AND ended_at IS NULL";
        // Logins that say of no tenant act in the account's own, and are not to go on in its next one.
        const LOGINS: &str = "UPDATE sessions SET ended_at = $2 WHERE account_id IN (SELECT id FROM accounts WHERE tenant_id = $1) \
                              AND tenant_id IS NULL AND ended_at IS NULL AND (method IS NULL OR method <> 'client_credentials')";
        const LEFT: &str = "INSERT INTO left_tenants (tenant_id, account_id) SELECT tenant_id, account_id FROM tenant_members \
                            WHERE tenant_id = $1 ON CONFLICT (account_id, tenant_id) DO NOTHING";
        const Q: &str = "DELETE FROM tenants WHERE id = $1";
        self.bounded(async {
            let mut tx = self.begin().await?;
            // Before anything of its members', as whoever sends one of them away does; and those before their keys and sessions.
            tx.lock_tenant(id).await?;
            tx.demand_right(id, by, TenantRole::Owner).await?;
            tx.lock_members(id).await?;
            tx.leave_bill(id, now).await?;
            for statement in [KEYS, SESSIONS, LOGINS, HOMES] {
                on_tx!(&mut tx, |c| sqlx::query(statement)
                    .bind(id.uuid())
                    .bind(stored(now))
                    .execute(c)
                    .await
                    .map(drop))?;
            }
            on_tx!(&mut tx, |c| sqlx::query(LEFT).bind(id.uuid()).execute(c).await.map(drop))?;
            let deleted =
                on_tx!(&mut tx, |c| sqlx::query(Q).bind(id.uuid()).execute(c).await.map(|done| done.rows_affected()))?;
            if deleted == 0 {
                return Err(StoreError::NotFound);
            }
            self.commit_and_tell(tx, &[Subject::Tenant(id)], now).await
        })
        .await
    }
}

const BY_ID: &str = "SELECT id, name, tier, status, created_at FROM tenants WHERE id = $1";

// === impl Tx ===

impl Tx {
    /// Makes a tenant that an account answers for.
    pub(crate) async fn found(
        &mut self,
        name: &str,
        owner: AccountId,
        now: DateTime<Utc>,
    ) -> Result<TenantId, StoreError> {
        let id = self.insert_tenant(name, now).await?;
        self.insert_member(id, owner, TenantRole::Owner, now).await?;
        self.join_first_team(id, owner, now).await?;
        Ok(id)
    }

    /// A name is not a tenant's own: the same again makes another one, so that nobody gets into a tenant by knowing its name.
    pub(crate) async fn insert_tenant(&mut self, name: &str, now: DateTime<Utc>) -> Result<TenantId, StoreError> {
        const Q: &str = "INSERT INTO tenants (id, name, created_at) VALUES ($1, $2, $3)";
        let id = Uuid::now_v7();
        on_tx!(self, |c| sqlx::query(Q).bind(id).bind(name).bind(stored(now)).execute(c).await.map(drop))?;
        self.insert_seed(TenantId::new(id), now).await?;
        Ok(TenantId::new(id))
    }

    /// A tier of its own from its first moment on: it has never had another one.
    pub(crate) async fn begin_with_tier(&mut self, tenant: TenantId, tier: &str) -> Result<(), StoreError> {
        const Q: &str = "UPDATE tenants SET tier = $2 WHERE id = $1";
        Ok(on_tx!(self, |c| sqlx::query(Q).bind(tenant.uuid()).bind(tier).execute(c).await.map(drop))?)
    }

    pub(crate) async fn tenant(&mut self, id: TenantId) -> Result<Option<Tenant>, StoreError> {
        let row: Option<TenantRow> = on_tx!(self, |c| sqlx::query_as(BY_ID).bind(id.uuid()).fetch_optional(c).await)?;
        Ok(row.map(Tenant::from))
    }

    /// Whoever counts what an account has, and adds to it, does so alone; SQLite's transaction is alone anyway.
    pub(crate) async fn lock_account(&mut self, id: AccountId) -> Result<(), StoreError> {
        if let Self::Pg(tx) = self {
            let lock = sqlx::query("SELECT 1 FROM accounts WHERE id = $1 FOR NO KEY UPDATE");
            lock.bind(id.uuid()).execute(tx.within()).await?;
        }
        Ok(())
    }

    /// The same of everybody who belongs to a tenant. In one order: two tenants may have the same members.
    async fn lock_members(&mut self, tenant: TenantId) -> Result<(), StoreError> {
        const Q: &str = "SELECT 1 FROM accounts WHERE id IN (SELECT account_id FROM tenant_members WHERE tenant_id = $1) \
                         ORDER BY id FOR NO KEY UPDATE";
        if let Self::Pg(tx) = self {
            sqlx::query(Q).bind(tenant.uuid()).execute(tx.within()).await?;
        }
        Ok(())
    }
}

// === impl Tenant ===

impl From<TenantRow> for Tenant {
    fn from(row: TenantRow) -> Self {
        Self {
            id: TenantId::new(row.id),
            name: row.name,
            tier: row.tier,
            status: row.status,
            created_at: row.created_at,
        }
    }
}
