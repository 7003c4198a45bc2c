//! Bills: makes each month's statements once the month is over, and tells others of them.
//!
//! Every gateway does so; which of them makes a statement, or carries a webhook, the database decides.

mod post;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveTime, TimeDelta, Utc};
use policies::{Tiers, money::MICROS, tiers::Period};
use serde_json::json;
use store::{Audit, AuditEvent, BillingMonth, Charge, Statement, Store, StoreError, Unbilled};
use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;

use self::post::Post;
use crate::{config::BillingSettings, foundation::of_command, office::DEFAULT_TIER, snapshot::Snapshot};

/// How often somebody looks whether a month is over.
const EVERY: Duration = Duration::from_mins(10);
/// Months back that are billed if nobody was there to do it in time.
const BACK: u32 = 3;
/// Tenants that are looked up at once.
const AT_ONCE: u32 = 100;
/// Millionths in a hundredth.
const CENT: i64 = MICROS / 100;

pub(crate) struct Billing {
    store: Store,
    audit: Arc<Audit>,
    rules: Arc<ArcSwap<Snapshot>>,
    settings: BillingSettings,
    /// Tiers that tenants have had and tiers.toml has not: somebody was warned of these.
    unpriced: BTreeSet<String>,
}

// === impl Billing ===

impl Billing {
    pub(crate) fn new(audit: &Arc<Audit>, rules: &Arc<ArcSwap<Snapshot>>, settings: &BillingSettings) -> Self {
        let store = audit.store().clone();
        Self {
            store,
            audit: Arc::clone(audit),
            rules: Arc::clone(rules),
            settings: settings.clone(),
            unpriced: BTreeSet::new(),
        }
    }

    /// For as long as the process lives.
    pub(crate) async fn keep(mut self) {
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

    async fn bill(&mut self) {
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
    async fn bill_once(&mut self, now: DateTime<Utc>) -> Result<(), StoreError> {
        let this = now.date_naive().with_day(1).unwrap_or_default();
        if let Err(error) = self.store.charge_accounts().await {
            tracing::warn!(%error, "what was used in no tenant's name is not billed yet");
        }
        for back in (1..=BACK).rev() {
            let Some((first, month)) = month(this, back) else { continue };
            if now - month.ends < TimeDelta::from_std(self.settings.grace).unwrap_or(TimeDelta::MAX) {
                continue;
            }
            for are_gone in [false, true] {
                self.bill_month(first, &month, are_gone, now).await?;
            }
        }
        for id in self.store.note_overdue(now).await? {
            self.write_down(of_command("mark_overdue", Some(id))).await;
        }
        Ok(())
    }

    /// Bills all of those that are there, or are not, some at a time; whom it fails for is found again at the next tick.
    async fn bill_month(
        &mut self,
        first: NaiveDate,
        month: &BillingMonth,
        are_gone: bool,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let mut after = Uuid::nil();
        loop {
            let unbilled = if are_gone {
                self.store.unbilled_gone(month, after, AT_ONCE).await?
            } else {
                self.store.unbilled(month, after, AT_ONCE).await?
            };
            for one in &unbilled {
                if let Err(error) = self.bill_tenant(one, first, month, now).await {
                    tracing::warn!(%error, tenant = %one.tenant_id, month = month.name, "a statement could not be made");
                }
                after = one.tenant_id;
            }
            if unbilled.len() < AT_ONCE as usize {
                return Ok(());
            }
        }
    }

    async fn bill_tenant(
        &mut self,
        unbilled: &Unbilled,
        first: NaiveDate,
        month: &BillingMonth,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let tenant = unbilled.tenant_id.into();
        let had = self.store.tiers_within(tenant, month).await?;
        let (tier, price) = match dearest(&self.rules.load().policy.tiers, &had, first) {
            Ok(dearest) => dearest,
            Err(unpriced) => {
                if self.unpriced.insert(unpriced.to_owned()) {
                    tracing::warn!(
                        tier = unpriced,
                        "tiers.toml has no such tier: who has had it is not billed until it has"
                    );
                }
                return Ok(());
            }
        };
        let due = TimeDelta::from_std(self.settings.due).unwrap_or_default();
        let charge = Charge {
            tenant,
            name: unbilled.name.clone(),
            month: month.name.clone(),
            tier,
            currency: self.settings.currency.clone(),
            price: if unbilled.was_there { price } else { 0 },
            due_at: now + due,
            now,
        };
        let is_told = self.settings.webhook.is_some();
        let tell = |statement: &Statement| is_told.then(|| told("billing.statement.closed", statement));
        let Some(statement) = self.store.bill(&charge, tell).await? else { return Ok(()) };
        tracing::info!(tenant = %statement.tenant_id, month = statement.month, "a statement was made");
        if statement.status == "open" {
            let details = json!({ "tenant_id": statement.tenant_id, "month": statement.month }).to_string();
            let event = of_command("make_statement", Some(statement.id));
            self.write_down(AuditEvent { details: Some(details), ..event }).await;
        }
        Ok(())
    }

    async fn write_down(&self, event: AuditEvent) {
        if let Err(error) = self.audit.add(event).await {
            tracing::error!(%error, "an event is missing in the audit trail");
        }
    }
}

/// The month so many before `this`, and its first day.
fn month(this: NaiveDate, back: u32) -> Option<(NaiveDate, BillingMonth)> {
    let first = this.checked_sub_months(Months::new(back))?;
    let end = first.checked_add_months(Months::new(1))?;
    let [begins, ends] = [first, end].map(|day| day.and_time(NaiveTime::MIN).and_utc());
    Some((first, BillingMonth { name: first.format("%Y-%m").to_string(), begins, ends }))
}

/// Of the tiers that a tenant had in a month the dearest, and what it costs: whoever moves on its last day has had it. Or the one of which
/// nobody can say what it costs.
fn dearest<'a>(tiers: &Tiers, had: &'a [String], first: NaiveDate) -> Result<(String, i64), &'a str> {
    let named = had.iter().map(|tier| if tier.is_empty() { DEFAULT_TIER } else { tier.as_str() });
    let priced = named.map(|tier| price(tiers, tier, first).map(|price| (tier.to_owned(), price)).ok_or(tier));
    let priced = priced.collect::<Result<Vec<_>, _>>()?;
    Ok(priced.into_iter().max_by_key(|(_, price)| *price).unwrap_or_else(|| (DEFAULT_TIER.to_owned(), 0)))
}

/// What a tier costs in a month, in millionths; `None`: there is no such tier. A year's price is shared out so that its months add up to it
/// exactly.
fn price(tiers: &Tiers, tier: &str, first: NaiveDate) -> Option<i64> {
    let Some(price) = &tiers.get(tier)?.price else { return Some(0) };
    let micros = i64::try_from(price.cents).unwrap_or(i64::MAX).saturating_mul(CENT);
    Some(match price.period {
        Period::Month => micros,
        Period::Year => {
            let until = |month: u32| i128::from(micros) * i128::from(month) / 12;
            (until(first.month()) - until(first.month0())) as i64
        }
    })
}

/// What others hear.
fn told(kind: &str, statement: &Statement) -> String {
    json!({
        "type": kind,
        "timestamp": statement.closed_at,
        "data": {
            "statement_id": statement.id,
            "tenant_id": statement.tenant_id,
            "tenant_name": statement.tenant_name,
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
        let months = (1..=12).filter_map(|month| price(&tiers, "a", first(month)));
        assert_eq!(months.clone().sum::<i64>(), 299_900_000);
        assert!(months.clone().max().unwrap() - months.min().unwrap() <= 1);
        assert_eq!(["b", "c", "d"].map(|tier| price(&tiers, tier, first(2))), [Some(29_000_000), Some(0), None]);
    }

    #[test]
    fn a_month_ends_where_the_next_begins() {
        let (day, january) = month(first(3), 2).unwrap();
        assert_eq!((day, &*january.name), (first(1), "2026-01"));
        let [begins, ends] = [january.begins, january.ends].map(|time| time.to_rfc3339());
        assert_eq!([&*begins, &*ends], ["2026-01-01T00:00:00+00:00", "2026-02-01T00:00:00+00:00"]);
        assert_eq!(month(first(1), 1).unwrap().1.name, "2025-12");
    }

    #[test]
    fn of_the_tiers_of_a_month_the_dearest_is_billed() {
        let tier =
            |name: &str, price: &str| Tier { name: name.into(), price: Price::parse(price).ok(), ..Tier::default() };
        let tiers = Tiers::new([tier("free", ""), tier("pro", "29 USD/month"), tier("basic", "9 USD/month")]);
        let billed = |had: &[&str]| {
            let had: Vec<String> = had.iter().map(|tier| (*tier).to_owned()).collect();
            dearest(&tiers, &had, first(1)).map_err(str::to_owned)
        };
        let free = Ok(("free".to_owned(), 0));
        assert_eq!(billed(&["basic", "pro", "free"]), Ok(("pro".to_owned(), 29_000_000)));
        assert_eq!(billed(&["", "pro", "gone"]), Err("gone".to_owned()), "it may have been dearer");
        assert_eq!(billed(&[]), free);
        assert_eq!(billed(&[""]), free, "of none it is that of whoever registers");
    }
}
