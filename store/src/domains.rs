//! Business domains of a tenant, which may lie within one another, and who is assigned to them. A domain never lies within itself, however
//! many move at once: whoever moves one holds the tenant.

use chrono::{DateTime, Utc};
use identity::{AccountId, TenantId, folded};
use sqlx_macros::FromRow;
use uuid::Uuid;

use crate::{
    Cursor, Page, Store, StoreError, Subject,
    db::{Tx, on, on_tx, stored},
    groups::{Held, MOST},
};

/// A domain.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Domain {
    /// Its id.
    pub id: Uuid,
    /// What programs call it.
    pub key: String,
    /// What people call it.
    pub name: String,
    /// In which it lies.
    pub parent_domain_id: Option<Uuid>,
    /// Is it in use?
    pub is_active: bool,
}

/// A domain to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDomain {
    /// What programs call it.
    pub key: String,
    /// What people call it.
    pub name: String,
    /// In which it lies.
    pub parent: Option<Uuid>,
    /// Is it in use?
    pub is_active: bool,
}

/// What of a domain is changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DomainChange {
    /// A new key.
    pub key: Option<String>,
    /// A new name.
    pub name: Option<String>,
    /// In which it lies now, if in any.
    pub parent: Option<Option<Uuid>>,
    /// Is it in use?
    pub is_active: Option<bool>,
}

/// Somebody who is assigned to a domain.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct DomainMember {
    /// Whose account.
    pub account_id: Uuid,
    /// The address as its owner writes it.
    pub email: String,
    /// The name.
    pub name: Option<String>,
    /// Since when.
    pub created_at: DateTime<Utc>,
}

const NO_PARENT: StoreError = StoreError::Conflict("there is no domain of the id that `parent_domain_id` says");
const LOOP: StoreError = StoreError::Conflict("a domain cannot lie within itself");
const KEY_TAKEN: StoreError = StoreError::Conflict("there is a domain of this key already");

// === impl Store ===

impl Store {
    /// A page of a tenant's domains in the order of their making.
    pub async fn list_domains(
        &self,
        tenant: TenantId,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Page<Domain>, StoreError> {
        const Q: &str = "SELECT id, key, name, parent_domain_id, is_active FROM domains \
                         WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3";
        let after = after.map_or(Uuid::nil(), Cursor::uuid);
        let scoped = self.of_tenant(tenant);
        let domains: Vec<Domain> = self
            .bounded(async {
                on!(scoped, |pool| sqlx::query_as(Q)
                    .bind(tenant.uuid())
                    .bind(after)
                    .bind(i64::from(limit) + 1)
                    .fetch_all(pool)
                    .await)
            })
            .await?;
        Ok(Page::cut(domains, limit, |domain| domain.id))
    }

    /// A page of the domains to which an account is assigned in a tenant, in the order of their making.
    pub async fn domains_of(
        &self,
        tenant: TenantId,
        account: AccountId,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Page<Domain>, StoreError> {
        const Q: &str = "SELECT d.id, d.key, d.name, d.parent_domain_id, d.is_active FROM account_domains m \
                         JOIN domains d ON d.tenant_id = m.tenant_id AND d.id = m.domain_id \
                         WHERE m.tenant_id = $1 AND m.account_id = $2 AND m.domain_id > $3 ORDER BY m.domain_id LIMIT $4";
        let after = after.map_or(Uuid::nil(), Cursor::uuid);
        let scoped = self.of_tenant(tenant);
        let domains: Vec<Domain> = self
            .bounded(async {
                on!(scoped, |pool| sqlx::query_as(Q)
                    .bind(tenant.uuid())
                    .bind(account.uuid())
                    .bind(after)
                    .bind(i64::from(limit) + 1)
                    .fetch_all(pool)
                    .await)
            })
            .await?;
        Ok(Page::cut(domains, limit, |domain| domain.id))
    }

    /// A domain; `None`: the tenant has none of that id.
    pub async fn domain(&self, tenant: TenantId, id: Uuid) -> Result<Option<Domain>, StoreError> {
        const Q: &str =
            "SELECT id, key, name, parent_domain_id, is_active FROM domains WHERE tenant_id = $1 AND id = $2";
        let scoped = self.of_tenant(tenant);
        self.bounded(async {
            on!(scoped, |pool| sqlx::query_as(Q).bind(tenant.uuid()).bind(id).fetch_optional(pool).await)
        })
        .await
    }

    /// Makes a domain; [`StoreError::Conflict`] if the tenant has one of that key, however it is written, or no such parent.
    pub async fn create_domain(
        &self,
        tenant: TenantId,
        new: NewDomain,
        now: DateTime<Utc>,
    ) -> Result<Domain, StoreError> {
        const Q: &str = "INSERT INTO domains (tenant_id, id, key, key_folded, name, parent_domain_id, is_active, created_at) \
                         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (tenant_id, key_folded) DO NOTHING";
        let NewDomain { key, name, parent, is_active } = new;
        let (id, scoped) = (Uuid::now_v7(), self.of_tenant(tenant));
        self.bounded(async {
            let mut tx = scoped.begin().await?;
            let made = on_tx!(&mut tx, |c| sqlx::query(Q)
                .bind(tenant.uuid())
                .bind(id)
                .bind(&key)
                .bind(folded(&key))
                .bind(&name)
                .bind(parent)
                .bind(is_active)
                .bind(stored(now))
                .execute(c)
                .await
                .map(|done| done.rows_affected()));
            match made.map_err(StoreError::from) {
                Ok(0) => return Err(KEY_TAKEN),
                Err(StoreError::NotFound) => return Err(NO_PARENT),
                made => drop(made?),
            }
            self.commit(tx).await
        })
        .await?;
        Ok(Domain { id, key, name, parent_domain_id: parent, is_active })
    }

    /// Changes a domain. [`StoreError::NotFound`] if the tenant has none of that id; [`StoreError::Conflict`] if another one has the key, or
    /// if it would lie within itself or in none of the tenant's.
    pub async fn change_domain(
        &self,
        tenant: TenantId,
        id: Uuid,
        change: DomainChange,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        const OTHER: &str = "SELECT COUNT(*) FROM domains WHERE tenant_id = $1 AND key_folded = $2 AND id <> $3";
        const Q: &str = "UPDATE domains SET key = COALESCE($3, key), key_folded = COALESCE($4, key_folded), \
                         name = COALESCE($5, name), parent_domain_id = CASE WHEN $6 THEN $7 ELSE parent_domain_id END, \
                         is_active = COALESCE($8, is_active) WHERE tenant_id = $1 AND id = $2";
        let key_folded = change.key.as_deref().map(folded);
        let scoped = self.of_tenant(tenant);
        self.bounded(async {
            let mut tx = scoped.begin().await?;
            tx.lock_tenant(tenant).await?;
            if let Some(key) = &key_folded {
                let others: i64 = on_tx!(&mut tx, |c| sqlx::query_scalar(OTHER)
                    .bind(tenant.uuid())
                    .bind(key)
                    .bind(id)
                    .fetch_one(c)
                    .await)?;
                if others > 0 {
                    return Err(KEY_TAKEN);
                }
            }
            if let Some(Some(parent)) = change.parent {
                tx.demand_outside(tenant, id, parent).await?;
            }
            let changed = on_tx!(&mut tx, |c| sqlx::query(Q)
                .bind(tenant.uuid())
                .bind(id)
                .bind(change.key)
                .bind(key_folded)
                .bind(change.name)
                .bind(change.parent.is_some())
                .bind(change.parent.flatten())
                .bind(change.is_active)
                .execute(c)
                .await
                .map(|done| done.rows_affected()))?;
            if changed == 0 {
                return Err(StoreError::NotFound);
            }
            // Upstreams are told its key.
            self.commit_and_tell(tx, &[Subject::Groups(tenant)], now).await
        })
        .await
    }

    /// Deletes a domain. [`StoreError::Conflict`] if others lie within it or somebody is assigned to it, unless `cascade` deletes them with it
    /// and ends the assignments.
    pub async fn delete_domain(
        &self,
        tenant: TenantId,
        id: Uuid,
        cascade: bool,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        const BELOW: Held = Held {
            postgres: "WITH RECURSIVE below (id) AS (SELECT id FROM domains WHERE tenant_id = $1 AND id = $2 UNION \
                       SELECT d.id FROM domains d JOIN below b ON d.parent_domain_id = b.id WHERE d.tenant_id = $1) \
                       SELECT id FROM domains WHERE tenant_id = $1 AND id IN (SELECT id FROM below) FOR UPDATE",
            sqlite: "WITH RECURSIVE below (id) AS (SELECT id FROM domains WHERE tenant_id = $1 AND id = $2 UNION \
                     SELECT d.id FROM domains d JOIN below b ON d.parent_domain_id = b.id WHERE d.tenant_id = $1) \
                     SELECT id FROM below",
        };
        const MEMBERS: &str = "SELECT COUNT(*) FROM (SELECT 1 FROM account_domains WHERE tenant_id = $1 AND domain_id = $2 \
                               LIMIT 1) AS found";
        // One statement, since each row may hang on another.
        const Q: &str = "WITH RECURSIVE below (id) AS (SELECT id FROM domains WHERE tenant_id = $1 AND id = $2 UNION \
                         SELECT d.id FROM domains d JOIN below b ON d.parent_domain_id = b.id WHERE d.tenant_id = $1) \
                         DELETE FROM domains WHERE tenant_id = $1 AND id IN (SELECT id FROM below)";
        let scoped = self.of_tenant(tenant);
        self.bounded(async {
            let mut tx = scoped.begin().await?;
            tx.lock_tenant(tenant).await?;
            // Whoever is assigned meanwhile waits, and then finds no domain.
            let held = tx.hold(&BELOW, tenant, id).await?;
            let members: i64 =
                on_tx!(&mut tx, |c| sqlx::query_scalar(MEMBERS).bind(tenant.uuid()).bind(id).fetch_one(c).await)?;
            match held.len() {
                0 => return Err(StoreError::NotFound),
                2.. if !cascade => {
                    return Err(StoreError::Conflict("domains lie within it; delete them first, or say ?cascade=true"));
                }
                _ if members > 0 && !cascade => {
                    return Err(StoreError::Conflict(
                        "accounts are assigned to it; end that first, or say ?cascade=true",
                    ));
                }
                _ => {}
            }
            on_tx!(&mut tx, |c| sqlx::query(Q).bind(tenant.uuid()).bind(id).execute(c).await.map(drop))?;
            self.commit_and_tell(tx, &[Subject::Groups(tenant)], now).await
        })
        .await
    }

    /// A page of those who are assigned to a domain, in the order in which their accounts were made; [`StoreError::NotFound`] if the tenant
    /// has no such domain.
    pub async fn list_domain_members(
        &self,
        tenant: TenantId,
        id: Uuid,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Page<DomainMember>, StoreError> {
        const DOMAIN: &str = "SELECT COUNT(*) FROM domains WHERE tenant_id = $1 AND id = $2";
        const Q: &str = "SELECT m.account_id, a.email, a.name, m.created_at FROM account_domains m \
                         JOIN accounts a ON a.id = m.account_id \
                         WHERE m.tenant_id = $1 AND m.domain_id = $2 AND m.account_id > $3 ORDER BY m.account_id LIMIT $4";
        let after = after.map_or(Uuid::nil(), Cursor::uuid);
        let scoped = self.of_tenant(tenant);
        self.bounded(async {
            let found: i64 =
                on!(scoped, |pool| sqlx::query_scalar(DOMAIN).bind(tenant.uuid()).bind(id).fetch_one(pool).await)?;
            if found == 0 {
                return Err(StoreError::NotFound);
            }
            let members: Vec<DomainMember> = on!(scoped, |pool| sqlx::query_as(Q)
                .bind(tenant.uuid())
                .bind(id)
                .bind(after)
                .bind(i64::from(limit) + 1)
                .fetch_all(pool)
                .await)?;
            Ok(Page::cut(members, limit, |member| member.account_id))
        })
        .await
    }

    /// Assigns a member of the tenant to a domain. [`StoreError::NotFound`] if the tenant has no such domain or no such member;
    /// [`StoreError::Conflict`] if the account is assigned to it already, or to too many.
    pub async fn add_domain_member(
        &self,
        tenant: TenantId,
        id: Uuid,
        account: AccountId,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        const COUNT: &str = "SELECT COUNT(*) FROM account_domains WHERE tenant_id = $1 AND account_id = $2";
        const Q: &str = "INSERT INTO account_domains (tenant_id, domain_id, account_id, created_at) \
                         VALUES ($1, $2, $3, $4) ON CONFLICT (tenant_id, domain_id, account_id) DO NOTHING";
        let scoped = self.of_tenant(tenant);
        self.bounded(async {
            let mut tx = scoped.begin().await?;
            tx.hold_member(tenant, account).await?;
            let domains: i64 = on_tx!(&mut tx, |c| sqlx::query_scalar(COUNT)
                .bind(tenant.uuid())
                .bind(account.uuid())
                .fetch_one(c)
                .await)?;
            if domains >= MOST {
                return Err(StoreError::Conflict("the account is assigned to 100 domains already"));
            }
            let added = on_tx!(&mut tx, |c| sqlx::query(Q)
                .bind(tenant.uuid())
                .bind(id)
                .bind(account.uuid())
                .bind(stored(now))
                .execute(c)
                .await
                .map(|done| done.rows_affected()))?;
            if added == 0 {
                return Err(StoreError::Conflict("the account is assigned to the domain already"));
            }
            self.commit_and_tell(tx, &[Subject::Account(account)], now).await
        })
        .await
    }

    /// Ends an assignment; [`StoreError::NotFound`] if there is none.
    pub async fn remove_domain_member(
        &self,
        tenant: TenantId,
        id: Uuid,
        account: AccountId,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        const Q: &str = "DELETE FROM account_domains WHERE tenant_id = $1 AND domain_id = $2 AND account_id = $3";
        let scoped = self.of_tenant(tenant);
        self.bounded(async {
            let mut tx = scoped.begin().await?;
            let gone = on_tx!(&mut tx, |c| sqlx::query(Q)
                .bind(tenant.uuid())
                .bind(id)
                .bind(account.uuid())
                .execute(c)
                .await
                .map(|done| done.rows_affected()))?;
            if gone == 0 {
                return Err(StoreError::NotFound);
            }
            self.commit_and_tell(tx, &[Subject::Account(account)], now).await
        })
        .await
    }
}

// === impl Tx ===

impl Tx {
    /// `parent` has to be a domain of the tenant's that does not lie within `id`.
    async fn demand_outside(&mut self, tenant: TenantId, id: Uuid, parent: Uuid) -> Result<(), StoreError> {
        const UP: &str = "WITH RECURSIVE up (id, parent) AS (SELECT id, parent_domain_id FROM domains \
                          WHERE tenant_id = $1 AND id = $2 UNION SELECT d.id, d.parent_domain_id FROM domains d \
                          JOIN up ON d.id = up.parent WHERE d.tenant_id = $1) SELECT id FROM up";
        let above: Vec<Uuid> =
            on_tx!(self, |c| sqlx::query_scalar(UP).bind(tenant.uuid()).bind(parent).fetch_all(c).await)?;
        match above.as_slice() {
            [] => Err(NO_PARENT),
            above if above.contains(&id) => Err(LOOP),
            _ => Ok(()),
        }
    }
}
