//! Where what services report is kept until it is counted: in the spool of the process that runs us, which needs no database.

use async_trait::async_trait;
use store::{StoreError, UsageEvent};

use crate::{error::ApiError, office::Office};

/// Keeps events until they are counted.
#[async_trait]
pub trait UsageSpool: Send + Sync {
    /// Once this is answered the event is on the disk, and counted whatever becomes of the process.
    async fn keep(&self, event: UsageEvent) -> Result<(), StoreError>;
}

// === impl Office ===

impl Office {
    /// Keeps an event, or counts it at once where nothing is kept.
    pub(crate) async fn keep_usage(&self, event: UsageEvent) -> Result<(), ApiError> {
        match &self.usage {
            Some(spool) => spool.keep(event).await?,
            None => drop(self.store.count_usage(&[event], self.now()).await?),
        }
        Ok(())
    }
}
