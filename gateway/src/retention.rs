//! Deletes what is kept no longer (`[retention]`), a little each hour, on every node: who comes second finds nothing to do. Seals the audit
//! trail each second.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use store::{Audit, StoreError};
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    config::{Retention, Settings},
    metrics::Metrics,
};

const EVERY: Duration = Duration::from_hours(1);
/// What anybody may begin without an account is kept no longer than this once it is over.
const BEGUN_KEPT: Duration = Duration::from_hours(1);
/// A payment provider may bring an event again for 30 days.
const PAYMENTS_KEPT: Duration = Duration::from_hours(35 * 24);
/// Months are billed up to three months later.
const BILLED_KEPT: Duration = Duration::from_hours(200 * 24);
/// Of what came after, a crash lets the end be cut off unseen.
const SEAL_EVERY: Duration = Duration::from_secs(1);

/// Deletes, and seals how far the audit trail has come, for as long as the process lives.
pub(crate) fn keep_to(settings: &Settings, audit: Arc<Audit>, metrics: Metrics) -> impl Future<Output = ()> + use<> {
    let kept = (settings.retention, settings.usage.retention);
    async move {
        tokio::join!(delete(kept, &audit, metrics), seal(&audit));
    }
}

async fn delete((retention, usage): (Retention, Duration), audit: &Audit, metrics: Metrics) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = forget(&retention, usage, audit, &metrics).await {
            tracing::warn!(%error, "what is over could not be deleted; it is tried again in an hour");
        }
    }
}

async fn seal(audit: &Audit) {
    let mut ticks = interval(SEAL_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = audit.seal().await {
            tracing::warn!(%error, "how far the audit trail has come could not be sealed; it is tried again in a second");
        }
    }
}

async fn forget(retention: &Retention, usage: Duration, audit: &Audit, metrics: &Metrics) -> Result<(), StoreError> {
    let store = audit.store();
    let before = |kept| store::clock::now() - TimeDelta::from_std(kept).unwrap_or(TimeDelta::MAX);
    let changes = store.forget_changes(before(retention.changes)).await?;
    metrics.store.forgotten.with_label_values(&["changes"]).inc_by(changes);
    let sessions = store.forget_sessions(before(retention.sessions)).await?;
    metrics.store.forgotten.with_label_values(&["sessions"]).inc_by(sessions);
    let mails = store.forget_mails(before(retention.mails)).await?;
    metrics.store.forgotten.with_label_values(&["mails"]).inc_by(mails);
    let begun = store.forget_begun(before(BEGUN_KEPT.min(retention.attempts))).await?;
    let attempts = begun + store.forget_attempts(before(retention.attempts)).await?;
    metrics.store.forgotten.with_label_values(&["attempts"]).inc_by(attempts);
    let events = audit.forget(before(retention.audit)).await?;
    metrics.store.forgotten.with_label_values(&["audit"]).inc_by(events);
    let attempts = store.forget_quotas(before(retention.attempts)).await?;
    metrics.store.forgotten.with_label_values(&["reservations"]).inc_by(attempts);
    let billed = store.forget_payments(before(PAYMENTS_KEPT)).await? + store.forget_billed(before(BILLED_KEPT)).await?;
    metrics.store.forgotten.with_label_values(&["billing"]).inc_by(billed);
    let events = store.forget_usage(before(usage)).await?;
    let totals = store.forget_usage_days(before(retention.usage)).await?;
    metrics.store.forgotten.with_label_values(&["usage"]).inc_by(events + totals);
    Ok(())
}
