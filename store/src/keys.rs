//! API keys: issued, listed, revoked, rotated. Only the SHA-256 of a key is kept.

use std::time::Duration;

use chrono::{DateTime, Utc};
use identity::{AccountId, Grant, KeyId, Networks, SecretDigest, TenantId};
use sqlx::types::Json;
use sqlx_macros::FromRow;
use uuid::Uuid;

use crate::{
    NewAccount, NewMail, Store, StoreError, Subject,
    accounts::CHANGED_MEANWHILE,
    db::{Tx, later, on, on_tx, stored},
};

const HAS_SUCCESSOR: &str =
    "The key was rotated already and is in its grace: rotate its successor, or make another key.";

/// A key to be issued.
#[derive(Clone)]
pub struct NewKey {
    /// Its id.
    pub id: KeyId,
    /// Whose it is.
    pub account: AccountId,
    /// By what it is asked for, if somebody asks: whoever has ended that by then has ended this. By a key, none is made that lasts longer.
    pub by: Option<Grant>,
    /// In which tenant it acts; `None`: in none, whatever its account founds or joins.
    pub tenant: Option<TenantId>,
    /// What its owner calls it.
    pub name: String,
    /// What it begins with, to tell it from others.
    pub prefix: String,
    /// The SHA-256 of the whole key.
    pub digest: SecretDigest,
    /// What it is restricted to; `None`: whatever its owner may do.
    pub scopes: Option<Vec<String>>,
    /// From where it may be shown; `None`: from anywhere.
    pub networks: Option<Networks>,
    /// When it ends.
    pub expires_at: Option<DateTime<Utc>>,
    /// Keys that the account may have, this one and expired ones among them.
    pub most: u32,
    /// The time.
    pub now: DateTime<Utc>,
}

/// A key as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// Its id.
    pub id: KeyId,
    /// What its owner calls it.
    pub name: String,
    /// What it begins with.
    pub prefix: String,
    /// In which tenant it acts.
    pub tenant: Option<TenantId>,
    /// What it is restricted to.
    pub scopes: Option<Vec<String>>,
    /// From where it may be shown; `None`: from anywhere.
    pub networks: Option<Networks>,
    /// When it was issued.
    pub created_at: DateTime<Utc>,
    /// When it ends.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was last used, to within a minute.
    pub last_used_at: Option<DateTime<Utc>>,
}

#[derive(FromRow)]
struct Row {
    id: Uuid,
    name: String,
    prefix: String,
    tenant_id: Option<Uuid>,
    scopes: Option<Json<Vec<String>>>,
    allowed_networks: Option<Json<Networks>>,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
}

// === impl Store ===

impl Store {
    /// Issues a key; [`StoreError::TooManyKeys`] if its account may have no more, and [`StoreError::Conflict`] if what it is asked for
    /// by has ended, or ends before it, or its account does not belong to its tenant.
    pub async fn create_key(&self, new: NewKey) -> Result<KeyRecord, StoreError> {
        self.issue_key(new, None).await
    }

    /// The same, and its owner is told.
    pub async fn create_key_and_tell(&self, new: NewKey, notice: &NewMail) -> Result<KeyRecord, StoreError> {
        self.issue_key(new, Some(notice)).await
    }

    /// Makes an account together with its first key, or neither: an account without one is nobody's who was told nothing of it.
    pub async fn create_account_with_key(&self, account: NewAccount<'_>, key: &NewKey) -> Result<(), StoreError> {
        self.bounded(async {
            let mut tx = self.begin().await?;
            tx.insert_account(account).await?;
            tx.insert_key(key).await?;
            self.commit_and_tell(tx, &[Subject::Key(key.id)], key.now).await
        })
        .await
    }

    async fn issue_key(&self, new: NewKey, notice: Option<&NewMail>) -> Result<KeyRecord, StoreError> {
        self.bounded(async {
            let mut tx = self.begin().await?;
            tx.insert_key(&new).await?;
            if let Some(notice) = notice {
                tx.post(notice).await?;
            }
            self.commit_and_tell(tx, &[Subject::Key(new.id)], new.now).await?;
            Ok::<_, StoreError>(new.into())
        })
        .await
    }

    /// An account's keys that are not revoked, the oldest first.
    pub async fn list_keys(&self, account: AccountId) -> Result<Vec<KeyRecord>, StoreError> {
        const Q: &str = "SELECT id, name, prefix, tenant_id, scopes, allowed_networks, created_at, expires_at, last_used_at \
                         FROM api_keys WHERE account_id = $1 AND revoked_at IS NULL ORDER BY id";
        let rows: Vec<Row> = self
            .bounded(async { on!(self, |pool| sqlx::query_as(Q).bind(account.uuid()).fetch_all(pool).await) })
            .await?;
        Ok(rows.into_iter().map(KeyRecord::from).collect())
    }

    /// Revokes a key; [`StoreError::NotFound`] if it is not this account's or revoked already, and [`StoreError::Conflict`] if that has ended
    /// by which its owner asks for it, if they do.
    pub async fn revoke_key(
        &self,
        account: AccountId,
        id: KeyId,
        by: Option<Grant>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.bounded(async {
            let mut tx = self.begin().await?;
            // Whoever makes a key by this one at the same moment waits for this, or is waited for.
            tx.lock_account(account).await?;
            tx.demand_in_force(account, by, now).await?;
            let heard = tx.revoke_key(account, id, now).await?;
            self.commit_and_tell(tx, &heard, now).await
        })
        .await
    }

    /// Issues `new` in the place of a key, which ends after `grace`, or is revoked if there is none. [`StoreError::Conflict`] if it has a
    /// successor already, what `new` is asked for by has ended or ends before it, or the account does not belong to its tenant.
    pub async fn rotate_key(
        &self,
        account: AccountId,
        old: KeyId,
        new: NewKey,
        grace: Duration,
        now: DateTime<Utc>,
    ) -> Result<KeyRecord, StoreError> {
        // A key that would have ended before the grace is over does not live longer for it.
        const Q: &str = "UPDATE api_keys SET expires_at = CASE WHEN expires_at < $3 THEN expires_at ELSE $3 END, revoked_at = $4, \
                         rotated_at = $5 WHERE id = $1 AND account_id = $2 AND revoked_at IS NULL AND rotated_at IS NULL";
        const ROTATED: &str = "SELECT COUNT(*) FROM api_keys WHERE id = $1 AND account_id = $2 AND revoked_at IS NULL";
        self.bounded(async {
            let mut tx = self.begin().await?;
            // The account before its keys, as whoever revokes one that is somebody else's takes them.
            tx.lock_account(account).await?;
            // Before the old one is touched: it may be the one that asks.
            tx.demand_maker(&new).await?;
            let found = on_tx!(&mut tx, |c| sqlx::query(Q)
                .bind(old.uuid())
                .bind(account.uuid())
                .bind(stored(later(now, grace)))
                .bind(grace.is_zero().then(|| stored(now)))
                .bind(stored(now))
                .execute(c)
                .await
                .map(|done| done.rows_affected()))?;
            if found == 0 {
                let in_grace: i64 = on_tx!(&mut tx, |c| sqlx::query_scalar(ROTATED)
                    .bind(old.uuid())
                    .bind(account.uuid())
                    .fetch_one(c)
                    .await)?;
                return Err(if in_grace > 0 { StoreError::Conflict(HAS_SUCCESSOR) } else { StoreError::NotFound });
            }
            tx.add_key(&new).await?;
            let mut heard = if grace.is_zero() {
                tx.end_bought_with_keys(account, now).await?
            } else {
                tx.shorten_bought_with_keys(account, later(now, grace)).await?
            };
            heard.extend([Subject::Key(old), Subject::Key(new.id)]);
            self.commit_and_tell(tx, &heard, now).await?;
            Ok(new.into())
        })
        .await
    }

    /// Issues `new` in the place of all keys of an account, which are revoked.
    pub async fn replace_keys(&self, new: NewKey) -> Result<KeyRecord, StoreError> {
        const Q: &str = "UPDATE api_keys SET revoked_at = $2 WHERE account_id = $1 AND revoked_at IS NULL RETURNING id";
        self.bounded(async {
            let mut tx = self.begin().await?;
            tx.lock_account(new.account).await?;
            let old: Vec<Uuid> = on_tx!(&mut tx, |c| sqlx::query_scalar(Q)
                .bind(new.account.uuid())
                .bind(stored(new.now))
                .fetch_all(c)
                .await)?;
            tx.insert_key(&new).await?;
            let mut heard = tx.end_bought_with_keys(new.account, new.now).await?;
            heard.extend(old.into_iter().map(KeyId::new).chain([new.id]).map(Subject::Key));
            self.commit_and_tell(tx, &heard, new.now).await?;
            Ok::<_, StoreError>(new.into())
        })
        .await
    }
}

// === impl Tx ===

impl Tx {
    /// Revokes a key of an account's; gives what is to be heard of it.
    pub(crate) async fn revoke_key(
        &mut self,
        account: AccountId,
        id: KeyId,
        now: DateTime<Utc>,
    ) -> Result<Vec<Subject>, StoreError> {
        const Q: &str = "UPDATE api_keys SET revoked_at = $3 WHERE id = $1 AND account_id = $2 AND revoked_at IS NULL";
        let revoked = on_tx!(&mut *self, |c| sqlx::query(Q)
            .bind(id.uuid())
            .bind(account.uuid())
            .bind(stored(now))
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        if revoked == 0 {
            return Err(StoreError::NotFound);
        }
        let mut heard = self.end_bought_with_keys(account, now).await?;
        heard.push(Subject::Key(id));
        Ok(heard)
    }

    /// Under a lock of the account: whoever waited for somebody who has thrown them out sees that.
    async fn insert_key(&mut self, new: &NewKey) -> Result<(), StoreError> {
        self.lock_account(new.account).await?;
        self.demand_maker(new).await?;
        self.add_key(new).await
    }

    /// Whoever asks for a key has still what they have shown, and if that is a key, it lasts as long as the new one; and they belong to the
    /// tenant in which it acts: else it would be theirs again if they joined anew.
    async fn demand_maker(&mut self, new: &NewKey) -> Result<(), StoreError> {
        const LASTS: &str = "SELECT COUNT(*) FROM api_keys WHERE id = $1 AND (expires_at IS NULL OR expires_at >= $2)";
        self.demand_in_force(new.account, new.by, new.now).await?;
        if let Some(Grant::Key(by)) = new.by {
            let lasts: i64 = on_tx!(&mut *self, |c| sqlx::query_scalar(LASTS)
                .bind(by.uuid())
                .bind(new.expires_at.map(stored))
                .fetch_one(c)
                .await)?;
            if lasts == 0 {
                return Err(CHANGED_MEANWHILE);
            }
        }
        if let Some(tenant) = new.tenant
            && self.role_in(tenant, new.account).await?.is_none()
        {
            return Err(CHANGED_MEANWHILE);
        }
        Ok(())
    }

    /// Counted under a lock of the account: of two at once the second one sees the first one's key.
    async fn add_key(&mut self, new: &NewKey) -> Result<(), StoreError> {
        const COUNT: &str = "SELECT COUNT(*) FROM api_keys WHERE account_id = $1 AND revoked_at IS NULL";
        const Q: &str = "INSERT INTO api_keys (id, account_id, name, prefix, digest, scopes, created_at, expires_at, tenant_id, \
                         allowed_networks, had_factor) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, \
                         EXISTS (SELECT 1 FROM factors WHERE account_id = $2 AND confirmed_at IS NOT NULL))";
        let account = new.account.uuid();
        let has: i64 = on_tx!(&mut *self, |c| sqlx::query_scalar(COUNT).bind(account).fetch_one(c).await)?;
        if has >= i64::from(new.most) {
            return Err(StoreError::TooManyKeys(new.most));
        }
        Ok(on_tx!(self, |c| sqlx::query(Q)
            .bind(new.id.uuid())
            .bind(account)
            .bind(&new.name)
            .bind(&new.prefix)
            .bind(new.digest.as_bytes().as_slice())
            .bind(new.scopes.as_ref().map(Json))
            .bind(stored(new.now))
            .bind(new.expires_at.map(stored))
            .bind(new.tenant.map(|tenant| tenant.uuid()))
            .bind(new.networks.as_ref().map(Json))
            .execute(c)
            .await
            .map(drop))?)
    }
}

// === impl KeyRecord ===

impl From<NewKey> for KeyRecord {
    fn from(new: NewKey) -> Self {
        Self {
            id: new.id,
            name: new.name,
            prefix: new.prefix,
            tenant: new.tenant,
            scopes: new.scopes,
            networks: new.networks,
            created_at: stored(new.now),
            expires_at: new.expires_at.map(stored),
            last_used_at: None,
        }
    }
}

impl From<Row> for KeyRecord {
    fn from(row: Row) -> Self {
        Self {
            id: row.id.into(),
            name: row.name,
            prefix: row.prefix,
            tenant: row.tenant_id.map(TenantId::new),
            scopes: row.scopes.map(|scopes| scopes.0),
            networks: row.allowed_networks.map(|networks| networks.0),
            created_at: row.created_at,
            expires_at: row.expires_at,
            last_used_at: row.last_used_at,
        }
    }
}
