//! Bills: makes each month's statements once the month is over, and tells others of them.
//!
//! Every gateway does so; which of them makes a statement, or carries a webhook, the database decides.

mod post;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use chrono::{DateTime, Datelike, Months, NaiveDate, TimeDelta, Utc};
use policies::{Tiers, money::MICROS, tiers::Period};
use serde_json::json;
use store::{Charge, Statement, Store, StoreError, Unbilled};
use tokio::time::{MissedTickBehavior, interval};

use self::post::Post;
use crate::{config::BillingSettings, snapshot::Snapshot};

/// How often somebody looks whether a month is over.
const EVERY: Duration = Duration::from_mins(10);
/// Months back that are billed if nobody was there to do it in time.
const BACK: u32 = 3;
/// Tenants that are looked up at once.
const AT_ONCE: u32 = 100;
/// Millionths in a hundredth.
const CENT: i64 = MICROS / 100;
/// The tier of tenants that have none: that of whoever registers.
const DEFAULT_TIER: &str = "free";

pub(crate) struct Billing {
    store: Store,
    rules: Arc<ArcSwap<Snapshot>>,
    settings: BillingSettings,
}

// === impl Billing ===

impl Billing {
    pub(crate) fn new(store: &Store, rules: &Arc<ArcSwap<Snapshot>>, settings: &BillingSettings) -> Self {
        Self { store: store.clone(), rules: Arc::clone(rules), settings: settings.clone() }
    }

    /// For as long as the process lives.
    pub(crate) async fn keep(self) {
        if !self.settings.enabled {
            return;
        }
        let post = self.settings.webhook.clone().map(|webhook| Post::new(self.store.clone(), webhook));
        let posting = async {
            if let Some(post) = post {
                post.carry().await;
            }
        };
        tokio::join!(self.bill(), posting);
    }

    async fn bill(&self) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = self.bill_once(store::clock::now()).await {
                tracing::warn!(%error, "statements could not be made; it is tried again in ten minutes");
            }
        }
    }

    /// Every month that is over and has had its time of grace, the oldest first.
    async fn bill_once(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        let this = now.date_naive().with_day(1).unwrap_or_default();
        for back in (1..=BACK).rev() {
            let Some((first, end)) = month(this, back) else { continue };
            if now - end < TimeDelta::from_std(self.settings.grace).unwrap_or(TimeDelta::MAX) {
                continue;
            }
            loop {
                let unbilled = self.store.unbilled(&name(first), end, AT_ONCE).await?;
                for tenant in &unbilled {
                    self.bill_tenant(tenant, first, now).await?;
                }
                if unbilled.len() < AT_ONCE as usize {
                    break;
                }
            }
        }
        self.store.note_overdue(now).await.map(drop)
    }

    async fn bill_tenant(&self, tenant: &Unbilled, first: NaiveDate, now: DateTime<Utc>) -> Result<(), StoreError> {
        let tier = tenant.tier.as_deref().unwrap_or(DEFAULT_TIER);
        let due = TimeDelta::from_std(self.settings.due).unwrap_or_default();
        let charge = Charge {
            tenant: tenant.tenant_id.into(),
            month: name(first),
            tier: tier.to_owned(),
            currency: self.settings.currency.clone(),
            price: if tenant.was_there { price(&self.rules.load().policy.tiers, tier, first) } else { 0 },
            due_at: now + due,
            now,
        };
        let is_told = self.settings.webhook.is_some();
        let tell = |statement: &Statement| is_told.then(|| told("billing.statement.closed", statement));
        if let Some(statement) = self.store.bill(&charge, tell).await? {
            tracing::info!(tenant = %statement.tenant_id, month = statement.month, "a statement was made");
        }
        Ok(())
    }
}

/// The month so many before `this`, by its first day, and when it ended.
fn month(this: NaiveDate, back: u32) -> Option<(NaiveDate, DateTime<Utc>)> {
    let first = this.checked_sub_months(Months::new(back))?;
    let end = first.checked_add_months(Months::new(1))?.and_hms_opt(0, 0, 0)?;
    Some((first, end.and_utc()))
}

fn name(first: NaiveDate) -> String {
    first.format("%Y-%m").to_string()
}

/// What a tier costs in a month, in millionths. A year's price is shared out so that its months add up to it exactly.
fn price(tiers: &Tiers, tier: &str, first: NaiveDate) -> i64 {
    let Some(price) = tiers.get(tier).and_then(|tier| tier.price.clone()) else { return 0 };
    let micros = i64::try_from(price.cents).unwrap_or(i64::MAX).saturating_mul(CENT);
    match price.period {
        Period::Month => micros,
        Period::Year => {
            let until = |month: u32| i128::from(micros) * i128::from(month) / 12;
            (until(first.month()) - until(first.month0())) as i64
        }
    }
}

/// What others hear.
fn told(kind: &str, statement: &Statement) -> String {
    json!({
        "type": kind,
        "timestamp": statement.closed_at,
        "data": {
            "statement_id": statement.id,
            "tenant_id": statement.tenant_id,
            "month": statement.month,
            "tier": statement.tier,
            "currency": statement.currency,
            // Whole millionths, which any receiver reads exactly.
            "price_micros": statement.price.to_string(),
            "usage_micros": statement.usage.to_string(),
            "payment_status": statement.status,
            "due_at": statement.due_at,
        },
    })
    .to_string()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use policies::{Price, Tier};

    use super::*;

    fn first(month: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(2026, month, 1).unwrap()
    }

    #[test]
    fn the_months_of_a_year_add_up_to_its_price() {
        let tier =
            |name: &str, price: &str| Tier { name: name.into(), price: Price::parse(price).ok(), ..Tier::default() };
        let tiers = Tiers::new([tier("a", "299.90 USD/year"), tier("b", "29 USD/month"), tier("c", "")]);
        let months = (1..=12).map(|month| price(&tiers, "a", first(month)));
        assert_eq!(months.clone().sum::<i64>(), 299_900_000);
        assert!(months.clone().max().unwrap() - months.min().unwrap() <= 1);
        assert_eq!(price(&tiers, "b", first(2)), 29_000_000);
        assert_eq!((price(&tiers, "c", first(2)), price(&tiers, "d", first(2))), (0, 0));
    }

    #[test]
    fn a_month_ends_where_the_next_begins() {
        let (january, end) = month(first(3), 2).unwrap();
        assert_eq!((name(january), end.to_rfc3339()), ("2026-01".to_owned(), "2026-02-01T00:00:00+00:00".to_owned()));
        assert_eq!(name(month(first(1), 1).unwrap().0), "2025-12");
    }
}
