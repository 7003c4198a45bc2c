//! The change feed: what the gateways must hear of, in the order in which it was committed (DESIGN §5).
//!
//! Writing to it is part of every transaction that matters to the door (`Store::commit`). Applying a change twice is harmless.

use identity::{AccountId, KeyId, SessionId};
use uuid::Uuid;

use crate::{Store, StoreError, db::on};

/// Whom a change concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// An account's role, tier, status, name or address.
    Account(AccountId),
    /// A session has ended.
    Session(SessionId),
    /// A key was issued, revoked or rotated.
    Key(KeyId),
    /// The signing keys are others.
    SigningKeys,
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
}

// === impl Store ===

impl Store {
    /// At most `limit` changes after `position`, in order.
    pub async fn changes_since(&self, position: i64, limit: u32) -> Result<Vec<Change>, StoreError> {
        const Q: &str = "SELECT position, kind, subject FROM changes WHERE position > $1 ORDER BY position LIMIT $2";
        let rows: Vec<(i64, String, Option<Uuid>)> = self
            .bounded(async {
                on!(self, |pool| sqlx::query_as(Q).bind(position).bind(i64::from(limit)).fetch_all(pool).await)
            })
            .await?;
        Ok(rows
            .into_iter()
            .map(|(position, kind, id)| Change { position, subject: Subject::read(&kind, id) })
            .collect())
    }

    /// The position of the last change; 0 before the first.
    pub async fn last_position(&self) -> Result<i64, StoreError> {
        const Q: &str = "SELECT COALESCE(MAX(position), 0) FROM changes";
        self.bounded(async { on!(self, |pool| sqlx::query_scalar(Q).fetch_one(pool).await) }).await
    }
}

// === impl Subject ===

impl Subject {
    pub(crate) const fn kind(self) -> &'static str {
        match self {
            Self::Account(_) => "account",
            Self::Session(_) => "session",
            Self::Key(_) => "key",
            Self::SigningKeys => "signing_keys",
            Self::Unknown => "unknown",
        }
    }

    pub(crate) const fn id(self) -> Option<Uuid> {
        match self {
            Self::Account(id) => Some(id.uuid()),
            Self::Session(id) => Some(id.uuid()),
            Self::Key(id) => Some(id.uuid()),
            Self::SigningKeys | Self::Unknown => None,
        }
    }

    fn read(kind: &str, id: Option<Uuid>) -> Self {
        match (kind, id) {
            ("account", Some(id)) => Self::Account(id.into()),
            ("session", Some(id)) => Self::Session(id.into()),
            ("key", Some(id)) => Self::Key(id.into()),
            ("signing_keys", None) => Self::SigningKeys,
            _ => Self::Unknown,
        }
    }
}
