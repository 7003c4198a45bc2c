//! What services report of somebody's use: handed to the writer, and answered once the disk keeps it.

use admin_api::UsageSpool;
use async_trait::async_trait;
use parking_lot::Mutex;
use store::{StoreError, UsageEvent};
use tokio::sync::oneshot;

use super::Usage;

/// Told when an event is kept; dropped when it is not.
pub(super) type Kept = oneshot::Sender<()>;

/// Reports that wait for the writer. `None`: there is none, or no longer.
#[derive(Default)]
pub(super) struct Reports(Mutex<Option<Vec<(UsageEvent, Kept)>>>);

// === impl Reports ===

impl Reports {
    pub(super) fn open() -> Self {
        Self(Mutex::new(Some(Vec::new())))
    }

    /// Those that have come since the last time.
    pub(super) fn take(&self) -> (Vec<UsageEvent>, Vec<Kept>) {
        self.0.lock().as_mut().map(std::mem::take).unwrap_or_default().into_iter().unzip()
    }

    /// Nobody writes any more: whoever waits hears that nothing was kept.
    pub(super) fn close(&self) {
        *self.0.lock() = None;
    }
}

#[async_trait]
impl UsageSpool for Usage {
    async fn keep(&self, event: UsageEvent) -> Result<(), StoreError> {
        let (kept, hears) = oneshot::channel();
        if let Some(reports) = &mut *self.reports.0.lock() {
            reports.push((event, kept));
        }
        hears.await.map_err(|_| StoreError::Unavailable("the spool of usage takes nothing".to_owned()))
    }
}
