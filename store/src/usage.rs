//! What was used: events, each counted once, and the totals that questions are answered from.
//!
//! An event is added together with its share of the totals of its day and month, in one transaction. Whoever does not know whether that
//! was done does it again: an id that is there counts nothing. What the door itself has counted is no event but sums, many at once, and
//! the batch has the id: a busy door would fill the table of events with what the totals say as well. The ids are kept for as long as
//! the configuration says; what is brought later than that would be counted twice, so nobody keeps a spool for longer.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use identity::{AccountId, KeyId, TenantId};
use sqlx::QueryBuilder;
use uuid::Uuid;

use crate::{
    Store, StoreError,
    db::{Tx, on_tx, stored},
};

mod read;

pub use read::{UsageAsked, UsageBy, UsageTotal};

/// Rows of one statement: SQLite takes 32,766 parameters, and a row has 13.
const AT_ONCE: usize = 500;

/// Something that was used, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageEvent {
    /// Its id; of several with one id the first counts.
    pub id: Uuid,
    /// What.
    pub used: Used,
}

/// What was used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    /// In whose name, if there was a tenant.
    pub tenant: Option<TenantId>,
    /// By whom.
    pub account: AccountId,
    /// By which key, if it was one.
    pub key: Option<KeyId>,
    /// When.
    pub at: DateTime<Utc>,
    /// Where it passed the door; empty if it did not.
    pub route: String,
    /// The service that says so; empty: none does.
    pub service: String,
    /// The model that answered; empty: none did.
    pub model: String,
    /// What kind of request; empty: none in particular.
    pub request_type: String,
    /// How many requests.
    pub requests: i64,
    /// How many tokens.
    pub tokens: i64,
    /// What it cost, in millionths.
    pub cost: i64,
}

/// What a total of a day is of.
type Day = (Uuid, String, Uuid, Uuid, String, String, String, String);
/// The same whoever it was by.
type Kind = (Uuid, String, String, String, String, String);
/// Requests, tokens and millionths.
type Sums = [i64; 3];

// === impl Store ===

impl Store {
    /// Adds events and counts those that are new; says which those were. All of it or nothing.
    pub async fn count_usage(&self, events: &[UsageEvent], now: DateTime<Utc>) -> Result<BTreeSet<Uuid>, StoreError> {
        // In one order on every node, here and below: two that met halfway would wait for each other.
        let mut events: Vec<&UsageEvent> = events.iter().collect();
        events.sort_by_key(|event| event.id);
        self.bounded(async {
            let mut tx = self.begin().await?;
            let mut fresh = BTreeSet::new();
            for some in events.chunks(AT_ONCE) {
                fresh.extend(tx.add_usage(some, now).await?);
            }
            let mut left = fresh.clone();
            tx.add_to_totals(events.iter().filter(|event| left.remove(&event.id)).map(|event| &event.used)).await?;
            self.commit(tx, &[], now).await?;
            Ok::<_, StoreError>(fresh)
        })
        .await
    }

    /// Counts what a batch says, unless a batch of this id was counted before; says if it was counted now. All of it or nothing.
    pub async fn count_batch(&self, batch: Uuid, used: &[Used], now: DateTime<Utc>) -> Result<bool, StoreError> {
        self.bounded(async {
            let mut tx = self.begin().await?;
            let is_new = tx.add_batch(batch, now).await?;
            if is_new {
                tx.add_to_totals(used.iter()).await?;
            }
            self.commit(tx, &[], now).await?;
            Ok::<_, StoreError>(is_new)
        })
        .await
    }
}

fn add(sums: &mut Sums, used: &Used) {
    for (sum, more) in sums.iter_mut().zip([used.requests, used.tokens, used.cost]) {
        *sum = sum.saturating_add(more);
    }
}

// === impl Tx ===

impl Tx {
    async fn add_usage(&mut self, events: &[&UsageEvent], now: DateTime<Utc>) -> Result<Vec<Uuid>, StoreError> {
        Ok(on_tx!(self, |c| {
            let mut insert = QueryBuilder::new(
                "INSERT INTO usage_events (id, tenant_id, account_id, key_id, happened_at, counted_at, route, service, model, \
                 request_type, requests, tokens, cost) ",
            );
            insert.push_values(events, |mut row, UsageEvent { id, used }| {
                row.push_bind(*id)
                    .push_bind(used.tenant_or_none())
                    .push_bind(used.account.uuid())
                    .push_bind(used.key_or_none())
                    .push_bind(stored(used.at))
                    .push_bind(stored(now))
                    .push_bind(&used.route)
                    .push_bind(&used.service)
                    .push_bind(&used.model)
                    .push_bind(&used.request_type)
                    .push_bind(used.requests)
                    .push_bind(used.tokens)
                    .push_bind(used.cost);
            });
            insert.push(" ON CONFLICT (id) DO NOTHING RETURNING id");
            insert.build_query_scalar::<Uuid>().fetch_all(c).await
        })?)
    }

    /// Is it new?
    async fn add_batch(&mut self, batch: Uuid, now: DateTime<Utc>) -> Result<bool, StoreError> {
        const INSERT: &str = "INSERT INTO usage_batches (id, counted_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING";
        Ok(on_tx!(self, |c| {
            sqlx::query(INSERT).bind(batch).bind(stored(now)).execute(c).await.map(|done| done.rows_affected() > 0)
        })?)
    }

    async fn add_to_totals(&mut self, used: impl Iterator<Item = &Used>) -> Result<(), StoreError> {
        // Sorted, so that nodes do not wait for each other.
        let (mut days, mut kinds) = (BTreeMap::<Day, Sums>::new(), BTreeMap::<Kind, Sums>::new());
        let mut months = BTreeMap::<(Uuid, String), Sums>::new();
        for used in used {
            add(days.entry(used.day()).or_default(), used);
            add(kinds.entry(used.kind()).or_default(), used);
            add(months.entry((used.tenant_or_none(), used.month())).or_default(), used);
        }
        for some in days.into_iter().collect::<Vec<_>>().chunks(AT_ONCE) {
            self.add_to_days(some).await?;
        }
        for some in kinds.into_iter().collect::<Vec<_>>().chunks(AT_ONCE) {
            self.add_to_sums(some).await?;
        }
        for some in months.into_iter().collect::<Vec<_>>().chunks(AT_ONCE) {
            self.add_to_months(some).await?;
        }
        Ok(())
    }

    async fn add_to_days(&mut self, days: &[(Day, Sums)]) -> Result<(), StoreError> {
        Ok(on_tx!(self, |c| {
            let mut upsert = QueryBuilder::new(
                "INSERT INTO usage_days (tenant_id, day, account_id, key_id, route, service, model, request_type, requests, \
                 tokens, cost) ",
            );
            upsert.push_values(days, |mut row, ((tenant, day, account, key, route, service, model, kind), sums)| {
                row.push_bind(*tenant).push_bind(day).push_bind(*account).push_bind(*key);
                row.push_bind(route).push_bind(service).push_bind(model).push_bind(kind);
                for sum in sums {
                    row.push_bind(*sum);
                }
            });
            upsert.push(
                " ON CONFLICT (tenant_id, day, account_id, key_id, route, service, model, request_type) DO UPDATE SET \
                 requests = usage_days.requests + excluded.requests, tokens = usage_days.tokens + excluded.tokens, \
                 cost = usage_days.cost + excluded.cost",
            );
            upsert.build().execute(c).await.map(drop)
        })?)
    }

    async fn add_to_sums(&mut self, kinds: &[(Kind, Sums)]) -> Result<(), StoreError> {
        Ok(on_tx!(self, |c| {
            let mut upsert = QueryBuilder::new(
                "INSERT INTO usage_sums (tenant_id, day, route, service, model, request_type, requests, tokens, cost) ",
            );
            upsert.push_values(kinds, |mut row, ((tenant, day, route, service, model, kind), sums)| {
                row.push_bind(*tenant).push_bind(day);
                row.push_bind(route).push_bind(service).push_bind(model).push_bind(kind);
                for sum in sums {
                    row.push_bind(*sum);
                }
            });
            upsert.push(
                " ON CONFLICT (tenant_id, day, route, service, model, request_type) DO UPDATE SET \
                 requests = usage_sums.requests + excluded.requests, tokens = usage_sums.tokens + excluded.tokens, \
                 cost = usage_sums.cost + excluded.cost",
            );
            upsert.build().execute(c).await.map(drop)
        })?)
    }

    async fn add_to_months(&mut self, months: &[((Uuid, String), Sums)]) -> Result<(), StoreError> {
        Ok(on_tx!(self, |c| {
            let mut upsert = QueryBuilder::new("INSERT INTO usage_months (tenant_id, month, requests, tokens, cost) ");
            upsert.push_values(months, |mut row, ((tenant, month), sums)| {
                row.push_bind(*tenant).push_bind(month);
                for sum in sums {
                    row.push_bind(*sum);
                }
            });
            upsert.push(
                " ON CONFLICT (tenant_id, month) DO UPDATE SET requests = usage_months.requests + excluded.requests, \
                 tokens = usage_months.tokens + excluded.tokens, cost = usage_months.cost + excluded.cost",
            );
            upsert.build().execute(c).await.map(drop)
        })?)
    }
}

// === impl Used ===

impl Used {
    fn tenant_or_none(&self) -> Uuid {
        self.tenant.map_or(Uuid::nil(), |tenant| tenant.uuid())
    }

    fn key_or_none(&self) -> Uuid {
        self.key.map_or(Uuid::nil(), |key| key.uuid())
    }

    fn day(&self) -> Day {
        let (tenant, day, route, service, model, kind) = self.kind();
        (tenant, day, self.account.uuid(), self.key_or_none(), route, service, model, kind)
    }

    fn kind(&self) -> Kind {
        let text = |text: &String| text.clone();
        (
            self.tenant_or_none(),
            self.at.format("%Y-%m-%d").to_string(),
            text(&self.route),
            text(&self.service),
            text(&self.model),
            text(&self.request_type),
        )
    }

    fn month(&self) -> String {
        self.at.format("%Y-%m").to_string()
    }
}
