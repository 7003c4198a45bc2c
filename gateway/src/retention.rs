//! Deletes what is kept no longer (`[retention]`), a little each hour, on every node: who comes second finds nothing to do.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use store::{Audit, Store, StoreError};
use tokio::time::{MissedTickBehavior, interval};

use crate::{config::Retention, metrics::Metrics};

const EVERY: Duration = Duration::from_hours(1);

/// Deletes for as long as the process lives.
pub(crate) async fn keep_to(retention: Retention, store: Store, audit: Arc<Audit>, metrics: Metrics) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = forget(&retention, &store, &audit, &metrics).await {
            tracing::warn!(%error, "what is over could not be deleted; it is tried again in an hour");
        }
    }
}

/// Seals how far the audit trail has come, each second that it went on, for as long as the process lives.
pub(crate) async fn seal_audit(audit: Arc<Audit>) {
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = audit.seal().await {
            tracing::warn!(%error, "how far the audit trail has come could not be sealed; it is tried again in a second");
        }
    }
}

async fn forget(retention: &Retention, store: &Store, audit: &Audit, metrics: &Metrics) -> Result<(), StoreError> {
    let before = |kept| store::clock::now() - TimeDelta::from_std(kept).unwrap_or(TimeDelta::MAX);
    let changes = store.forget_changes(before(retention.changes)).await?;
    metrics.store.forgotten.with_label_values(&["changes"]).inc_by(changes);
    let sessions = store.forget_sessions(before(retention.sessions)).await?;
    metrics.store.forgotten.with_label_values(&["sessions"]).inc_by(sessions);
    let mails = store.forget_mails(before(retention.mails)).await?;
    metrics.store.forgotten.with_label_values(&["mails"]).inc_by(mails);
    let attempts = store.forget_attempts(before(retention.attempts)).await?;
    metrics.store.forgotten.with_label_values(&["attempts"]).inc_by(attempts);
    let events = audit.forget(before(retention.audit)).await?;
    metrics.store.forgotten.with_label_values(&["audit"]).inc_by(events);
    Ok(())
}
