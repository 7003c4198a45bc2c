//! Who belongs to a tenant, and as what. Somebody always answers for it: its last owner can neither leave nor become less.

use chrono::{DateTime, Utc};
use identity::{AccountId, KeyId, SessionId, TenantId, TenantRole};
use sqlx_macros::FromRow;
use uuid::Uuid;

use crate::{
    Account, Cursor, DoneBy, MACHINE, Page, Status, Store, StoreError, Subject,
    accounts::CHANGED_MEANWHILE,
    db::{Tx, on, on_tx, stored},
};

/// Somebody who belongs to a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Whose account.
    pub account: AccountId,
    /// The address as its owner writes it.
    pub email: String,
    /// The name.
    pub name: Option<String>,
    /// As what.
    pub role: TenantRole,
    /// Since when.
    pub since: DateTime<Utc>,
}

#[derive(FromRow)]
struct Row {
    account_id: Uuid,
    email: String,
    name: Option<String>,
    role: String,
    created_at: DateTime<Utc>,
}

// === impl Store ===

impl Store {
    /// A page of a tenant's members, in the order in which their accounts were made.
    pub async fn list_members(
        &self,
        tenant: TenantId,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Page<Member>, StoreError> {
        const Q: &str = "SELECT m.account_id, a.email, a.name, m.role, m.created_at FROM tenant_members m \
                         JOIN accounts a ON a.id = m.account_id WHERE m.tenant_id = $1 AND m.account_id > $2 \
                         ORDER BY m.account_id LIMIT $3";
        let after = after.map_or(Uuid::nil(), Cursor::uuid);
        let scoped = self.of_tenant(tenant);
        let rows: Vec<Row> = self
            .bounded(async {
                on!(scoped, |pool| sqlx::query_as(Q)
                    .bind(tenant.uuid())
                    .bind(after)
                    .bind(i64::from(limit) + 1)
                    .fetch_all(pool)
                    .await)
            })
            .await?;
        let members = rows.into_iter().filter_map(Member::read).collect();
        Ok(Page::cut(members, limit, |member: &Member| member.account.uuid()))
    }

    /// What an account is in a tenant; `None`: it does not belong to it.
    pub async fn role_in(&self, tenant: TenantId, account: AccountId) -> Result<Option<TenantRole>, StoreError> {
        let scoped = self.of_tenant(tenant);
        let role: Option<String> = self
            .bounded(async {
                on!(scoped, |pool| sqlx::query_scalar(ROLE)
                    .bind(tenant.uuid())
                    .bind(account.uuid())
                    .fetch_optional(pool)
                    .await)
            })
            .await?;
        Ok(role.as_deref().and_then(TenantRole::read))
    }

    /// Makes a member something else; [`StoreError::LastOwner`] if nobody would answer for the tenant. `by`: who does it, unless it is the
    /// platform; [`StoreError::Conflict`] if they may not any more.
    pub async fn change_member(
        &self,
        tenant: TenantId,
        account: AccountId,
        role: TenantRole,
        by: Option<AccountId>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        const Q: &str = "UPDATE tenant_members SET role = $3 WHERE tenant_id = $1 AND account_id = $2";
        let scoped = self.of_tenant(tenant);
        self.bounded(async {
            let mut tx = scoped.begin().await?;
            let is = tx.hold_members(tenant, account).await?;
            tx.demand_right(tenant, by, is.max(role)).await?;
            let mut heard = vec![Subject::Account(account)];
            if is.max(role) == TenantRole::Owner {
                tx.note_tier(tenant, now).await?;
                heard.push(Subject::Tenant(tenant));
            }
            if is == TenantRole::Owner && role != TenantRole::Owner {
                tx.demand_another_owner(tenant).await?;
            }
            if role < is {
                tx.withdraw_invitations_by(tenant, account).await?;
            }
            on_tx!(&mut tx, |c| sqlx::query(Q)
                .bind(tenant.uuid())
                .bind(account.uuid())
                .bind(role.word())
                .execute(c)
                .await
                .map(drop))?;
            self.commit_and_tell(tx, &heard, now).await
        })
        .await
    }

    /// Lets a member go: the sessions and keys by which it acts in the tenant end. [`StoreError::LastOwner`] if nobody would answer for
    /// the tenant. `by`: who sends them away, unless it is they themselves or the platform.
    pub async fn remove_member(
        &self,
        tenant: TenantId,
        account: AccountId,
        by: Option<AccountId>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        // Whose own tenant it was gets another one of theirs, or none.
        const HOME: &str = "UPDATE accounts SET tenant_id = (SELECT tenant_id FROM tenant_members WHERE account_id = $2 \
                            ORDER BY tenant_id LIMIT 1) WHERE id = $2 AND tenant_id = $1";
        self.bounded(async {
            let mut tx = self.begin().await?;
            let is = tx.hold_members(tenant, account).await?;
            tx.demand_right(tenant, by, is).await?;
            if is == TenantRole::Owner {
                tx.note_tier(tenant, now).await?;
                tx.demand_another_owner(tenant).await?;
            }
            tx.withdraw_invitations_by(tenant, account).await?;
            tx.pin_logins(account).await?;
            let mut heard = tx.end_grants_in(tenant, account, now).await?;
            tx.leave(tenant, account).await?;
            on_tx!(&mut tx, |c| sqlx::query(HOME).bind(tenant.uuid()).bind(account.uuid()).execute(c).await.map(drop))?;
            heard.push(Subject::Account(account));
            if is == TenantRole::Owner {
                heard.push(Subject::Tenant(tenant));
            }
            self.commit_and_tell(tx, &heard, now).await
        })
        .await
    }

    /// Lets a session act in another tenant of its account's; [`StoreError::NotFound`] if the account does not belong to it, or the
    /// session has ended. The next login begins there.
    pub async fn switch_tenant(
        &self,
        session: SessionId,
        account: AccountId,
        tenant: TenantId,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        const Q: &str = "UPDATE sessions SET tenant_id = $3 WHERE id = $1 AND account_id = $2 AND ended_at IS NULL \
                         AND EXISTS (SELECT 1 FROM tenant_members WHERE account_id = $2 AND tenant_id = $3)";
        const HOME: &str = "UPDATE accounts SET tenant_id = $2 WHERE id = $1";
        self.bounded(async {
            let mut tx = self.begin().await?;
            tx.pin_logins(account).await?;
            let switched = on_tx!(&mut tx, |c| sqlx::query(Q)
                .bind(session.uuid())
                .bind(account.uuid())
                .bind(tenant.uuid())
                .execute(c)
                .await
                .map(|done| done.rows_affected()))?;
            if switched == 0 {
                return Err(StoreError::NotFound);
            }
            on_tx!(&mut tx, |c| sqlx::query(HOME).bind(account.uuid()).bind(tenant.uuid()).execute(c).await.map(drop))?;
            self.commit_and_tell(tx, &[Subject::Session(session), Subject::Account(account)], now).await
        })
        .await
    }
}

const ROLE: &str = "SELECT role FROM tenant_members WHERE tenant_id = $1 AND account_id = $2";

// === impl Tx ===

impl Tx {
    /// Logins that say of no tenant act in the account's own. They stay where they are when that becomes another one. A key that says of none
    /// acts in none, and so does what it has bought. Everybody takes the account first, then its keys, then its sessions, or two would wait
    /// for each other.
    pub(crate) async fn pin_logins(&mut self, account: AccountId) -> Result<(), StoreError> {
        const Q: &str = "UPDATE sessions SET tenant_id = (SELECT tenant_id FROM accounts WHERE id = $1) \
                         WHERE account_id = $1 AND tenant_id IS NULL AND ended_at IS NULL AND (method IS NULL OR method <> $2)";
        self.lock_account(account).await?;
        Ok(on_tx!(self, |c| sqlx::query(Q).bind(account.uuid()).bind(MACHINE).execute(c).await.map(drop))?)
    }

    /// In which tenant a session begins: the account's, or another one of its owner's while that one is disabled.
    pub(crate) async fn usable_tenant(&mut self, account: &Account) -> Result<Option<TenantId>, StoreError> {
        const Q: &str = "SELECT m.tenant_id FROM tenant_members m JOIN tenants t ON t.id = m.tenant_id \
                         WHERE m.account_id = $1 AND t.status = 'active' ORDER BY m.tenant_id LIMIT 1";
        let Some(own) = account.tenant else { return Ok(None) };
        if own.status == Status::Active {
            return Ok(Some(own.tenant));
        }
        let other: Option<Uuid> =
            on_tx!(self, |c| sqlx::query_scalar(Q).bind(account.id.uuid()).fetch_optional(c).await)?;
        Ok(Some(other.map_or(own.tenant, TenantId::new)))
    }

    /// Adds a member; whoever is one stays what they are.
    pub(crate) async fn insert_member(
        &mut self,
        tenant: TenantId,
        account: AccountId,
        role: TenantRole,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        const Q: &str = "INSERT INTO tenant_members (tenant_id, account_id, role, created_at) VALUES ($1, $2, $3, $4) \
                         ON CONFLICT (tenant_id, account_id) DO NOTHING";
        Ok(on_tx!(self, |c| sqlx::query(Q)
            .bind(tenant.uuid())
            .bind(account.uuid())
            .bind(role.word())
            .bind(stored(now))
            .execute(c)
            .await
            .map(drop))?)
    }

    /// Takes a member out. To which tenants somebody has belonged is kept.
    pub(crate) async fn leave(&mut self, tenant: TenantId, account: AccountId) -> Result<(), StoreError> {
        const Q: &str = "DELETE FROM tenant_members WHERE tenant_id = $1 AND account_id = $2";
        const LEFT: &str = "INSERT INTO left_tenants (tenant_id, account_id) VALUES ($1, $2) ON CONFLICT (account_id, tenant_id) DO NOTHING";
        for statement in [Q, LEFT] {
            on_tx!(&mut *self, |c| sqlx::query(statement)
                .bind(tenant.uuid())
                .bind(account.uuid())
                .execute(c)
                .await
                .map(drop))?;
        }
        Ok(())
    }

    /// What somebody is in a tenant, whose members nobody else changes until the commit: of two owners who leave at once one stays.
    async fn hold_members(&mut self, tenant: TenantId, account: AccountId) -> Result<TenantRole, StoreError> {
        self.lock_tenant(tenant).await?;
        self.role_in(tenant, account).await?.ok_or(StoreError::NotFound)
    }

    /// Whom somebody has asked who may ask less from now on: else they could have let themselves in again beforehand.
    async fn withdraw_invitations_by(&mut self, tenant: TenantId, account: AccountId) -> Result<(), StoreError> {
        const Q: &str = "DELETE FROM tenant_invitations WHERE tenant_id = $1 AND invited_by = $2";
        Ok(on_tx!(self, |c| sqlx::query(Q).bind(tenant.uuid()).bind(account.uuid()).execute(c).await.map(drop))?)
    }

    /// Takes an account that goes for good out of its tenants: those that are its alone go too, but not what they owe. Says for which it has
    /// answered. [`StoreError::Conflict`] if it has joined another one meanwhile, or become another thing in one, or
    /// whoever sends it away has lost the right to it.
    pub(crate) async fn leave_tenants(
        &mut self,
        account: AccountId,
        by: Option<&DoneBy>,
        now: DateTime<Utc>,
    ) -> Result<Vec<TenantId>, StoreError> {
        const HOME: &str = "UPDATE accounts SET tenant_id = NULL WHERE id = $1";
        const ALONE: &str = "DELETE FROM tenants WHERE id = $1";
        let mine = self.memberships(account).await?;
        for (tenant, is_owner) in &mine {
            if *is_owner {
                self.note_tier(*tenant, now).await?;
            } else {
                self.lock_tenant(*tenant).await?;
            }
        }
        self.hold_doer(by, Some(account)).await?;
        on_tx!(&mut *self, |c| sqlx::query(HOME).bind(account.uuid()).execute(c).await.map(drop))?;
        // Tenants are held before their members: one that it joined before it was held itself is not.
        if self.memberships(account).await? != mine {
            return Err(CHANGED_MEANWHILE);
        }
        for (tenant, _) in &mine {
            let others = self.others_in(*tenant, account).await?;
            self.unname(*tenant, account, others.is_empty()).await?;
            if others.is_empty() {
                self.leave_bill(*tenant, now).await?;
                on_tx!(&mut *self, |c| sqlx::query(ALONE).bind(tenant.uuid()).execute(c).await.map(drop))?;
            } else if others.iter().all(|role| role != TenantRole::Owner.word()) {
                return Err(StoreError::LastOwner);
            }
        }
        Ok(mine.into_iter().filter_map(|(tenant, is_owner)| is_owner.then_some(tenant)).collect())
    }

    /// To which tenants an account belongs, and whether it answers for them.
    pub(crate) async fn memberships(&mut self, account: AccountId) -> Result<Vec<(TenantId, bool)>, StoreError> {
        const Q: &str = "SELECT tenant_id, role FROM tenant_members WHERE account_id = $1 ORDER BY tenant_id";
        let rows: Vec<(Uuid, String)> = on_tx!(self, |c| sqlx::query_as(Q).bind(account.uuid()).fetch_all(c).await)?;
        Ok(rows.into_iter().map(|(id, role)| (TenantId::new(id), role == TenantRole::Owner.word())).collect())
    }

    /// What everybody else is in a tenant.
    pub(crate) async fn others_in(&mut self, tenant: TenantId, account: AccountId) -> Result<Vec<String>, StoreError> {
        const Q: &str = "SELECT role FROM tenant_members WHERE tenant_id = $1 AND account_id <> $2";
        Ok(on_tx!(self, |c| sqlx::query_scalar(Q).bind(tenant.uuid()).bind(account.uuid()).fetch_all(c).await)?)
    }

    /// Whoever names no organisation founds one that is named after their address (in `insert_account`): with the account the address goes. Of
    /// one that is theirs alone it may also be an address that was theirs before.
    async fn unname(&mut self, tenant: TenantId, account: AccountId, is_alone: bool) -> Result<(), StoreError> {
        const Q: &str = "UPDATE tenants SET name = $3 WHERE id = $1 AND (name = (SELECT email FROM accounts WHERE id = $2) \
                         OR ($4 AND name LIKE '%_@_%' AND name NOT LIKE '% %'))";
        Ok(on_tx!(self, |c| sqlx::query(Q)
            .bind(tenant.uuid())
            .bind(account.uuid())
            .bind(tenant.to_string())
            .bind(is_alone)
            .execute(c)
            .await
            .map(drop))?)
    }

    /// Owners are changed by owners, others by administrators too. Asked again while nobody else changes them.
    pub(crate) async fn demand_right(
        &mut self,
        tenant: TenantId,
        by: Option<AccountId>,
        over: TenantRole,
    ) -> Result<(), StoreError> {
        let Some(by) = by else { return Ok(()) };
        let least = if over == TenantRole::Owner { TenantRole::Owner } else { TenantRole::Admin };
        match self.role_in(tenant, by).await? {
            Some(role) if role >= least => Ok(()),
            _ => Err(StoreError::Conflict("the organisation's members have changed meanwhile; try again")),
        }
    }

    pub(crate) async fn role_in(
        &mut self,
        tenant: TenantId,
        account: AccountId,
    ) -> Result<Option<TenantRole>, StoreError> {
        let role: Option<String> = on_tx!(self, |c| sqlx::query_scalar(ROLE)
            .bind(tenant.uuid())
            .bind(account.uuid())
            .fetch_optional(c)
            .await)?;
        Ok(role.as_deref().and_then(TenantRole::read))
    }

    async fn demand_another_owner(&mut self, tenant: TenantId) -> Result<(), StoreError> {
        const Q: &str = "SELECT COUNT(*) FROM tenant_members WHERE tenant_id = $1 AND role = 'owner'";
        let owners: i64 = on_tx!(self, |c| sqlx::query_scalar(Q).bind(tenant.uuid()).fetch_one(c).await)?;
        if owners > 1 { Ok(()) } else { Err(StoreError::LastOwner) }
    }

    /// Ends the sessions and keys by which an account acts in a tenant, once all of them say in which ([`Tx::pin_logins`]).
    async fn end_grants_in(
        &mut self,
        tenant: TenantId,
        account: AccountId,
        now: DateTime<Utc>,
    ) -> Result<Vec<Subject>, StoreError> {
        const KEYS: &str = "UPDATE api_keys SET revoked_at = $3 WHERE account_id = $1 AND revoked_at IS NULL \
                            AND tenant_id = $2 RETURNING id";
        const SESSIONS: &str = "UPDATE sessions SET ended_at = $3 WHERE account_id = $1 AND ended_at IS NULL \
                                AND tenant_id = $2 RETURNING id";
        let mut heard = Vec::new();
        for (statement, of) in [
            (KEYS, (|id| Subject::Key(KeyId::new(id))) as fn(Uuid) -> Subject),
            (SESSIONS, |id| Subject::Session(SessionId::new(id))),
        ] {
            let ended: Vec<Uuid> = on_tx!(&mut *self, |c| sqlx::query_scalar(statement)
                .bind(account.uuid())
                .bind(tenant.uuid())
                .bind(stored(now))
                .fetch_all(c)
                .await)?;
            heard.extend(ended.into_iter().map(of));
        }
        Ok(heard)
    }
}

// === impl Member ===

impl Member {
    fn read(row: Row) -> Option<Self> {
        let role = TenantRole::read(&row.role)?;
        Some(Self { account: row.account_id.into(), email: row.email, name: row.name, role, since: row.created_at })
    }
}
