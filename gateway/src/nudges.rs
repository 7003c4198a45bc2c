//! What gateways on one database tell each other by Redis: that something has changed, so that it is heard in milliseconds.
//!
//! Nothing depends on it. What has changed stands in the database; a message that is lost, or a Redis that is away, frozen or
//! empty, is made good by the feed's own poll a second later (DESIGN §5, §6). So messages carry nothing, and nobody can tell a
//! gateway anything false by them.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::StreamExt;
use prometheus::IntGauge;
use redis::{AsyncCommands, Client, ConnectionInfo, IntoConnectionInfo, RedisError, aio::MultiplexedConnection};
use tokio::{
    sync::{Notify, watch},
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use crate::{config::Shared, feed::Feed, readiness::Readiness};

/// How often Redis is asked whether it is there.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_millis(500);

/// The way to the other gateways.
pub(crate) struct Nudges {
    client: Client,
    channel: String,
    /// What this process changes.
    own: watch::Receiver<u64>,
    /// Wakes the feed.
    told: Arc<Notify>,
    readiness: Arc<Readiness>,
    healthy: IntGauge,
}

// === impl Nudges ===

impl Nudges {
    /// `None` when nothing is shared. `own` counts the changes of this process.
    pub(crate) fn new(shared: &Shared, own: watch::Receiver<u64>, feed: &Feed) -> Option<Self> {
        // The parser has read the address already.
        let client = Client::open(without_delay(shared.redis.as_deref()?).ok()?).ok()?;
        Some(Self {
            client,
            channel: format!("{}:changes", shared.prefix),
            own,
            told: Arc::clone(&feed.told),
            readiness: Arc::clone(&feed.readiness),
            healthy: feed.metrics.feed.redis_healthy.clone(),
        })
    }

    /// Tells and hears for as long as the process lives.
    pub(crate) async fn carry(self) {
        let mut own = self.own.clone();
        tokio::join!(self.tell(&mut own), self.hear());
    }

    async fn tell(&self, own: &mut watch::Receiver<u64>) {
        let mut ticks = interval(ASK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut connection = None;
        loop {
            let changed = tokio::select! {
                alive = own.changed() => if alive.is_ok() { true } else { return },
                _ = ticks.tick() => false,
            };
            let said = self.say(&mut connection, changed).await;
            if let Err(error) = &said {
                // Another one is made next time; the others poll meanwhile.
                connection = None;
                tracing::debug!(error, "Redis does not answer");
            }
            self.note(said.is_ok());
        }
    }

    /// Publishes that something has changed, or only asks whether anybody is there.
    async fn say(&self, kept: &mut Option<MultiplexedConnection>, changed: bool) -> Result<(), String> {
        let said = async {
            let connection = match kept {
                Some(connection) => connection,
                None => kept.insert(self.client.get_multiplexed_async_connection().await?),
            };
            if changed {
                connection.publish::<_, _, ()>(&self.channel, "").await
            } else {
                redis::cmd("PING").query_async(connection).await
            }
        };
        let said: Result<Result<(), RedisError>, _> = timeout(PATIENCE, said).await;
        said.map_err(|_| format!("no answer within {PATIENCE:?}"))?.map_err(|error| error.to_string())
    }

    async fn hear(&self) {
        loop {
            if let Err(error) = self.listen().await {
                tracing::debug!(%error, "what other gateways change is heard by polling for now");
            }
            sleep(ASK_EVERY).await;
        }
    }

    async fn listen(&self) -> Result<(), RedisError> {
        let mut subscription = self.client.get_async_pubsub().await?;
        subscription.subscribe(&self.channel).await?;
        // What was said before this has been missed.
        self.told.notify_one();
        let mut messages = subscription.into_on_message();
        while messages.next().await.is_some() {
            self.told.notify_one();
        }
        Ok(())
    }

    fn note(&self, healthy: bool) {
        self.healthy.set(i64::from(healthy));
        if self.readiness.shared_away.swap(!healthy, Ordering::Relaxed) == healthy {
            tracing::warn!(healthy, "Redis");
        }
    }
}

/// A message is a few bytes, and must not wait for more.
pub(crate) fn without_delay(address: &str) -> Result<ConnectionInfo, RedisError> {
    let info = address.into_connection_info()?;
    let settings = info.tcp_settings().clone().set_nodelay(true);
    Ok(info.set_tcp_settings(settings))
}
