//! What was used: events, each counted once, and the totals that questions are answered from.
//!
//! An event is added together with its share of the totals of its day and month, in one transaction. Whoever does not know whether that
//! was done does it again: an id that is there counts nothing. The ids are kept for as long as the configuration says; what is
//! brought later than that would be counted twice, so nobody keeps a spool for longer.

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

/// Something that was used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageEvent {
    /// Its id; of several with one id the first counts.
    pub id: Uuid,
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
            let (mut days, mut kinds) = (BTreeMap::<Day, Sums>::new(), BTreeMap::<Kind, Sums>::new());
            let mut months = BTreeMap::<(Uuid, String), Sums>::new();
            let mut left = fresh.clone();
            for event in events.iter().filter(|event| left.remove(&event.id)) {
                add(days.entry(event.day()).or_default(), event);
                add(kinds.entry(event.kind()).or_default(), event);
                add(months.entry((event.tenant_or_none(), event.month())).or_default(), event);
            }
            for some in days.into_iter().collect::<Vec<_>>().chunks(AT_ONCE) {
                tx.add_to_days(some).await?;
            }
            for some in kinds.into_iter().collect::<Vec<_>>().chunks(AT_ONCE) {
                tx.add_to_sums(some).await?;
            }
            for some in months.into_iter().collect::<Vec<_>>().chunks(AT_ONCE) {
                tx.add_to_months(some).await?;
            }
            self.commit(tx, &[], now).await?;
            Ok::<_, StoreError>(fresh)
        })
        .await
    }
}

fn add(sums: &mut Sums, event: &UsageEvent) {
    for (sum, more) in sums.iter_mut().zip([event.requests, event.tokens, event.cost]) {
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
            insert.push_values(events, |mut row, event| {
                row.push_bind(event.id)
                    .push_bind(event.tenant_or_none())
                    .push_bind(event.account.uuid())
                    .push_bind(event.key_or_none())
                    .push_bind(stored(event.at))
                    .push_bind(stored(now))
                    .push_bind(&event.route)
                    .push_bind(&event.service)
                    .push_bind(&event.model)
                    .push_bind(&event.request_type)
                    .push_bind(event.requests)
                    .push_bind(event.tokens)
                    .push_bind(event.cost);
            });
            insert.push(" ON CONFLICT (id) DO NOTHING RETURNING id");
            insert.build_query_scalar::<Uuid>().fetch_all(c).await
        })?)
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

// === impl UsageEvent ===

impl UsageEvent {
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
