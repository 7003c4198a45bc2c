//! Integrations: keys at providers, sealed for one row, owner and service.
//!
//! The seal is of the row as it is read: a value that was altered, or a row that was given another id, owner or service, does not open. It is
//! shown as unreadable then, and never given to the door. Who may do what with one is the office's to say.

mod row;

use chrono::{DateTime, Utc};
use identity::{AccountId, IntegrationId, ProviderKey, SealKeys, TenantId};
use sqlx::error::ErrorKind;
use uuid::Uuid;

pub(crate) use self::row::integration_record;
use self::row::{ACTIVE, DISABLED, Row};
use crate::{
    Cursor, Page, Store, StoreError, Subject,
    db::{Tx, on, on_tx, stored},
};

/// Whose an integration is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IntegrationOwner {
    /// One account.
    Account(AccountId),
    /// Everybody of a tenant.
    Tenant(TenantId),
}

/// What may be done with a key now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntegrationStatus {
    /// The door uses it.
    Active,
    /// It is kept, and not used.
    Disabled,
    /// It was altered, moved, or sealed with a master key that is not here.
    Unreadable,
}

/// A key to be kept.
pub struct NewIntegration<'a> {
    /// Its id.
    pub id: IntegrationId,
    /// Whose it is.
    pub owner: IntegrationOwner,
    /// Whom it is for.
    pub service: &'a str,
    /// What its owner calls it.
    pub name: Option<&'a str>,
    /// The key.
    pub key: &'a ProviderKey,
    /// Integrations that the owner may have, this one among them.
    pub most: u32,
    /// The time.
    pub now: DateTime<Utc>,
}

/// What is to be another.
#[derive(Clone, Default)]
pub struct IntegrationChange {
    /// `Some(None)`: no name.
    pub name: Option<Option<String>>,
    /// The key.
    pub key: Option<ProviderKey>,
    /// Whether the door uses it.
    pub is_active: Option<bool>,
}

/// An integration as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntegrationRecord {
    /// Its id.
    pub id: IntegrationId,
    /// Whose it is.
    pub owner: IntegrationOwner,
    /// Whom it is for.
    pub service: String,
    /// What its owner calls it.
    pub name: Option<String>,
    /// How the key ends.
    pub last_four: String,
    /// What may be done with it.
    pub status: IntegrationStatus,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

/// What became of a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MadeIntegration {
    /// It is kept.
    Made(IntegrationRecord),
    /// The owner has one of this service.
    Taken,
    /// The owner has as many as it may.
    TooMany,
}

/// What the door is to show a provider.
pub enum FoundIntegration {
    /// This.
    Key(ProviderKey),
    /// There is one that does not open.
    Unreadable,
    /// There is none that may be used.
    Missing,
}

/// Integrations of these owners: a row's owner is one of two columns; the other one is empty.
macro_rules! of_owners {
    ($more:literal) => {
        concat!(
            "SELECT id, account_id, tenant_id, service, name, sealed, last_four, status, created_at, updated_at \
             FROM integrations WHERE (account_id = $1 OR tenant_id = $2) AND ",
            $more
        )
    };
}

// === impl Store ===

impl Store {
    /// The same store, which sees integrations of accounts and of no other tenant than this one.
    fn seen_by(&self, tenant: Option<TenantId>) -> Self {
        tenant.map_or_else(|| self.clone(), |tenant| self.of_tenant(tenant))
    }

    fn of_owner(&self, owner: IntegrationOwner) -> Self {
        self.seen_by(match owner {
            IntegrationOwner::Tenant(tenant) => Some(tenant),
            IntegrationOwner::Account(_) => None,
        })
    }

    /// Keeps a key.
    pub async fn create_integration(
        &self,
        seal: &SealKeys,
        new: NewIntegration<'_>,
    ) -> Result<MadeIntegration, StoreError> {
        let record = integration_record(new.id.uuid(), new.owner, new.service);
        let sealed = seal.seal(new.key.expose().as_bytes(), &record, &mut rand::rng());
        let this = self.of_owner(new.owner);
        this.bounded(async {
            let mut tx = this.begin().await?;
            if !tx.has_room(new.owner, new.most).await? {
                return Ok(MadeIntegration::TooMany);
            }
            if !tx.insert_integration(&new, &sealed).await? {
                return Ok(MadeIntegration::Taken);
            }
            this.commit_and_tell(tx, &[Subject::Integrations(new.owner.uuid())], new.now).await?;
            Ok::<_, StoreError>(MadeIntegration::Made(new.record()))
        })
        .await
    }

    /// The integrations of these owners, in the order in which they were made.
    pub async fn list_integrations(
        &self,
        seal: &SealKeys,
        (account, tenant): (AccountId, Option<TenantId>),
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Page<IntegrationRecord>, StoreError> {
        const Q: &str = of_owners!("id > $3 ORDER BY id LIMIT $4");
        let after = after.map_or(Uuid::nil(), Cursor::uuid);
        let this = self.seen_by(tenant);
        let rows: Vec<Row> = this
            .bounded(async {
                on!(this, |pool| sqlx::query_as(Q)
                    .bind(account.uuid())
                    .bind(tenant.map(|tenant| tenant.uuid()))
                    .bind(after)
                    .bind(i64::from(limit) + 1)
                    .fetch_all(pool)
                    .await)
            })
            .await?;
        let page = Page::cut(rows, limit, |row| row.id);
        let items = page.items.into_iter().map(|row| row.seen(seal)).collect::<Result<_, _>>()?;
        Ok(Page { items, next: page.next })
    }

    /// An integration of one of these owners.
    pub async fn integration(
        &self,
        seal: &SealKeys,
        (account, tenant): (AccountId, Option<TenantId>),
        id: IntegrationId,
    ) -> Result<Option<IntegrationRecord>, StoreError> {
        const Q: &str = of_owners!("id = $3");
        let this = self.seen_by(tenant);
        let row: Option<Row> = this
            .bounded(async {
                on!(this, |pool| sqlx::query_as(Q)
                    .bind(account.uuid())
                    .bind(tenant.map(|tenant| tenant.uuid()))
                    .bind(id.uuid())
                    .fetch_optional(pool)
                    .await)
            })
            .await?;
        row.map(|row| row.seen(seal)).transpose()
    }

    /// Changes one of an owner's; [`StoreError::NotFound`] if it is none of theirs.
    pub async fn change_integration(
        &self,
        seal: &SealKeys,
        owner: IntegrationOwner,
        id: IntegrationId,
        change: &IntegrationChange,
        now: DateTime<Utc>,
    ) -> Result<IntegrationRecord, StoreError> {
        let this = self.of_owner(owner);
        this.bounded(async {
            let mut tx = this.begin().await?;
            let mut row = tx.hold_integration(owner, id).await?;
            if let Some(key) = &change.key {
                let record = row.record()?;
                row.sealed = seal.seal(key.expose().as_bytes(), &record, &mut rand::rng());
                key.last_four().clone_into(&mut row.last_four);
            }
            if let Some(name) = &change.name {
                row.name.clone_from(name);
            }
            if let Some(is_active) = change.is_active {
                if is_active { ACTIVE } else { DISABLED }.clone_into(&mut row.status);
            }
            row.updated_at = stored(now);
            tx.update_integration(&row).await?;
            this.commit_and_tell(tx, &[Subject::Integrations(owner.uuid())], now).await?;
            row.seen(seal)
        })
        .await
    }

    /// Deletes one of an owner's; [`StoreError::NotFound`] if it is none of theirs.
    pub async fn delete_integration(
        &self,
        owner: IntegrationOwner,
        id: IntegrationId,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        const Q: &str = "DELETE FROM integrations WHERE (account_id = $1 OR tenant_id = $2) AND id = $3";
        let this = self.of_owner(owner);
        this.bounded(async {
            let mut tx = this.begin().await?;
            let (account, tenant) = owner.columns();
            let gone = on_tx!(&mut tx, |c| sqlx::query(Q)
                .bind(account)
                .bind(tenant)
                .bind(id.uuid())
                .execute(c)
                .await
                .map(|done| done.rows_affected()))?;
            if gone == 0 {
                return Err(StoreError::NotFound);
            }
            this.commit_and_tell(tx, &[Subject::Integrations(owner.uuid())], now).await
        })
        .await
    }

    /// What the door shows a provider for a caller: the account's own key, else its tenant's. One that does not open is nobody's
    /// leave to use the other.
    pub async fn provider_key(
        &self,
        seal: &SealKeys,
        (account, tenant): (AccountId, Option<TenantId>),
        service: &str,
    ) -> Result<FoundIntegration, StoreError> {
        const Q: &str = of_owners!(
            "service = $3 AND status = 'active' ORDER BY CASE WHEN account_id IS NULL THEN 1 ELSE 0 END LIMIT 1"
        );
        let this = self.seen_by(tenant);
        let row: Option<Row> = this
            .bounded(async {
                on!(this, |pool| sqlx::query_as(Q)
                    .bind(account.uuid())
                    .bind(tenant.map(|tenant| tenant.uuid()))
                    .bind(service)
                    .fetch_optional(pool)
                    .await)
            })
            .await?;
        let Some(row) = row else { return Ok(FoundIntegration::Missing) };
        Ok(row.opened(seal).map_or(FoundIntegration::Unreadable, FoundIntegration::Key))
    }
}

// === impl Tx ===

impl Tx {
    /// Counted under a lock of the owner: of two at once the second one sees the first one's.
    async fn has_room(&mut self, owner: IntegrationOwner, most: u32) -> Result<bool, StoreError> {
        const COUNT: &str = "SELECT COUNT(*) FROM integrations WHERE account_id = $1 OR tenant_id = $2";
        match owner {
            IntegrationOwner::Account(account) => self.lock_account(account).await?,
            IntegrationOwner::Tenant(tenant) => self.lock_tenant(tenant).await?,
        }
        let (account, tenant) = owner.columns();
        let has: i64 = on_tx!(self, |c| sqlx::query_scalar(COUNT).bind(account).bind(tenant).fetch_one(c).await)?;
        Ok(has < i64::from(most))
    }

    /// `false` if the owner has one of this service.
    async fn insert_integration(&mut self, new: &NewIntegration<'_>, sealed: &[u8]) -> Result<bool, StoreError> {
        const Q: &str = "INSERT INTO integrations (id, account_id, tenant_id, service, name, sealed, last_four, status, created_at, \
                         updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, 'active', $8, $8)";
        let (account, tenant) = new.owner.columns();
        let inserted = on_tx!(self, |c| sqlx::query(Q)
            .bind(new.id.uuid())
            .bind(account)
            .bind(tenant)
            .bind(new.service)
            .bind(new.name)
            .bind(sealed)
            .bind(new.key.last_four())
            .bind(stored(new.now))
            .execute(c)
            .await
            .map(drop));
        match inserted {
            Err(sqlx::Error::Database(error)) if error.kind() == ErrorKind::UniqueViolation => Ok(false),
            inserted => Ok(inserted.map(|()| true)?),
        }
    }

    /// One of an owner's, for nobody else to change until the commit.
    async fn hold_integration(&mut self, owner: IntegrationOwner, id: IntegrationId) -> Result<Row, StoreError> {
        const Q: &str = of_owners!("id = $3");
        let (account, tenant) = owner.columns();
        if let Self::Pg(tx) = self {
            let lock = sqlx::query("SELECT 1 FROM integrations WHERE id = $1 FOR UPDATE");
            lock.bind(id.uuid()).execute(tx.within()).await?;
        }
        Ok(on_tx!(self, |c| sqlx::query_as(Q).bind(account).bind(tenant).bind(id.uuid()).fetch_one(c).await)?)
    }

    async fn update_integration(&mut self, row: &Row) -> Result<(), StoreError> {
        const Q: &str = "UPDATE integrations SET name = $2, sealed = $3, last_four = $4, status = $5, updated_at = $6 WHERE id = $1";
        Ok(on_tx!(self, |c| sqlx::query(Q)
            .bind(row.id)
            .bind(&row.name)
            .bind(&row.sealed)
            .bind(&row.last_four)
            .bind(&row.status)
            .bind(row.updated_at)
            .execute(c)
            .await
            .map(drop))?)
    }
}
