//! Carries webhooks to whoever wants to hear of bills: signed (Standard Webhooks), again and again until they are heard, with growing pauses.

use std::time::Duration;

use chrono::TimeDelta;
use identity::sign_webhook;
use reqwest::{Client, redirect::Policy};
use store::{DueWebhook, Store, StoreError};
use tokio::time::{MissedTickBehavior, interval};

use crate::config::WebhookSettings;

/// How often somebody looks whether something is due.
const EVERY: Duration = Duration::from_secs(2);
/// How long a receiver may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// After a claim nobody else tries for so long.
const CLAIM: TimeDelta = TimeDelta::seconds(60);
/// The first pause; each further one is twice as long, up to the longest.
const PAUSE: i64 = 5;
const LONGEST_PAUSE: i64 = 3600;
/// After this it is given up, and says so in the log.
const GIVE_UP: TimeDelta = TimeDelta::days(3);

pub(super) struct Post {
    store: Store,
    webhook: WebhookSettings,
}

// === impl Post ===

impl Post {
    pub(super) fn new(store: Store, webhook: WebhookSettings) -> Self {
        Self { store, webhook }
    }

    /// For as long as the process lives.
    pub(super) async fn carry(self) {
        // A receiver that sends us elsewhere would have us sign for somebody whom nobody has named.
        let client = Client::builder().redirect(Policy::none()).timeout(PATIENCE).build();
        let Ok(client) = client.inspect_err(|error| tracing::error!(%error, "webhooks cannot be sent")) else { return };
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = self.carry_due(&client).await {
                tracing::warn!(%error, "webhooks cannot be read; it is tried again");
            }
        }
    }

    async fn carry_due(&self, client: &Client) -> Result<(), StoreError> {
        let now = store::clock::now;
        while let Some(due) = self.store.claim_webhook(now(), now() + CLAIM).await? {
            if self.send(client, &due).await {
                self.store.end_webhook(due.id, "sent", now()).await?;
            } else if now() - due.created_at > GIVE_UP {
                tracing::error!(webhook = %due.id, "a webhook is given up");
                self.store.end_webhook(due.id, "failed", now()).await?;
            } else {
                let doublings = u32::try_from(due.attempts - 1).unwrap_or(0).min(16);
                let pause = (PAUSE << doublings).min(LONGEST_PAUSE);
                self.store.retry_webhook(due.id, now() + TimeDelta::seconds(pause)).await?;
            }
        }
        Ok(())
    }

    /// Was it heard?
    async fn send(&self, client: &Client, due: &DueWebhook) -> bool {
        let (id, timestamp) = (due.id.to_string(), store::clock::now().timestamp());
        // The configuration's parser has seen that the secret is one.
        let Some(signature) = sign_webhook(&self.webhook.secret, &id, timestamp, &due.body) else { return false };
        let request = client
            .post(&self.webhook.url)
            .header("content-type", "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(due.body.clone());
        match request.send().await {
            Ok(answer) if answer.status().is_success() => true,
            Ok(answer) => {
                tracing::warn!(webhook = %due.id, status = answer.status().as_u16(), "a webhook is not taken");
                false
            }
            Err(error) => {
                // The address may hold a secret.
                tracing::warn!(webhook = %due.id, error = %error.without_url(), "a webhook does not arrive");
                false
            }
        }
    }
}
