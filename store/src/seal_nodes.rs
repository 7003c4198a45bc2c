//! Which master keys the running gateways have, and imports, which seal for as long: what is to be sealed with a new one waits until each of
//! them can open it.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::{
    Store, StoreError,
    db::{on, on_tx, stored},
};

/// A gateway says so every ten seconds; who has been silent for so long is none any more.
const SILENT: TimeDelta = TimeDelta::seconds(30);
/// Rows of gateways that are long gone.
const FORGOTTEN: TimeDelta = TimeDelta::days(1);

/// A running gateway's master keys, by their ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealNode {
    /// The process.
    pub id: Uuid,
    /// The one that it seals with.
    pub seals_with: String,
    /// All that it opens.
    pub opens: Vec<String>,
}

// === impl Store ===

impl Store {
    /// A gateway lives, and has these keys; the first one seals.
    pub async fn tell_seal_keys(&self, node: Uuid, ids: &[String], now: DateTime<Utc>) -> Result<(), StoreError> {
        const Q: &str = "INSERT INTO seal_nodes (id, seals_with, opens, seen_at) VALUES ($1, $2, $3, $4) \
                         ON CONFLICT (id) DO UPDATE SET seals_with = $2, opens = $3, seen_at = $4";
        const OLD: &str = "DELETE FROM seal_nodes WHERE seen_at < $1";
        let first = ids.first().map_or("", String::as_str);
        self.bounded(async {
            let mut tx = self.begin().await?;
            on_tx!(&mut tx, |c| sqlx::query(Q)
                .bind(node)
                .bind(first)
                .bind(ids.join(" "))
                .bind(stored(now))
                .execute(c)
                .await
                .map(drop))?;
            on_tx!(&mut tx, |c| sqlx::query(OLD).bind(stored(now - FORGOTTEN)).execute(c).await.map(drop))?;
            self.commit(tx).await
        })
        .await
    }

    /// It is over, and nobody has to wait for it.
    pub async fn forget_seal_keys(&self, node: Uuid) -> Result<(), StoreError> {
        const Q: &str = "DELETE FROM seal_nodes WHERE id = $1";
        self.bounded(async {
            let mut tx = self.begin().await?;
            on_tx!(&mut tx, |c| sqlx::query(Q).bind(node).execute(c).await.map(drop))?;
            self.commit(tx).await
        })
        .await
    }

    /// The gateways that live, and their keys.
    pub async fn seal_nodes(&self, now: DateTime<Utc>) -> Result<Vec<SealNode>, StoreError> {
        const Q: &str = "SELECT id, seals_with, opens FROM seal_nodes WHERE seen_at > $1 ORDER BY id";
        let rows: Vec<(Uuid, String, String)> = self
            .bounded(async { on!(self, |pool| sqlx::query_as(Q).bind(stored(now - SILENT)).fetch_all(pool).await) })
            .await?;
        let node = |(id, seals_with, opens): (Uuid, String, String)| SealNode {
            id,
            seals_with,
            opens: opens.split(' ').map(str::to_owned).collect(),
        };
        Ok(rows.into_iter().map(node).collect())
    }
}
