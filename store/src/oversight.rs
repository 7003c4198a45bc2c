//! What people see of their own sessions, and administrators of everybody's keys and sessions, page by page; and how the latter end one.

use chrono::{DateTime, Utc};
use identity::{AccountId, KeyId, Networks, SessionId};
use sqlx_macros::FromRow;
use uuid::Uuid;

use crate::{
    Cursor, Over, Page, Store, StoreError, Subject,
    db::{on, stored},
};

/// A key that is not revoked, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct SeenKey {
    /// Its id.
    pub id: Uuid,
    /// Whose.
    pub account_id: Uuid,
    /// In which tenant it acts, if it was made for one.
    pub tenant_id: Option<Uuid>,
    /// What its owner calls it.
    pub name: String,
    /// What it begins with.
    pub prefix: String,
    /// From where it may be shown; `None`: from anywhere.
    #[sqlx(json(nullable))]
    pub allowed_networks: Option<Networks>,
    /// When it was issued.
    pub created_at: DateTime<Utc>,
    /// When it ends.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was last used, to within a minute.
    pub last_used_at: Option<DateTime<Utc>>,
}

/// A session that nobody has ended, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct SeenSession {
    /// Its id.
    pub id: Uuid,
    /// Whose.
    pub account_id: Uuid,
    /// In which tenant it acts, if it says so.
    pub tenant_id: Option<Uuid>,
    /// The administrator who acts as its owner.
    pub actor_id: Option<Uuid>,
    /// The address it began at.
    pub address: Option<String>,
    /// What the client says it is.
    pub user_agent: Option<String>,
    /// By what somebody has logged in.
    pub method: Option<String>,
    /// When it began.
    pub created_at: DateTime<Utc>,
    /// When it was last refreshed or used, as far as is known.
    pub last_seen_at: Option<DateTime<Utc>>,
}

/// A session as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// Its id.
    pub id: SessionId,
    /// When it began.
    pub created_at: DateTime<Utc>,
    /// When it was last refreshed or used, as far as is known.
    pub last_seen_at: Option<DateTime<Utc>>,
    /// The address it began at.
    pub address: Option<String>,
    /// What the client says it is.
    pub user_agent: Option<String>,
    /// By what somebody has logged in.
    pub method: Option<String>,
}

type Row = (Uuid, DateTime<Utc>, Option<DateTime<Utc>>, Option<String>, Option<String>, Option<String>);

/// The records after $1, of everybody or of one account; `$2` is how many.
macro_rules! listed {
    ($columns:literal, $table:literal, $live:literal) => {
        [
            concat!("SELECT ", $columns, " FROM ", $table, " WHERE id > $1 AND ", $live, " ORDER BY id LIMIT $2"),
            concat!(
                "SELECT ",
                $columns,
                " FROM ",
                $table,
                " WHERE account_id = $3 AND id > $1 AND ",
                $live,
                " ORDER BY id LIMIT $2"
            ),
        ]
    };
}

/// One of two statements, with its parameters.
macro_rules! page {
    ($statements:ident, $of:ident, $after:ident, $limit:ident) => {{
        let query = sqlx::query_as($statements[usize::from($of.is_some())])
            .bind($after.map_or(Uuid::nil(), Cursor::uuid))
            .bind(i64::from($limit) + 1);
        match $of {
            Some(of) => query.bind(of.uuid()),
            None => query,
        }
    }};
}

const KEYS: [&str; 2] = listed!(
    "id, account_id, tenant_id, name, prefix, allowed_networks, created_at, expires_at, last_used_at",
    "api_keys",
    "revoked_at IS NULL"
);
const SESSIONS: [&str; 2] = listed!(
    "id, account_id, tenant_id, actor_id, address, user_agent, method, created_at, last_seen_at",
    "sessions",
    "ended_at IS NULL"
);

// === impl Store ===

impl Store {
    /// A page of an account's sessions that can be gone on with, the newest first.
    pub async fn list_sessions(
        &self,
        account: AccountId,
        now: DateTime<Utc>,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Page<SessionRecord>, StoreError> {
        const Q: &str = "SELECT id, created_at, last_seen_at, address, user_agent, method FROM sessions \
                         WHERE account_id = $1 AND ended_at IS NULL AND id < $3 AND EXISTS \
                         (SELECT 1 FROM refresh_tokens WHERE session_id = sessions.id AND expires_at > $2 UNION ALL \
                         SELECT 1 FROM session_cookies WHERE session_id = sessions.id AND idle_until > $2 AND ends_at > $2) \
                         ORDER BY id DESC LIMIT $4";
        let after = after.map_or(Uuid::max(), Cursor::uuid);
        let rows: Vec<Row> = self
            .bounded(async {
                on!(self, |pool| sqlx::query_as(Q)
                    .bind(account.uuid())
                    .bind(stored(now))
                    .bind(after)
                    .bind(i64::from(limit) + 1)
                    .fetch_all(pool)
                    .await)
            })
            .await?;
        Ok(Page::cut(rows.into_iter().map(SessionRecord::from).collect(), limit, |session| session.id.uuid()))
    }

    /// A page of keys that are not revoked, in the order of their making; of one account if it is named.
    pub async fn see_keys(
        &self,
        of: Option<AccountId>,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Page<SeenKey>, StoreError> {
        let rows =
            self.bounded(async { on!(self, |pool| page!(KEYS, of, after, limit).fetch_all(pool).await) }).await?;
        Ok(Page::cut(rows, limit, |key: &SeenKey| key.id))
    }

    /// A page of sessions that nobody has ended, in the order of their beginning; of one account if it is named.
    pub async fn see_sessions(
        &self,
        of: Option<AccountId>,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Page<SeenSession>, StoreError> {
        let rows =
            self.bounded(async { on!(self, |pool| page!(SESSIONS, of, after, limit).fetch_all(pool).await) }).await?;
        Ok(Page::cut(rows, limit, |session: &SeenSession| session.id))
    }

    /// Revokes a key of somebody's who has this role; [`StoreError::NotFound`] if there is none of theirs that is in force.
    pub async fn end_any_key(
        &self,
        id: KeyId,
        (owner, of_role): (AccountId, impl Into<Over<'_>>),
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let over = of_role.into();
        self.bounded(async {
            let mut tx = self.begin().await?;
            tx.hold_role(owner, over).await?;
            let heard = tx.revoke_key(owner, id, now).await?;
            self.commit_and_tell(tx, &heard, now).await
        })
        .await
    }

    /// Ends a session of somebody's who has this role; [`StoreError::NotFound`] if there is none of theirs that is in force.
    pub async fn end_any_session(
        &self,
        id: SessionId,
        (owner, of_role): (AccountId, impl Into<Over<'_>>),
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let over = of_role.into();
        self.bounded(async {
            let mut tx = self.begin().await?;
            tx.hold_role(owner, over).await?;
            tx.end_own_session(owner, id, now).await?;
            self.commit_and_tell(tx, &[Subject::Session(id)], now).await
        })
        .await
    }
}

// === impl SessionRecord ===

impl From<Row> for SessionRecord {
    fn from((id, created_at, last_seen_at, address, user_agent, method): Row) -> Self {
        Self { id: SessionId::new(id), created_at, last_seen_at, address, user_agent, method }
    }
}
