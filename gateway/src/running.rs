//! A gateway that serves, until it is told to stop.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
};

use crate::{
    config::Server,
    handover::Offer,
    metrics::Metrics,
    readiness::Readiness,
    serving::{self, Addresses, Stop},
    streams::Streams,
    usage::LastOrders,
};

/// How long streams may take to say that they are over, at the end of a stop.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A gateway that serves.
pub struct Running {
    pub(crate) at: Addresses,
    pub(crate) has_admin: bool,
    pub(crate) server: Server,
    /// For as long as operators are answered.
    pub(crate) operators: Option<oneshot::Sender<()>>,
    /// `None` where the data folder has no room for a socket.
    pub(crate) offer: Option<Offer>,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) door: JoinHandle<()>,
    pub(crate) background: Vec<JoinHandle<()>>,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) streams: Arc<Streams>,
    pub(crate) metrics: Metrics,
    pub(crate) usage: LastOrders,
}

// === impl Running ===

impl Running {
    /// Where clients connect.
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        self.at.http
    }

    /// Where operators look.
    #[must_use]
    pub fn metrics(&self) -> SocketAddr {
        self.at.operators
    }

    /// Is there nobody yet who may administer?
    #[must_use]
    pub fn needs_administrator(&self) -> bool {
        !self.has_admin
    }

    /// The line that says where everything is.
    #[must_use]
    pub fn ready_line(&self) -> String {
        // Addresses need no escaping, and readers like the keys in this order.
        let https = self.at.https.map_or_else(|| "null".to_owned(), |https| format!(r#""https://{https}""#));
        format!(
            r#"{{"ready":true,"http":"http://{}","https":{https},"metrics":"http://{}"}}"#,
            self.at.http, self.at.operators
        )
    }

    /// Serves until it is told to stop by a signal, or another process has taken over; then ends. Who tells it twice does not wait for what is
    /// in flight.
    pub(crate) async fn serve(mut self, mut stop: Stop) {
        let taken = async {
            match self.offer.take() {
                Some(offer) => offer.taken().await,
                None => std::future::pending().await,
            }
        };
        let delay = tokio::select! {
            () = stop.told() => self.server.drain_delay,
            () = taken => {
                // Who asks from now on is told of the process that serves. One that nobody follows tells of itself until it ends.
                drop(self.operators.take());
                Duration::ZERO
            }
        };
        self.readiness.draining.store(true, std::sync::atomic::Ordering::Relaxed);
        tracing::info!("told to stop; finishing what is in flight");
        let is_idle = tokio::select! {
            is_idle = self.drain(delay) => is_idle,
            () = stop.told() => false,
        };
        if !is_idle {
            tracing::warn!(in_flight = self.metrics.in_flight.get(), "what is still in flight is cut off");
        }
        self.end().await;
    }

    /// Accepts no more connections after a while, and lets requests in flight finish within the deadline. Have they all?
    async fn drain(&mut self, delay: Duration) -> bool {
        tokio::time::sleep(delay).await;
        // Nobody listening any more is what we want.
        let _ = self.stop.send(true);
        let _ = (&mut self.door).await;
        let in_flight = self.metrics.in_flight.clone();
        let is_idle = || in_flight.get() == 0;
        serving::until_idle(self.server.drain, is_idle).await || {
            // Streams need not be cut off without a word.
            self.streams.end_all();
            serving::until_idle(LAST_WORDS, is_idle).await
        }
    }

    async fn end(self) {
        for task in &self.background {
            task.abort();
        }
        self.usage.finish().await;
        tracing::info!("stopped");
    }
}
