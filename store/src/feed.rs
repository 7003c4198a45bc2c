//! The change feed: what the gateways must hear of, in the order in which it was committed (DESIGN §5).
//!
//! Writing to it is part of every transaction that matters to the door (`Store::commit_and_tell`). Applying a change twice is harmless.

use chrono::{DateTime, Utc};
use identity::{AccountId, ExternalId, KeyId, SessionId, TenantId};
use uuid::Uuid;

use crate::{
    Store, StoreError,
    db::{Db, on},
};

/// Whom a change concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// An account's role, tier, status, name or address.
    Account(AccountId),
    /// A session has ended.
    Session(SessionId),
    /// A key was issued, revoked or rotated.
    Key(KeyId),
    /// A subject of somebody else's has an account now.
    External(ExternalId),
    /// A tenant's tier or status, or who belongs to it.
    Tenant(TenantId),
    /// Whose something is that routes can demand to be the caller's, or that it is no more.
    Resource(Uuid),
    /// The signing keys are others.
    SigningKeys,
    /// The integrations of an account or a tenant.
    Integrations(Uuid),
    /// The teams or domains of a tenant: their names, which are in use, or that one is gone.
    Groups(TenantId),
    /// Something that this version does not know: a newer node has written it. It may concern anybody.
    Unknown,
}

/// One change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Grows from commit to commit; positions may be missing between two.
    pub position: i64,
    /// Whom it concerns.
    pub subject: Subject,
    /// When it was made, by the clock of the node that made it.
    pub changed_at: DateTime<Utc>,
}

// === impl Store ===

impl Store {
    /// At most `limit` changes after `position`, in order.
    pub async fn changes_since(&self, position: i64, limit: u32) -> Result<Vec<Change>, StoreError> {
        const Q: &str =
            "SELECT position, kind, subject, changed_at FROM changes WHERE position > $1 ORDER BY position LIMIT $2";
        let rows: Vec<Row> = self
            .bounded(async {
                on!(self, |pool| sqlx::query_as(Q).bind(position).bind(i64::from(limit)).fetch_all(pool).await)
            })
            .await?;
        Ok(rows.into_iter().map(Change::from).collect())
    }

    /// The time of the database, if it is one that several gateways share.
    pub async fn time(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        match &self.db {
            Db::Pg(pool) => self
                .bounded(async { sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(pool).await })
                .await
                .map(Some),
            Db::Lite { .. } => Ok(None),
        }
    }

    /// The last change, if there has been any.
    pub async fn last_change(&self) -> Result<Option<Change>, StoreError> {
        const Q: &str = "SELECT position, kind, subject, changed_at FROM changes ORDER BY position DESC LIMIT 1";
        let row: Option<Row> =
            self.bounded(async { on!(self, |pool| sqlx::query_as(Q).fetch_optional(pool).await) }).await?;
        Ok(row.map(Change::from))
    }

    /// Is a change that was read once still there? If not, the database is an older one, or those after it may have been
    /// deleted before they were read.
    pub async fn still_has(&self, change: &Change) -> Result<bool, StoreError> {
        const Q: &str = "SELECT COUNT(*) FROM changes WHERE position = $1 AND changed_at = $2";
        let found: i64 = self
            .bounded(async {
                on!(self, |pool| sqlx::query_scalar(Q)
                    .bind(change.position)
                    .bind(change.changed_at)
                    .fetch_one(pool)
                    .await)
            })
            .await?;
        Ok(found > 0)
    }
}

type Row = (i64, String, Option<Uuid>, DateTime<Utc>);

impl From<Row> for Change {
    fn from((position, kind, id, changed_at): Row) -> Self {
        Self { position, subject: Subject::read(&kind, id), changed_at }
    }
}

// === impl Subject ===

impl Subject {
    pub(crate) const fn kind(self) -> &'static str {
        match self {
            Self::Account(_) => "account",
            Self::Session(_) => "session",
            Self::Key(_) => "key",
            Self::External(_) => "external",
            Self::Tenant(_) => "tenant",
            Self::Resource(_) => "resource",
            Self::SigningKeys => "signing_keys",
            Self::Integrations(_) => "integrations",
            Self::Groups(_) => "groups",
            Self::Unknown => "unknown",
        }
    }

    pub(crate) const fn id(self) -> Option<Uuid> {
        match self {
            Self::Account(id) => Some(id.uuid()),
            Self::Session(id) => Some(id.uuid()),
            Self::Key(id) => Some(id.uuid()),
            Self::External(id) => Some(id.uuid()),
            Self::Tenant(id) | Self::Groups(id) => Some(id.uuid()),
            Self::Resource(id) | Self::Integrations(id) => Some(id),
            Self::SigningKeys | Self::Unknown => None,
        }
    }

    fn read(kind: &str, id: Option<Uuid>) -> Self {
        match (kind, id) {
            ("account", Some(id)) => Self::Account(id.into()),
            ("session", Some(id)) => Self::Session(id.into()),
            ("key", Some(id)) => Self::Key(id.into()),
            ("external", Some(id)) => Self::External(id.into()),
            ("tenant", Some(id)) => Self::Tenant(id.into()),
            ("resource", Some(id)) => Self::Resource(id),
            ("signing_keys", None) => Self::SigningKeys,
            ("integrations", Some(id)) => Self::Integrations(id),
            ("groups", Some(id)) => Self::Groups(id.into()),
            _ => Self::Unknown,
        }
    }
}
