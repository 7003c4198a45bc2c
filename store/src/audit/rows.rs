//! What the audit trail asks the database. What it means is told above.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{AT_ONCE, AuditEvent, AuditFilter, ChainRow, EventRow, Mark};
use crate::{
    Cursor, Page, Store, StoreError,
    db::{on, on_tx, stored},
};

// === impl Store ===

impl Store {
    /// Events, the latest first.
    pub async fn list_audit(
        &self,
        filter: &AuditFilter,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Page<AuditEvent>, StoreError> {
        const Q: &str = "SELECT id, at, event, outcome, actor, subject, address, request_id, details FROM audit_events \
             WHERE id < $1 AND (CAST($2 AS TEXT) IS NULL OR event = $2) AND (CAST($3 AS TEXT) IS NULL OR outcome = $3) \
             AND (CAST($4 AS UUID) IS NULL OR actor = $4) AND (CAST($5 AS UUID) IS NULL OR subject = $5) \
             AND (CAST($6 AS TIMESTAMPTZ) IS NULL OR at >= $6) AND (CAST($7 AS TIMESTAMPTZ) IS NULL OR at < $7) \
             ORDER BY id DESC LIMIT $8";
        let after = after.map_or(Uuid::max(), Cursor::uuid);
        let rows: Vec<AuditEvent> = self
            .bounded(async {
                on!(self, |pool| sqlx::query_as(Q)
                    .bind(after)
                    .bind(filter.event.as_deref())
                    .bind(filter.outcome.as_deref())
                    .bind(filter.actor)
                    .bind(filter.subject)
                    .bind(filter.since.map(stored))
                    .bind(filter.until.map(stored))
                    .bind(i64::from(limit) + 1)
                    .fetch_all(pool)
                    .await)
            })
            .await?;
        Ok(Page::cut(rows, limit, |event| event.id))
    }

    pub(super) async fn chains(&self) -> Result<Vec<ChainRow>, StoreError> {
        const Q: &str = "SELECT c.id, c.base, c.head, \
             (SELECT MIN(e.position) FROM audit_events e WHERE e.chain = c.id) AS first, \
             (SELECT MAX(e.position) FROM audit_events e WHERE e.chain = c.id) AS last \
             FROM audit_chains c ORDER BY c.began_at, c.id";
        self.bounded(async { on!(self, |pool| sqlx::query_as(Q).fetch_all(pool).await) }).await
    }

    pub(super) async fn begin_chain(
        &self,
        id: Uuid,
        base: &[u8],
        head: &[u8],
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        const Q: &str = "INSERT INTO audit_chains (id, began_at, base, head) VALUES ($1, $2, $3, $4)";
        self.bounded(async {
            let mut tx = self.begin().await?;
            on_tx!(&mut tx, |c| sqlx::query(Q)
                .bind(id)
                .bind(stored(now))
                .bind(base)
                .bind(head)
                .execute(c)
                .await
                .map(drop))?;
            self.commit(tx).await
        })
        .await
    }

    pub(super) async fn seal_chain(&self, id: Uuid, statement: &'static str, sealed: &[u8]) -> Result<(), StoreError> {
        self.bounded(async {
            let mut tx = self.begin().await?;
            on_tx!(&mut tx, |c| sqlx::query(statement).bind(id).bind(sealed).execute(c).await.map(drop))?;
            self.commit(tx).await
        })
        .await
    }

    pub(super) async fn add_event(&self, chain: Uuid, at: Mark, event: &AuditEvent) -> Result<(), StoreError> {
        const Q: &str = "INSERT INTO audit_events \
             (id, chain, position, at, event, outcome, actor, subject, address, request_id, details, digest) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
        self.bounded(async {
            let mut tx = self.begin().await?;
            on_tx!(&mut tx, |c| sqlx::query(Q)
                .bind(event.id)
                .bind(chain)
                .bind(at.position)
                .bind(stored(event.at))
                .bind(&event.event)
                .bind(&event.outcome)
                .bind(event.actor)
                .bind(event.subject)
                .bind(&event.address)
                .bind(&event.request_id)
                .bind(&event.details)
                .bind(&at.digest[..])
                .execute(c)
                .await
                .map(drop))?;
            self.commit(tx).await
        })
        .await
    }

    pub(super) async fn events_after(&self, chain: Uuid, position: i64) -> Result<Vec<EventRow>, StoreError> {
        const Q: &str = "SELECT id, position, at, event, outcome, actor, subject, address, request_id, details, digest \
                         FROM audit_events WHERE chain = $1 AND position > $2 ORDER BY position LIMIT $3";
        self.bounded(async {
            on!(self, |pool| sqlx::query_as(Q).bind(chain).bind(position).bind(AT_ONCE).fetch_all(pool).await)
        })
        .await
    }

    /// The next chain, in the order of ids, that there are events of: one step of an index for each chain, where a comparison of the two tables would
    /// read all events.
    pub(super) async fn chain_with_events_after(&self, after: Uuid) -> Result<Option<Uuid>, StoreError> {
        const Q: &str = "SELECT chain FROM audit_events WHERE chain > $1 ORDER BY chain LIMIT 1";
        self.bounded(async { on!(self, |pool| sqlx::query_scalar(Q).bind(after).fetch_optional(pool).await) }).await
    }

    /// The position of the last event that says it is older.
    pub(super) async fn last_event_before(
        &self,
        chain: Uuid,
        before: DateTime<Utc>,
    ) -> Result<Option<i64>, StoreError> {
        const Q: &str = "SELECT position FROM audit_events WHERE chain = $1 AND at < $2 ORDER BY position DESC LIMIT 1";
        self.bounded(async {
            on!(self, |pool| sqlx::query_scalar(Q).bind(chain).bind(stored(before)).fetch_optional(pool).await)
        })
        .await
    }

    /// In one transaction: a chain begins where its first event is, or it is broken. Nothing happens where another node was here first, and
    /// the chain no longer has the base `had`.
    pub(super) async fn forget_events(
        &self,
        chain: Uuid,
        up_to: i64,
        (had, base): (&[u8], &[u8]),
    ) -> Result<u64, StoreError> {
        const BASE: &str = "UPDATE audit_chains SET base = $2 WHERE id = $1 AND base = $3";
        const EVENTS: &str = "DELETE FROM audit_events WHERE chain = $1 AND position <= $2";
        self.bounded(async {
            let mut tx = self.begin().await?;
            let moved = on_tx!(&mut tx, |c| sqlx::query(BASE)
                .bind(chain)
                .bind(base)
                .bind(had)
                .execute(c)
                .await
                .map(|done| done.rows_affected()))?;
            if moved == 0 {
                return Ok(0);
            }
            let forgotten = on_tx!(&mut tx, |c| sqlx::query(EVENTS)
                .bind(chain)
                .bind(up_to)
                .execute(c)
                .await
                .map(|done| done.rows_affected()))?;
            self.commit(tx).await?;
            Ok::<_, StoreError>(forgotten)
        })
        .await
    }
}
