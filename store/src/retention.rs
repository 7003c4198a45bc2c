//! What is kept no longer: changes that everybody has heard of, refresh tokens, sessions and mails that are over.
//!
//! Deleted in small batches, each in a transaction of its own, so that nobody waits for long; several nodes may do it at once.

use chrono::{DateTime, Utc};

use crate::{
    Store, StoreError,
    db::{on_tx, stored},
};

/// Rows that one statement deletes at most.
const BATCH: i64 = 1000;

/// The last change stays, so that positions go on and a reader that stands on it knows that it has missed nothing.
const CHANGES: &str = "DELETE FROM changes WHERE position IN (SELECT position FROM changes \
     WHERE changed_at < $1 AND position < (SELECT MAX(position) FROM changes) ORDER BY position LIMIT $2)";

/// A token that has expired buys nothing; that it is shown once more no longer tells of a thief.
const REFRESH_TOKENS: &str = "DELETE FROM refresh_tokens WHERE id IN \
     (SELECT id FROM refresh_tokens WHERE expires_at < $1 LIMIT $2)";

const ENDED_SESSIONS: &str = "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE ended_at < $1 LIMIT $2)";

/// Sessions that nobody ended and whose last token has expired. Found by their tokens, which go with them: whoever looked at sessions would
/// read those of five weeks each hour, and find none.
const LAPSED_SESSIONS: &str = "DELETE FROM sessions WHERE id IN (SELECT DISTINCT t.session_id FROM refresh_tokens t WHERE t.expires_at < $1 \
     AND NOT EXISTS (SELECT 1 FROM refresh_tokens o WHERE o.session_id = t.session_id AND o.expires_at >= $1) LIMIT $2)";

/// The same of browsers' sessions, which have one cookie each.
const LAPSED_COOKIES: &str = "DELETE FROM sessions WHERE id IN \
     (SELECT session_id FROM session_cookies WHERE ends_at < $1 LIMIT $2)";

const ENDED_MAILS: &str = "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE ended_at < $1 LIMIT $2)";

const ONE_TIME_TOKENS: &str = "DELETE FROM one_time_tokens WHERE id IN \
     (SELECT id FROM one_time_tokens WHERE expires_at < $1 LIMIT $2)";

/// What whoever comes by begins without being anybody: there are many, and nobody asks after one that is over.
const BEGUN: &str = "DELETE FROM one_time_tokens WHERE id IN (SELECT id FROM one_time_tokens \
     WHERE purpose IN ('passkey_login', 'passkey_proof', 'oauth_state') AND expires_at < $1 LIMIT $2)";

/// What machines have bought, which nobody goes on with or asks after: a client may buy for each request.
const BOUGHT: &str = "DELETE FROM sessions WHERE id IN (SELECT s.id FROM refresh_tokens t JOIN sessions s ON s.id = t.session_id \
     WHERE t.expires_at < $1 AND s.method = 'client_credentials' LIMIT $2)";

/// Invitations that nobody has answered.
const INVITATIONS: &str = "DELETE FROM tenant_invitations WHERE id IN \
     (SELECT id FROM tenant_invitations WHERE expires_at < $1 LIMIT $2)";

/// Letters to accounts that were deleted: kept to be counted, and no longer.
const DELETED_MAILS: &str = "DELETE FROM outbox WHERE id IN \
     (SELECT id FROM outbox WHERE outcome = 'deleted' AND ended_at < $1 LIMIT $2)";

/// Counted as over when the last failure was before: no lock is longer than a day (`identity`), nor is anything kept for less.
const LOGIN_FAILURES: &str = "DELETE FROM login_failures WHERE (subject, source) IN \
     (SELECT subject, source FROM login_failures WHERE last_at < $1 AND (locked_until IS NULL OR locked_until < $1) LIMIT $2)";

/// Of quotas: what was never given, or was given back.
const RESERVATIONS: &str = "DELETE FROM quota_reservations WHERE id IN \
     (SELECT id FROM quota_reservations WHERE state <> 'committed' AND expires_at < $1 LIMIT $2)";

const ENDED_WEBHOOKS: &str = "DELETE FROM webhooks WHERE id IN (SELECT id FROM webhooks WHERE ended_at < $1 LIMIT $2)";

const PAYMENTS: &str =
    "DELETE FROM billing_events WHERE id IN (SELECT id FROM billing_events WHERE received_at < $1 LIMIT $2)";

/// Of subscriptions that are over what was said last: older events, which nobody repeats for so long, count for nothing till then.
const SUBSCRIPTIONS: &str = "DELETE FROM billing_subscriptions WHERE (tenant_id, id) IN \
     (SELECT tenant_id, id FROM billing_subscriptions WHERE tier IS NULL AND said_at < $1 LIMIT $2)";

/// What months that are billed long since were billed by.
const TIERS_HAD: &str = "DELETE FROM billing_tiers WHERE (tenant_id, until, tier) IN \
     (SELECT tenant_id, until, tier FROM billing_tiers WHERE until < $1 LIMIT $2)";
const TENANTS_LEFT: &str =
    "DELETE FROM billing_left WHERE tenant_id IN (SELECT tenant_id FROM billing_left WHERE left_at < $1 LIMIT $2)";

const USAGE_EVENTS: &str =
    "DELETE FROM usage_events WHERE id IN (SELECT id FROM usage_events WHERE counted_at < $1 LIMIT $2)";

const USAGE_BATCHES: &str =
    "DELETE FROM usage_batches WHERE id IN (SELECT id FROM usage_batches WHERE counted_at < $1 LIMIT $2)";

/// By whole days, as they are written. What a month came to stays: bills are made of it.
const USAGE_DAYS: &str = "DELETE FROM usage_days WHERE (tenant_id, day, account_id, key_id, route, service, model, request_type) IN \
     (SELECT tenant_id, day, account_id, key_id, route, service, model, request_type FROM usage_days WHERE day < $1 LIMIT $2)";
const USAGE_SUMS: &str = "DELETE FROM usage_sums WHERE (tenant_id, day, route, service, model, request_type) IN \
     (SELECT tenant_id, day, route, service, model, request_type FROM usage_sums WHERE day < $1 LIMIT $2)";
const USAGE_KEYLESS: &str = "DELETE FROM usage_keyless WHERE (tenant_id, day, route, service, model, request_type) IN \
     (SELECT tenant_id, day, route, service, model, request_type FROM usage_keyless WHERE day < $1 LIMIT $2)";

// === impl Store ===

impl Store {
    /// Deletes changes made before `before`, from the oldest on; says how many.
    pub async fn forget_changes(&self, before: DateTime<Utc>) -> Result<u64, StoreError> {
        self.forget(CHANGES, before).await
    }

    /// Deletes sessions that were over before `before`, with their refresh tokens; says how many.
    pub async fn forget_sessions(&self, before: DateTime<Utc>) -> Result<u64, StoreError> {
        let ended = self.forget(ENDED_SESSIONS, before).await?;
        let lapsed = self.forget(LAPSED_SESSIONS, before).await? + self.forget(LAPSED_COOKIES, before).await?;
        self.forget(REFRESH_TOKENS, before).await?;
        Ok(ended + lapsed)
    }

    /// Deletes mails and webhooks that were over before `before`; says how many.
    pub async fn forget_mails(&self, before: DateTime<Utc>) -> Result<u64, StoreError> {
        Ok(self.forget(ENDED_MAILS, before).await? + self.forget(ENDED_WEBHOOKS, before).await?)
    }

    /// Deletes one-time tokens and failed logins that were over before `before`; says how many.
    pub async fn forget_attempts(&self, before: DateTime<Utc>) -> Result<u64, StoreError> {
        Ok(self.forget(ONE_TIME_TOKENS, before).await? + self.forget(LOGIN_FAILURES, before).await?)
    }

    /// Deletes what was begun with a passkey or at a login provider, what machines bought, invitations, and letters to deleted accounts, that were over before `before`; says
    /// how many.
    pub async fn forget_begun(&self, before: DateTime<Utc>) -> Result<u64, StoreError> {
        let begun = self.forget(BEGUN, before).await? + self.forget(BOUGHT, before).await?;
        Ok(begun + self.forget(INVITATIONS, before).await? + self.forget(DELETED_MAILS, before).await?)
    }

    /// Deletes events of usage, and names of batches, that were counted before `before`; their totals stay. Says how many.
    pub async fn forget_usage(&self, before: DateTime<Utc>) -> Result<u64, StoreError> {
        Ok(self.forget(USAGE_EVENTS, before).await? + self.forget(USAGE_BATCHES, before).await?)
    }

    /// Deletes totals of days before that of `before`; says how many.
    pub async fn forget_usage_days(&self, before: DateTime<Utc>) -> Result<u64, StoreError> {
        let day = before.format("%Y-%m-%d").to_string();
        let days = self.forget_by(USAGE_DAYS, &day).await?;
        let sums = self.forget_by(USAGE_SUMS, &day).await?;
        Ok(days + sums + self.forget_by(USAGE_KEYLESS, &day).await?)
    }

    /// Deletes reservations of quotas that came to nothing before `before`; says how many.
    pub async fn forget_quotas(&self, before: DateTime<Utc>) -> Result<u64, StoreError> {
        self.forget(RESERVATIONS, before).await
    }

    /// Deletes names of events of payments that were heard, and subscriptions that were over, before `before`; says how many.
    pub async fn forget_payments(&self, before: DateTime<Utc>) -> Result<u64, StoreError> {
        let heard = self.forget(PAYMENTS, before).await?;
        Ok(heard + self.forget_by(SUBSCRIPTIONS, before.timestamp()).await?)
    }

    /// Deletes what was remembered of tiers that ended, and of tenants that were deleted, before `before`; says how many.
    pub async fn forget_billed(&self, before: DateTime<Utc>) -> Result<u64, StoreError> {
        Ok(self.forget(TIERS_HAD, before).await? + self.forget(TENANTS_LEFT, before).await?)
    }

    async fn forget(&self, statement: &'static str, before: DateTime<Utc>) -> Result<u64, StoreError> {
        self.forget_by(statement, stored(before)).await
    }

    /// Deletes what a statement finds by `mark`, a batch at a time.
    async fn forget_by<M>(&self, statement: &'static str, mark: M) -> Result<u64, StoreError>
    where
        M: Copy + Send,
        for<'q> M: sqlx::Encode<'q, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
        for<'q> M: sqlx::Encode<'q, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
    {
        let mut forgotten = 0;
        loop {
            let deleted = self
                .bounded(async {
                    let mut tx = self.begin().await?;
                    let deleted = on_tx!(&mut tx, |c| sqlx::query(statement)
                        .bind(mark)
                        .bind(BATCH)
                        .execute(c)
                        .await
                        .map(|done| done.rows_affected()))?;
                    self.commit(tx).await?;
                    Ok::<_, StoreError>(deleted)
                })
                .await?;
            forgotten += deleted;
            if deleted < BATCH as u64 {
                return Ok(forgotten);
            }
        }
    }
}
