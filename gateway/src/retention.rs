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
        forget(&retention, usage, audit, &metrics).await;
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

/// Each kind by itself: what one of them fails at keeps none of the others.
async fn forget(retention: &Retention, usage: Duration, audit: &Audit, metrics: &Metrics) {
    let store = audit.store();
    let before = |kept| store::clock::now() - TimeDelta::from_std(kept).unwrap_or(TimeDelta::MAX);
    let counted = |what: &str, forgotten: Result<u64, StoreError>| match forgotten {
        Ok(forgotten) => metrics.store.forgotten.with_label_values(&[what]).inc_by(forgotten),
        Err(error) => tracing::warn!(what, %error, "what is over could not be deleted; it is tried again in an hour"),
    };
    counted("changes", store.forget_changes(before(retention.changes)).await);
    counted("sessions", store.forget_sessions(before(retention.sessions)).await);
    counted("mails", store.forget_mails(before(retention.mails)).await);
    counted("attempts", store.forget_begun(before(BEGUN_KEPT.min(retention.attempts))).await);
    counted("attempts", store.forget_attempts(before(retention.attempts)).await);
    counted("audit", audit.forget(before(retention.audit)).await);
    counted("reservations", store.forget_quotas(before(retention.attempts)).await);
    counted("billing", store.forget_payments(before(PAYMENTS_KEPT)).await);
    counted("billing", store.forget_billed(before(BILLED_KEPT)).await);
    counted("usage", store.forget_usage(before(usage)).await);
    counted("usage", store.forget_usage_days(before(retention.usage)).await);
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use identity::{MasterKey, SealKeys};
    use uuid::Uuid;

    use super::*;
    use crate::directory::tests::House;

    #[tokio::test]
    async fn what_is_deleted_is_counted_by_its_kind() {
        let house = House::open().await;
        let seal = SealKeys::new(MasterKey::generate(&mut rand::rng()), Vec::new());
        let audit = Audit::new(house.store.clone(), Arc::new(seal));
        let (day, year) = (Duration::from_hours(24), Duration::from_hours(365 * 24));
        let counted_at = store::clock::now() - TimeDelta::days(2);
        for batch in [1, 2] {
            assert!(house.store.count_batch(Uuid::from_u128(batch), &[], counted_at).await.unwrap());
        }
        let retention =
            Retention { changes: year, sessions: year, mails: year, attempts: year, audit: year, usage: year };
        forget(&retention, day, &audit, &house.metrics).await;
        let forgotten = |kind: &str| house.metrics.store.forgotten.with_label_values(&[kind]).get();
        assert_eq!((forgotten("usage"), forgotten("changes")), (2, 0));
    }
}
