//! What gateways on one database tell each other by Redis: that something has changed, so that it is heard in milliseconds.
//!
//! Nothing depends on it. What has changed stands in the database; a message that is lost, or a Redis that is away, frozen or
//! empty, is made good by the feed's own poll a second later (DESIGN §5, §6). So messages carry nothing, and nobody can tell a
//! gateway anything false by them.

use std::{
    convert::Infallible,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::StreamExt;
use parking_lot::Mutex;
use prometheus::IntGauge;
use redis::{AsyncCommands, RedisError, aio::MultiplexedConnection};
use tokio::{
    sync::{Notify, watch},
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use crate::{
    config::Shared,
    feed::Feed,
    readiness::Readiness,
    redis_line::{Way, why},
};

/// How often Redis is asked whether it is there.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_millis(500);

/// The way to the other gateways.
pub(crate) struct Nudges {
    way: Way,
    channel: String,
    /// What this process changes.
    own: watch::Receiver<u64>,
    /// Wakes the feed.
    told: Arc<Notify>,
    /// Why nothing is heard, while nothing is.
    deaf: Mutex<Option<String>>,
    readiness: Arc<Readiness>,
    healthy: IntGauge,
}

// === impl Nudges ===

impl Nudges {
    /// `None` when nothing is shared. `own` counts the changes of this process.
    pub(crate) fn new(shared: &Shared, own: watch::Receiver<u64>, feed: &Feed) -> Option<Self> {
        // The parser has read the address already.
        let way = Way::new(shared.redis.as_ref()?).ok()?;
        Some(Self {
            way,
            channel: channel(shared),
            own,
            told: Arc::clone(&feed.told),
            deaf: Mutex::default(),
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
            if said.is_err() {
                // Another one is made next time; the others poll meanwhile.
                connection = None;
            }
            self.note(said.and_then(|()| self.deaf.lock().clone().map_or(Ok(()), Err)));
        }
    }

    /// Publishes that something has changed, or only asks whether anybody is there.
    async fn say(&self, kept: &mut Option<MultiplexedConnection>, changed: bool) -> Result<(), String> {
        let connection = match kept {
            Some(connection) => connection,
            None => kept.insert(self.way.server().await?.1),
        };
        in_time(async {
            if changed {
                connection.publish::<_, _, ()>(&self.channel, "").await
            } else {
                redis::cmd("PING").query_async(connection).await
            }
        })
        .await
    }

    async fn hear(&self) {
        loop {
            let Err(why) = self.listen().await;
            *self.deaf.lock() = Some(why);
            sleep(ASK_EVERY).await;
        }
    }

    /// Here too it is asked whether anybody is there: who only listens is not told that the other end is gone.
    async fn listen(&self) -> Result<Infallible, String> {
        let (client, _) = self.way.server().await?;
        let subscribed = in_time(async {
            let mut subscription = client.get_async_pubsub().await?;
            subscription.subscribe(&self.channel).await?;
            Ok(subscription)
        });
        let (mut line, mut messages) = subscribed.await?.split();
        *self.deaf.lock() = None;
        // What was said before this has been missed.
        self.told.notify_one();
        let mut ticks = interval(ASK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = messages.next() => {
                    message.ok_or("the subscription has ended")?;
                    self.told.notify_one();
                }
                _ = ticks.tick() => in_time(line.ping::<()>()).await?,
            }
        }
    }

    fn note(&self, said: Result<(), String>) {
        self.healthy.set(i64::from(said.is_ok()));
        let was_away = self.readiness.shared_away.swap(said.is_err(), Ordering::Relaxed);
        match said {
            Ok(()) if was_away => tracing::info!("Redis answers: what gateways change is heard at once"),
            Err(why) if !was_away => {
                tracing::warn!(why, "Redis passes nothing on; what gateways change is heard by polling");
            }
            _ => {}
        }
    }
}

/// The same by a command, which ends then: tells the gateways that run, once. Without a Redis they find out by themselves.
pub(crate) async fn tell_once(shared: &Shared) -> Result<(), String> {
    let Some(redis) = &shared.redis else { return Ok(()) };
    let (channel, (_, mut connection)) = (channel(shared), Way::new(redis)?.server().await?);
    in_time(connection.publish::<_, _, ()>(&channel, "")).await
}

fn channel(shared: &Shared) -> String {
    format!("{}:changes", shared.prefix)
}

/// What Redis answers, if it does soon.
async fn in_time<T>(answer: impl Future<Output = Result<T, RedisError>>) -> Result<T, String> {
    let answer = timeout(PATIENCE, answer).await;
    answer.map_err(|_| format!("no answer within {PATIENCE:?}"))?.map_err(|error| why(&error))
}
