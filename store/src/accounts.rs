//! Accounts: people's records. Every change that the door must hear of goes to the feed with it.

use chrono::{DateTime, TimeDelta, Utc};
use identity::{AccountId, Email, PasswordHash, TenantId, TenantRole};
use sqlx_macros::FromRow;
use uuid::Uuid;

use crate::{
    Account, AccountKind, Cursor, DoneBy, Over, Page, Status, Store, StoreError, Subject,
    account::{AccountRow, account_columns, its_tenant},
    db::{Tx, on, on_tx, stored},
    outbox::counted_address,
};

/// An account to be made.
pub struct NewAccount<'a> {
    /// Its id.
    pub id: AccountId,
    /// Its address.
    pub email: &'a Email,
    /// The hash of its password.
    pub password_hash: PasswordHash,
    /// Its name.
    pub name: Option<String>,
    /// Its role.
    pub role: &'a str,
    /// Its tier.
    pub tier: &'a str,
    /// Is that its own, or only what it has while its tenant has none?
    pub has_own_tier: bool,
    /// Is its address confirmed?
    pub is_verified: bool,
    /// Who has it.
    pub kind: AccountKind,
    /// To which tenant it belongs.
    pub tenant: Belonging<'a>,
    /// The time.
    pub now: DateTime<Utc>,
}

/// To which tenant a new account belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belonging<'a> {
    /// It founds one of this name.
    Founds(&'a str),
    /// It founds one that has its own name.
    FoundsOwn,
    /// It founds one that has its own name and this tier, whatever the account's is.
    FoundsAt(&'a str),
    /// It joins one as a member.
    Joins(TenantId),
    /// To none.
    Nowhere,
}

/// What its owner changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProfileChange {
    /// A new name, or none.
    pub name: Option<Option<String>>,
    /// A new picture, or none.
    pub avatar_url: Option<Option<String>>,
}

/// What an administrator changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountChange {
    /// A new role.
    pub role: Option<String>,
    /// A new tier.
    pub tier: Option<NewTier>,
    /// A new status.
    pub status: Option<Status>,
    /// Only of an account that has this role still: whoever changes it was weighed against that.
    pub of_role: Option<String>,
    /// By whom, while they may still.
    pub by: Option<DoneBy>,
}

/// What an account's tier becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewTier {
    /// Its own, whatever its tenant's is.
    Own(String),
    /// Its tenant's; this one while its tenant has none.
    TenantsOr(String),
}

/// Who has seen an account before may look again.
pub(crate) const CHANGED_MEANWHILE: StoreError =
    StoreError::Conflict("the account was changed at the same moment; try again");

/// $2: the tenant in which it acts, if that is not its own.
const BY_ID: &str = concat!(
    "SELECT ",
    account_columns!(),
    " FROM accounts a",
    its_tenant!("COALESCE($2, a.tenant_id)"),
    "WHERE a.id = $1"
);

// === impl Store ===

impl Store {
    /// Makes an account; [`StoreError::EmailTaken`] if its address has one.
    pub async fn create_account(&self, new: NewAccount<'_>) -> Result<Account, StoreError> {
        self.create_account_by(new, None).await
    }

    /// The account of that id, in the tenant that is its own.
    pub async fn account(&self, id: AccountId) -> Result<Option<Account>, StoreError> {
        self.account_in(id, None).await
    }

    /// The account of that id, in a tenant in which it acts.
    pub async fn account_in(&self, id: AccountId, tenant: Option<TenantId>) -> Result<Option<Account>, StoreError> {
        let tenant = tenant.map(|tenant| tenant.uuid());
        let row: Option<AccountRow> = self
            .bounded(async {
                on!(self, |pool| sqlx::query_as(BY_ID).bind(id.uuid()).bind(tenant).fetch_optional(pool).await)
            })
            .await?;
        Ok(row.map(Account::from))
    }

    /// The account of an address, with the hash of its password.
    pub async fn login_by_email(&self, email: &Email) -> Result<Option<(Account, PasswordHash)>, StoreError> {
        const Q: &str = concat!(
            "SELECT ",
            account_columns!(),
            ", a.password_hash FROM accounts a",
            its_tenant!("a.tenant_id"),
            "WHERE a.email_normalised = $1"
        );
        let row: Option<Login> = self
            .bounded(async { on!(self, |pool| sqlx::query_as(Q).bind(email.normalised()).fetch_optional(pool).await) })
            .await?;
        Ok(row.map(|row| (row.account.into(), row.password_hash.into())))
    }

    /// Is there an active account with this role?
    pub async fn has_account_with_role(&self, role: &str) -> Result<bool, StoreError> {
        const Q: &str =
            "SELECT COUNT(*) FROM (SELECT 1 FROM accounts WHERE role = $1 AND status = 'active' LIMIT 1) AS found";
        let count: i64 =
            self.bounded(async { on!(self, |pool| sqlx::query_scalar(Q).bind(role).fetch_one(pool).await) }).await?;
        Ok(count > 0)
    }

    /// Changes what its owner may change. No login is weighed by it, nor disturbed: `updated_at` stays what it was.
    pub async fn update_profile(
        &self,
        id: AccountId,
        change: ProfileChange,
        now: DateTime<Utc>,
    ) -> Result<Account, StoreError> {
        const Q: &str = "UPDATE accounts SET name = CASE WHEN $2 THEN $3 ELSE name END, \
                         avatar_url = CASE WHEN $4 THEN $5 ELSE avatar_url END WHERE id = $1";
        self.change(id, now, async |tx| {
            let (name, picture) = (change.name.as_ref(), change.avatar_url.as_ref());
            on_tx!(tx, |c| sqlx::query(Q)
                .bind(id.uuid())
                .bind(name.is_some())
                .bind(name.cloned().flatten())
                .bind(picture.is_some())
                .bind(picture.cloned().flatten())
                .execute(c)
                .await
                .map(|done| (done.rows_affected(), Vec::new())))
            .map_err(StoreError::from)
        })
        .await
    }

    /// Changes what an administrator may change. Disabling an account ends its sessions: they do not come back with it. Another
    /// role ends those that have cookies: what a browser was given for one role does not serve for another (ASVS 7.2.4).
    /// [`StoreError::Conflict`] if nobody would administer the platform any more, the account has another role than was weighed, or whoever changes
    /// it has lost the right to it.
    pub async fn change_account(
        &self,
        id: AccountId,
        change: AccountChange,
        now: DateTime<Utc>,
    ) -> Result<Account, StoreError> {
        const Q: &str = "UPDATE accounts SET role = COALESCE($2, role), tier = COALESCE($3, tier), status = COALESCE($4, status), \
                         invited_at = CASE WHEN $4 IS NULL THEN invited_at ELSE NULL END, updated_at = $5, \
                         has_own_tier = COALESCE($6, has_own_tier) WHERE id = $1 AND role = COALESCE($7, role)";
        let tier = change.tier.as_ref().map(|tier| match tier {
            NewTier::Own(tier) => (tier, true),
            NewTier::TenantsOr(tier) => (tier, false),
        });
        self.change(id, now, async |tx| {
            if change.status == Some(Status::Disabled) || change.role.as_deref().is_some_and(|role| role != "admin") {
                tx.demand_another_administrator(id).await?;
            }
            let tenants = if tier.is_some() { tx.note_tiers_by(id, now).await? } else { Vec::new() };
            tx.hold_doer(change.by.as_ref(), Some(id)).await?;
            let changed = on_tx!(&mut *tx, |c| sqlx::query(Q)
                .bind(id.uuid())
                .bind(&change.role)
                .bind(tier.map(|(tier, _)| tier))
                .bind(change.status.map(Status::word))
                .bind(stored(now))
                .bind(tier.map(|(_, is_own)| is_own))
                .bind(&change.of_role)
                .execute(c)
                .await?
                .rows_affected());
            let mut ended = if change.status == Some(Status::Disabled) {
                tx.end_sessions_of(id, None, now).await?
            } else if change.role.is_some() {
                tx.end_cookies_of(id, now).await?
            } else {
                Vec::new()
            };
            if change.status.is_some() || change.role.is_some() {
                ended.extend(tx.end_impersonations(id, now).await?);
            }
            let ended = ended.into_iter().map(Subject::Session);
            Ok((changed, tenants.into_iter().map(Subject::Tenant).chain(ended).collect()))
        })
        .await
    }

    /// A page of accounts in the order of their making.
    pub async fn list_accounts(&self, after: Option<Cursor>, limit: u32) -> Result<Page<Account>, StoreError> {
        // The page first: joined to all accounts Postgres reads every member of every tenant before it.
        const Q: &str = concat!(
            "SELECT ",
            account_columns!(),
            " FROM (SELECT * FROM accounts WHERE id > $1 ORDER BY id LIMIT $2) a",
            its_tenant!("a.tenant_id"),
            "ORDER BY a.id"
        );
        let after = after.map_or(Uuid::nil(), Cursor::uuid);
        // One more than asked for tells whether there is a next page.
        let rows: Vec<AccountRow> = self
            .bounded(async {
                on!(self, |pool| sqlx::query_as(Q).bind(after).bind(i64::from(limit) + 1).fetch_all(pool).await)
            })
            .await?;
        Ok(Page::cut(rows.into_iter().map(Account::from).collect(), limit, |account| account.id.uuid()))
    }

    /// Deletes an account with everything that is its owner's, and mail to its address that is on its way or over; that there were letters
    /// within the hour is kept under a digest of the address, or whoever makes and deletes accounts could flood a mailbox.
    ///
    /// Organisations that are its alone go with it, and one that is named after its address is named by its id from then on; [`StoreError::LastOwner`] if others would be left in one for which nobody answers.
    /// [`StoreError::NotFound`] if there is none, and [`StoreError::Conflict`] if nobody would administer the platform any more, or it has
    /// another role than that against which whoever deletes it was weighed, or they have lost the right to it.
    pub async fn delete_account(
        &self,
        id: AccountId,
        over: Option<Over<'_>>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        const MAILS: &str = "DELETE FROM outbox WHERE address = (SELECT email_normalised FROM accounts WHERE id = $1) \
                             AND (is_wish OR created_at <= $2)";
        const ADDRESS: &str = "SELECT email_normalised FROM accounts WHERE id = $1";
        const COUNTED: &str = "UPDATE outbox SET ended_at = $2, outcome = 'deleted', sealed = NULL, address = $3, place = NULL WHERE address = $1";
        const Q: &str = "DELETE FROM accounts WHERE id = $1 AND role = COALESCE($2, role)";
        self.bounded(async {
            let mut tx = self.begin().await?;
            tx.demand_another_administrator(id).await?;
            let hour_ago = stored(now - TimeDelta::hours(1));
            on_tx!(&mut tx, |c| sqlx::query(MAILS).bind(id.uuid()).bind(hour_ago).execute(c).await.map(drop))?;
            let address: Option<String> =
                on_tx!(&mut tx, |c| sqlx::query_scalar(ADDRESS).bind(id.uuid()).fetch_optional(c).await)?;
            let address = address.ok_or(StoreError::NotFound)?;
            on_tx!(&mut tx, |c| sqlx::query(COUNTED)
                .bind(&address)
                .bind(stored(now))
                .bind(counted_address(&address))
                .execute(c)
                .await
                .map(drop))?;
            let left = tx.leave_tenants(id, over.and_then(|over| over.by), now).await?;
            // After the account, which leaving holds.
            let ended = tx.end_impersonations(id, now).await?;
            let deleted = on_tx!(&mut tx, |c| sqlx::query(Q)
                .bind(id.uuid())
                .bind(over.map(|over| over.of_role))
                .execute(c)
                .await
                .map(|done| done.rows_affected()))?;
            if deleted == 0 {
                return Err(tx.changed_meanwhile(id).await?);
            }
            let ended = ended.into_iter().map(Subject::Session);
            let heard: Vec<Subject> =
                ended.chain(left.into_iter().map(Subject::Tenant)).chain([Subject::Account(id)]).collect();
            self.commit_and_tell(tx, &heard, now).await
        })
        .await
    }

    /// Changes a record by an update that tells how many rows it changed and who else has changed by it.
    async fn change(
        &self,
        id: AccountId,
        now: DateTime<Utc>,
        update: impl AsyncFnOnce(&mut Tx) -> Result<(u64, Vec<Subject>), StoreError>,
    ) -> Result<Account, StoreError> {
        self.bounded(async {
            let mut tx = self.begin().await?;
            let (changed, others) = update(&mut tx).await?;
            if changed == 0 {
                return Err(tx.changed_meanwhile(id).await?);
            }
            let account = tx.account(id).await?.ok_or(StoreError::NotFound)?;
            let heard: Vec<Subject> = [Subject::Account(id)].into_iter().chain(others).collect();
            self.commit_and_tell(tx, &heard, now).await?;
            Ok::<_, StoreError>(account)
        })
        .await
    }
}

#[derive(FromRow)]
struct Login {
    #[sqlx(flatten)]
    account: AccountRow,
    password_hash: String,
}

// === impl Tx ===

impl Tx {
    pub(crate) async fn insert_account(&mut self, new: NewAccount<'_>) -> Result<(), StoreError> {
        const Q: &str = "INSERT INTO accounts (id, email, email_normalised, password_hash, name, role, tier, status, \
                         tenant_id, is_verified, created_at, updated_at, has_own_tier, kind) \
                         VALUES ($1, $2, $3, $4, $5, $6, $7, 'active', $8, $9, $10, $10, $11, $12)";
        let name = new.name.as_deref().unwrap_or_else(|| new.email.as_str());
        let tenant = match new.tenant {
            Belonging::Founds(name) => Some((self.insert_tenant(name, new.now).await?, TenantRole::Owner)),
            Belonging::FoundsOwn => Some((self.insert_tenant(name, new.now).await?, TenantRole::Owner)),
            Belonging::FoundsAt(tier) => {
                let tenant = self.insert_tenant(name, new.now).await?;
                self.begin_with_tier(tenant, tier).await?;
                Some((tenant, TenantRole::Owner))
            }
            Belonging::Joins(tenant) => Some((tenant, TenantRole::Member)),
            Belonging::Nowhere => None,
        };
        on_tx!(&mut *self, |c| sqlx::query(Q)
            .bind(new.id.uuid())
            .bind(new.email.as_str())
            .bind(new.email.normalised())
            .bind(new.password_hash.as_str())
            .bind(&new.name)
            .bind(new.role)
            .bind(new.tier)
            .bind(tenant.map(|(tenant, _)| tenant.uuid()))
            .bind(new.is_verified)
            .bind(stored(new.now))
            .bind(new.has_own_tier)
            .bind(new.kind.word())
            .execute(c)
            .await
            .map(drop))?;
        match tenant {
            Some((tenant, role)) => {
                self.insert_member(tenant, new.id, role, new.now).await?;
                if role == TenantRole::Owner { self.join_first_team(tenant, new.id, new.now).await } else { Ok(()) }
            }
            None => Ok(()),
        }
    }

    /// Why a statement does not find an account that was there: it is gone, or no more what it was when it was looked at.
    pub(crate) async fn changed_meanwhile(&mut self, id: AccountId) -> Result<StoreError, StoreError> {
        let there = self.account(id).await?;
        Ok(there.map_or(StoreError::NotFound, |_| CHANGED_MEANWHILE))
    }

    pub(crate) async fn account(&mut self, id: AccountId) -> Result<Option<Account>, StoreError> {
        self.account_in(id, None).await
    }

    pub(crate) async fn account_in(
        &mut self,
        id: AccountId,
        tenant: Option<TenantId>,
    ) -> Result<Option<Account>, StoreError> {
        let tenant = tenant.map(|tenant| tenant.uuid());
        let row: Option<AccountRow> =
            on_tx!(self, |c| sqlx::query_as(BY_ID).bind(id.uuid()).bind(tenant).fetch_optional(c).await)?;
        Ok(row.map(Account::from))
    }
}
