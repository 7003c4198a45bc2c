//! Who is asked to belong to a tenant. An invitation is for an address: whoever has an account whose address is confirmed to be that
//! one may accept it, and there is no secret that could be passed on.

use chrono::{DateTime, Utc};
use identity::{AccountId, Email, TenantId, TenantRole};
use sqlx_macros::FromRow;
use uuid::Uuid;

use crate::{
    Cursor, Page, Status, Store, StoreError, Subject,
    db::{Tx, on, on_tx, stored},
};

/// Somebody to be asked.
pub struct NewInvitation<'a> {
    /// To belong to which tenant.
    pub tenant: TenantId,
    /// Whom.
    pub email: &'a Email,
    /// As what.
    pub role: TenantRole,
    /// Who asks.
    pub by: AccountId,
    /// Invitations that a tenant may have out at once.
    pub most: u32,
    /// The time.
    pub now: DateTime<Utc>,
    /// Until when it can be accepted.
    pub expires_at: DateTime<Utc>,
}

/// An invitation that can be accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// Its id.
    pub id: Uuid,
    /// To belong to which tenant.
    pub tenant: TenantId,
    /// What that is called.
    pub tenant_name: String,
    /// Whom, by the normalised address.
    pub address: String,
    /// As what.
    pub role: TenantRole,
    /// Who asks, if that account is still there.
    pub by: Option<AccountId>,
    /// And its address.
    pub by_address: Option<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Until when it can be accepted.
    pub expires_at: DateTime<Utc>,
}

#[derive(FromRow)]
struct Row {
    id: Uuid,
    tenant_id: Uuid,
    name: String,
    address: String,
    role: String,
    invited_by: Option<Uuid>,
    by_address: Option<String>,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
}

/// Invitations with what their tenants are called, and by whom they are.
macro_rules! invitations_where {
    ($condition:literal) => {
        concat!(
            "SELECT i.id, i.tenant_id, t.name, i.address, i.role, i.invited_by, a.email AS by_address, i.created_at, i.expires_at \
             FROM tenant_invitations i JOIN tenants t ON t.id = i.tenant_id LEFT JOIN accounts a ON a.id = i.invited_by WHERE ",
            $condition
        )
    };
}

// === impl Store ===

impl Store {
    /// Asks somebody; whoever is asked already is asked anew, perhaps for another role. [`StoreError::Conflict`] if it is a member's
    /// address, or too many are out, and [`StoreError::OwnersOnly`] if an owner has asked them to be one too.
    pub async fn invite_member(&self, new: NewInvitation<'_>) -> Result<Invitation, StoreError> {
        const MEMBERS: &str = "SELECT COUNT(*) FROM tenant_members m JOIN accounts a ON a.id = m.account_id \
                               WHERE m.tenant_id = $1 AND a.email_normalised = $2";
        const ASKED: &str =
            "SELECT role FROM tenant_invitations WHERE tenant_id = $1 AND address = $2 AND expires_at > $3";
        const OUT: &str =
            "SELECT COUNT(*) FROM tenant_invitations WHERE tenant_id = $1 AND address <> $2 AND expires_at > $3";
        const Q: &str = "INSERT INTO tenant_invitations (id, tenant_id, address, role, invited_by, created_at, expires_at) \
                         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (tenant_id, address) DO UPDATE SET \
                         id = excluded.id, role = excluded.role, invited_by = excluded.invited_by, \
                         created_at = excluded.created_at, expires_at = excluded.expires_at";
        let (tenant, address, id) = (new.tenant.uuid(), new.email.normalised(), Uuid::now_v7());
        let scoped = self.of_tenant(new.tenant);
        self.bounded(async {
            let mut tx = scoped.begin().await?;
            // Of two who ask at once the second one sees whom the first one has asked.
            tx.lock_tenant(new.tenant).await?;
            let members: i64 =
                on_tx!(&mut tx, |c| sqlx::query_scalar(MEMBERS).bind(tenant).bind(address).fetch_one(c).await)?;
            if members > 0 {
                return Err(StoreError::Conflict("this address is a member's"));
            }
            let asked: Option<String> = on_tx!(&mut tx, |c| sqlx::query_scalar(ASKED)
                .bind(tenant)
                .bind(address)
                .bind(stored(new.now))
                .fetch_optional(c)
                .await)?;
            tx.demand_right_over(new.tenant, asked.as_deref(), new.by).await?;
            let out: i64 = on_tx!(&mut tx, |c| sqlx::query_scalar(OUT)
                .bind(tenant)
                .bind(address)
                .bind(stored(new.now))
                .fetch_one(c)
                .await)?;
            if out >= i64::from(new.most) {
                return Err(StoreError::Conflict("the tenant has as many invitations out as it may"));
            }
            on_tx!(&mut tx, |c| sqlx::query(Q)
                .bind(id)
                .bind(tenant)
                .bind(address)
                .bind(new.role.word())
                .bind(new.by.uuid())
                .bind(stored(new.now))
                .bind(stored(new.expires_at))
                .execute(c)
                .await
                .map(drop))?;
            let made = tx.invitation(id).await?.ok_or(StoreError::NotFound)?;
            self.commit(tx).await?;
            Ok(made)
        })
        .await
    }

    /// A page of a tenant's invitations that can be accepted, the newest first.
    pub async fn invitations_of(
        &self,
        tenant: TenantId,
        now: DateTime<Utc>,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Page<Invitation>, StoreError> {
        const Q: &str = concat!(
            invitations_where!("i.tenant_id = $1 AND i.expires_at > $2 AND i.id < $3"),
            " ORDER BY i.id DESC LIMIT $4"
        );
        self.of_tenant(tenant).page_of_invitations(Q, tenant.uuid(), now, after, limit).await
    }

    /// A page of the invitations that an account can accept, the newest first: those for its address, which has to be confirmed.
    pub async fn invitations_for(
        &self,
        account: AccountId,
        now: DateTime<Utc>,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Page<Invitation>, StoreError> {
        const Q: &str = concat!(
            invitations_where!(
                "i.address = (SELECT email_normalised FROM accounts WHERE id = $1 AND is_verified) AND i.expires_at > $2 \
                 AND i.id < $3"
            ),
            " ORDER BY i.id DESC LIMIT $4"
        );
        self.page_of_invitations(Q, account.uuid(), now, after, limit).await
    }

    async fn page_of_invitations(
        &self,
        statement: &'static str,
        whose: Uuid,
        now: DateTime<Utc>,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Page<Invitation>, StoreError> {
        let rows: Vec<Row> = self
            .bounded(async {
                on!(self, |pool| sqlx::query_as(statement)
                    .bind(whose)
                    .bind(stored(now))
                    .bind(after.map_or(Uuid::max(), Cursor::uuid))
                    .bind(i64::from(limit) + 1)
                    .fetch_all(pool)
                    .await)
            })
            .await?;
        Ok(Page::cut(rows, limit, |row| row.id).filter_map(Invitation::read))
    }

    /// Takes an invitation back; [`StoreError::NotFound`] if the tenant has none of that id, and [`StoreError::OwnersOnly`] if it is to be
    /// an owner and `by` is none.
    pub async fn withdraw_invitation(&self, tenant: TenantId, id: Uuid, by: AccountId) -> Result<(), StoreError> {
        const ASKED: &str = "SELECT role FROM tenant_invitations WHERE tenant_id = $1 AND id = $2";
        const Q: &str = "DELETE FROM tenant_invitations WHERE tenant_id = $1 AND id = $2";
        let scoped = self.of_tenant(tenant);
        self.bounded(async {
            let mut tx = scoped.begin().await?;
            tx.lock_tenant(tenant).await?;
            let asked: Option<String> =
                on_tx!(&mut tx, |c| sqlx::query_scalar(ASKED).bind(tenant.uuid()).bind(id).fetch_optional(c).await)?;
            tx.demand_right_over(tenant, asked.as_deref(), by).await?;
            let gone = on_tx!(&mut tx, |c| sqlx::query(Q)
                .bind(tenant.uuid())
                .bind(id)
                .execute(c)
                .await
                .map(|done| done.rows_affected()))?;
            if gone == 0 {
                return Err(StoreError::NotFound);
            }
            self.commit(tx).await
        })
        .await
    }

    /// Accepts an invitation, or declines it; it is gone either way. [`StoreError::NotFound`] if there is none of that id that the
    /// account can accept.
    pub async fn answer_invitation(
        &self,
        account: AccountId,
        id: Uuid,
        accepts: bool,
        now: DateTime<Utc>,
    ) -> Result<Invitation, StoreError> {
        const Q: &str = "DELETE FROM tenant_invitations WHERE id = $1 AND expires_at > $3 \
                         AND address = (SELECT email_normalised FROM accounts WHERE id = $2 AND is_verified)";
        const HOME: &str = "UPDATE accounts SET tenant_id = COALESCE(tenant_id, $2) WHERE id = $1";
        self.bounded(async {
            let mut tx = self.begin().await?;
            let invitation = tx.invitation(id).await?.ok_or(StoreError::NotFound)?;
            if accepts && !tx.may_be_accepted(&invitation).await? {
                return Err(StoreError::NotFound);
            }
            // Of two answers at once one finds it gone.
            let found = on_tx!(&mut tx, |c| sqlx::query(Q)
                .bind(id)
                .bind(account.uuid())
                .bind(stored(now))
                .execute(c)
                .await
                .map(|done| done.rows_affected()))?;
            if found == 0 {
                return Err(StoreError::NotFound);
            }
            let mut heard = Vec::new();
            if accepts {
                let tenant = invitation.tenant;
                tx.pin_logins(account).await?;
                if invitation.role == TenantRole::Owner {
                    tx.note_tier(tenant, now).await?;
                    heard.push(Subject::Tenant(tenant));
                }
                tx.insert_member(tenant, account, invitation.role, now).await?;
                on_tx!(&mut tx, |c| sqlx::query(HOME)
                    .bind(account.uuid())
                    .bind(tenant.uuid())
                    .execute(c)
                    .await
                    .map(drop))?;
                heard.push(Subject::Account(account));
            }
            self.commit_and_tell(tx, &heard, now).await?;
            Ok(invitation)
        })
        .await
    }
}

// === impl Tx ===

impl Tx {
    /// Can its tenant be acted in, and may whoever asked still ask so much? They may have been sent away meanwhile, or disabled.
    async fn may_be_accepted(&mut self, invitation: &Invitation) -> Result<bool, StoreError> {
        self.lock_tenant(invitation.tenant).await?;
        let tenant = self.tenant(invitation.tenant).await?;
        let (Some(by), true) = (invitation.by, tenant.is_some_and(|tenant| tenant.status == Status::Active)) else {
            return Ok(false);
        };
        self.may_ask(invitation.tenant, invitation.role, by).await
    }

    /// May an account ask somebody to belong to a tenant as this?
    async fn may_ask(&mut self, tenant: TenantId, role: TenantRole, by: AccountId) -> Result<bool, StoreError> {
        const ACTIVE: &str = "SELECT role FROM accounts WHERE id = $1 AND status = 'active'";
        let own: Option<String> =
            on_tx!(&mut *self, |c| sqlx::query_scalar(ACTIVE).bind(by.uuid()).fetch_optional(c).await)?;
        let Some(own) = own else { return Ok(false) };
        let least = if role == TenantRole::Owner { TenantRole::Owner } else { TenantRole::Admin };
        Ok(own == "admin" || self.role_in(tenant, by).await?.is_some_and(|role| role >= least))
    }

    /// Whom an owner has asked to be one too is theirs: others neither take that back nor ask the same for less, which would be as good.
    async fn demand_right_over(
        &mut self,
        tenant: TenantId,
        asked: Option<&str>,
        by: AccountId,
    ) -> Result<(), StoreError> {
        let is_owners = asked == Some(TenantRole::Owner.word());
        if is_owners && !self.may_ask(tenant, TenantRole::Owner, by).await? {
            return Err(StoreError::OwnersOnly);
        }
        Ok(())
    }

    async fn invitation(&mut self, id: Uuid) -> Result<Option<Invitation>, StoreError> {
        const Q: &str = invitations_where!("i.id = $1");
        let row: Option<Row> = on_tx!(self, |c| sqlx::query_as(Q).bind(id).fetch_optional(c).await)?;
        Ok(row.and_then(Invitation::read))
    }
}

// === impl Invitation ===

impl Invitation {
    fn read(row: Row) -> Option<Self> {
        Some(Self {
            id: row.id,
            tenant: row.tenant_id.into(),
            tenant_name: row.name,
            address: row.address,
            role: TenantRole::read(&row.role)?,
            by: row.invited_by.map(AccountId::new),
            by_address: row.by_address,
            created_at: row.created_at,
            expires_at: row.expires_at,
        })
    }
}
