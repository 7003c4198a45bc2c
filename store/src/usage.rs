//! What was used: events, each counted once, and the totals that questions are answered from.
//!
//! An event is added together with its share of the totals of its day and month, in one transaction. Whoever does not know whether that
//! was done does it again: an id that is there counts nothing. What the door itself has counted is no event but sums, many at once, and
//! the batch has the id: a busy door would fill the table of events with what the totals say as well. The ids are kept for as long as
//! the configuration says; what is brought later than that would be counted twice, so nobody keeps a spool for longer.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use identity::{AccountId, KeyId, TenantId};
use serde::{Deserialize, Serialize};
use sqlx::QueryBuilder;
use uuid::Uuid;

use crate::{
    Store, StoreError,
    db::{Tx, on_tx, stored},
    sums::added_to,
};

mod claim;
mod read;

pub use claim::Misplaced;
pub use read::{UsageAsked, UsageBy, UsagePage, UsageTotal};

/// Rows of one statement: SQLite takes 32,766 parameters, and a row has 13.
const AT_ONCE: usize = 500;
/// What every table of totals adds up.
const COUNTED: [&str; 3] = ["requests", "tokens", "cost"];

/// Something that was used, once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageEvent {
    /// Its id; of several with one id the first counts.
    pub id: Uuid,
    /// What.
    #[serde(flatten)]
    pub used: Used,
    /// Does only a service say whose it was? Then that is looked up before it is counted, and it is not if that is not so.
    pub is_claim: bool,
}

/// What was used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
/// Requests, tokens, millionths, and how many of these are on a bill already.
type Sum = [i64; 4];

/// What is added to the totals of days and months, in the order in which every node adds it: two that met halfway would wait
/// for each other.
#[derive(Default)]
pub(crate) struct Sums {
    days: BTreeMap<Day, Sum>,
    kinds: BTreeMap<Kind, Sum>,
    /// Of these what came by no key.
    keyless: BTreeMap<Kind, Sum>,
    months: BTreeMap<(Uuid, String), Sum>,
}

// === impl Store ===

impl Store {
    /// Adds events and counts those that are new; says which those were. All of it or nothing.
    pub async fn count_usage(&self, events: &[UsageEvent], now: DateTime<Utc>) -> Result<BTreeSet<Uuid>, StoreError> {
        if !events.iter().any(|event| event.is_claim) {
            return self.count_placed(events, now).await;
        }
        let mut placed = Vec::with_capacity(events.len());
        for event in events {
            placed.extend(self.placed(event).await?);
        }
        self.count_placed(&placed, now).await
    }

    /// The event with its tenant, unless what is said of it is not so.
    async fn placed(&self, event: &UsageEvent) -> Result<Option<UsageEvent>, StoreError> {
        if !event.is_claim {
            return Ok(Some(event.clone()));
        }
        let tenant = self.place_usage(&event.used).await?;
        if let Err(misplaced) = tenant {
            tracing::warn!(event = %event.id, ?misplaced, "a service has said of somebody's use what is not so; it is not counted");
        }
        let used = |tenant| Used { tenant, ..event.used.clone() };
        Ok(tenant.ok().map(|tenant| UsageEvent { id: event.id, used: used(tenant), is_claim: false }))
    }

    async fn count_placed(&self, events: &[UsageEvent], now: DateTime<Utc>) -> Result<BTreeSet<Uuid>, StoreError> {
        // In one order on every node, as the totals are.
        let mut events: Vec<&UsageEvent> = events.iter().collect();
        events.sort_by_key(|event| event.id);
        self.bounded(async {
            let mut tx = self.begin().await?;
            let mut fresh = BTreeSet::new();
            for some in events.chunks(AT_ONCE) {
                fresh.extend(tx.add_usage(some, now).await?);
            }
            let (mut sums, mut left) = (Sums::default(), fresh.clone());
            for event in events.iter().filter(|event| left.remove(&event.id)) {
                sums.add(&event.used, false);
            }
            tx.add_sums(sums).await?;
            self.commit(tx).await?;
            Ok::<_, StoreError>(fresh)
        })
        .await
    }

    /// Counts what a batch says, unless a batch of this id was counted before; says if it was counted now. All of it or nothing.
    pub async fn count_batch(&self, batch: Uuid, used: &[Used], now: DateTime<Utc>) -> Result<bool, StoreError> {
        self.count_part(batch, batch, used, now).await
    }

    /// The same of a part of a batch that was taken apart, unless the whole was counted before. The whole must not be brought after it.
    pub async fn count_part(
        &self,
        part: Uuid,
        whole: Uuid,
        used: &[Used],
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        self.bounded(async {
            let mut tx = self.begin().await?;
            let is_new = tx.add_batch(part, whole, now).await?;
            if is_new {
                let mut sums = Sums::default();
                for used in used {
                    sums.add(used, false);
                }
                tx.add_sums(sums).await?;
            }
            self.commit(tx).await?;
            Ok::<_, StoreError>(is_new)
        })
        .await
    }
}

// === impl Sums ===

impl Sums {
    /// Adds what is not counted yet; `is_billed`: its cost is on no bill of ours.
    pub(crate) fn add(&mut self, used: &Used, is_billed: bool) {
        let more = [used.requests, used.tokens, used.cost, if is_billed { used.cost } else { 0 }];
        let day = self.days.entry(used.day()).or_default();
        let kind = self.kinds.entry(used.kind()).or_default();
        let month = self.months.entry((used.tenant_or_none(), used.month())).or_default();
        let keyless = used.key.is_none().then(|| self.keyless.entry(used.kind()).or_default());
        for sum in [day, kind, month].into_iter().chain(keyless) {
            for (sum, more) in sum.iter_mut().zip(more) {
                *sum = sum.saturating_add(more);
            }
        }
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
            insert.push_values(events, |mut row, UsageEvent { id, used, .. }| {
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

    /// Is it new, and not part of what is not?
    async fn add_batch(&mut self, part: Uuid, whole: Uuid, now: DateTime<Utc>) -> Result<bool, StoreError> {
        const INSERT: &str = "INSERT INTO usage_batches (id, counted_at) SELECT $1, $2 \
                              WHERE NOT EXISTS (SELECT 1 FROM usage_batches WHERE id = $3) ON CONFLICT (id) DO NOTHING";
        let added = on_tx!(self, |c| sqlx::query(INSERT)
            .bind(part)
            .bind(stored(now))
            .bind(whole)
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(added > 0)
    }

    pub(crate) async fn add_sums(&mut self, sums: Sums) -> Result<(), StoreError> {
        for some in sums.days.into_iter().collect::<Vec<_>>().chunks(AT_ONCE) {
            self.add_to_days(some).await?;
        }
        for (table, sums) in [("usage_sums", sums.kinds), ("usage_keyless", sums.keyless)] {
            for some in sums.into_iter().collect::<Vec<_>>().chunks(AT_ONCE) {
                self.add_to_kinds(table, some).await?;
            }
        }
        for some in sums.months.into_iter().collect::<Vec<_>>().chunks(AT_ONCE) {
            self.add_to_months(some).await?;
        }
        Ok(())
    }

    async fn add_to_days(&mut self, days: &[(Day, Sum)]) -> Result<(), StoreError> {
        Ok(on_tx!(self, |c| {
            let mut upsert = QueryBuilder::new(
                "INSERT INTO usage_days (tenant_id, day, account_id, key_id, route, service, model, request_type, requests, \
                 tokens, cost) ",
            );
            upsert.push_values(days, |mut row, ((tenant, day, account, key, route, service, model, kind), sums)| {
                row.push_bind(*tenant).push_bind(day).push_bind(*account).push_bind(*key);
                row.push_bind(route).push_bind(service).push_bind(model).push_bind(kind);
                for sum in &sums[..3] {
                    row.push_bind(*sum);
                }
            });
            upsert.push(
                " ON CONFLICT (tenant_id, day, account_id, key_id, route, service, model, request_type) DO UPDATE SET ",
            );
            upsert.push(added_to("usage_days", &COUNTED));
            upsert.build().execute(c).await.map(drop)
        })?)
    }

    async fn add_to_kinds(&mut self, table: &'static str, kinds: &[(Kind, Sum)]) -> Result<(), StoreError> {
        let insert = format!(
            "INSERT INTO {table} AS held (tenant_id, day, route, service, model, request_type, requests, tokens, cost) "
        );
        Ok(on_tx!(self, |c| {
            let mut upsert = QueryBuilder::new(insert);
            upsert.push_values(kinds, |mut row, ((tenant, day, route, service, model, kind), sums)| {
                row.push_bind(*tenant).push_bind(day);
                row.push_bind(route).push_bind(service).push_bind(model).push_bind(kind);
                for sum in &sums[..3] {
                    row.push_bind(*sum);
                }
            });
            upsert.push(" ON CONFLICT (tenant_id, day, route, service, model, request_type) DO UPDATE SET ");
            upsert.push(added_to("held", &COUNTED));
            upsert.build().execute(c).await.map(drop)
        })?)
    }

    async fn add_to_months(&mut self, months: &[((Uuid, String), Sum)]) -> Result<(), StoreError> {
        Ok(on_tx!(self, |c| {
            let mut upsert = QueryBuilder::new(
                "INSERT INTO usage_months (tenant_id, month, requests, tokens, cost, billed, \
                 summed_requests, summed_tokens, summed_cost) ",
            );
            upsert.push_values(months, |mut row, ((tenant, month), sums)| {
                row.push_bind(*tenant).push_bind(month);
                for sum in sums.iter().chain(&sums[..3]) {
                    row.push_bind(*sum);
                }
            });
            upsert.push(" ON CONFLICT (tenant_id, month) DO UPDATE SET ");
            upsert.push(added_to("usage_months", &COUNTED)).push(", ");
            upsert.push(added_to("usage_months", &["billed", "summed_requests", "summed_tokens", "summed_cost"]));
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
