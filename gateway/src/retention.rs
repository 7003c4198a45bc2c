//! Deletes what is kept no longer (`[retention]`), a little each hour, on every node: who comes second finds nothing to do.

use std::time::Duration;

use chrono::TimeDelta;
use store::{Store, StoreError};
use tokio::time::{MissedTickBehavior, interval};

use crate::{config::Retention, metrics::Metrics};

const EVERY: Duration = Duration::from_hours(1);

/// Deletes for as long as the process lives.
pub(crate) async fn keep_to(retention: Retention, store: Store, metrics: Metrics) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = forget(&retention, &store, &metrics).await {
            tracing::warn!(%error, "what is over could not be deleted; it is tried again in an hour");
        }
    }
}

async fn forget(retention: &Retention, store: &Store, metrics: &Metrics) -> Result<(), StoreError> {
    let before = |kept| store::clock::now() - TimeDelta::from_std(kept).unwrap_or(TimeDelta::MAX);
    let changes = store.forget_changes(before(retention.changes)).await?;
    metrics.store.forgotten.with_label_values(&["changes"]).inc_by(changes);
    let sessions = store.forget_sessions(before(retention.sessions)).await?;
    metrics.store.forgotten.with_label_values(&["sessions"]).inc_by(sessions);
    let mails = store.forget_mails(before(retention.mails)).await?;
    metrics.store.forgotten.with_label_values(&["mails"]).inc_by(mails);
    let attempts = store.forget_attempts(before(retention.attempts)).await?;
    metrics.store.forgotten.with_label_values(&["attempts"]).inc_by(attempts);
    Ok(())
}
