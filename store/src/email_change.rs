//! An account's address replaced by another, which its owner has shown to read.

use chrono::{DateTime, Utc};
use identity::{AccountId, Email, OneTimePurpose, SessionId, TenantId};
use uuid::Uuid;

use crate::{
    Account, Confirmed, NewMail, ShownOneTime, Store, StoreError, Subject,
    db::{Tx, on_tx, stored},
};

// === impl Store ===

impl Store {
    /// Posts the wish for a letter to the new address, and the notice to the present one; both or neither. What was
    /// sent for another change before buys nothing any more.
    pub async fn ask_for_email(&self, account: AccountId, wish: &NewMail, notice: &NewMail) -> Result<(), StoreError> {
        self.bounded(async {
            let mut tx = self.begin().await?;
            tx.void_email_changes(account, wish.now).await?;
            tx.post(wish).await?;
            tx.post(notice).await?;
            self.commit(tx).await
        })
        .await
    }

    /// Uses a token to give its account the address that it was sent to, which is confirmed by it; gives the organisations too that are called
    /// otherwise with it. Every session ends but the one in which it was asked for, and so does whatever else was sent to the account. `None` if the token is no good, that session has ended
    /// or the account is disabled; [`StoreError::EmailTaken`] if the address has an account meanwhile: then the token stays as it is.
    pub async fn change_email(
        &self,
        shown: &ShownOneTime,
        email: &Email,
        session: SessionId,
        confirmed: Confirmed<'_>,
        notice: &NewMail,
        now: DateTime<Utc>,
    ) -> Result<Option<(Account, Vec<TenantId>)>, StoreError> {
        self.bounded(async {
            let mut tx = self.begin().await?;
            // Its organisations, the account and its tokens, in this order, as whoever deletes it and whoever ends them takes those.
            let Some(id) = tx.owner_of(shown, email, now).await? else { return Ok(None) };
            let renamed = tx.rename_after(id, email).await?;
            tx.lock_account(id).await?;
            if tx.use_one_time(shown, now).await?.is_none() {
                return Ok(None);
            }
            if tx.set_email(id, email, session, confirmed, now).await? == 0 {
                return Ok(None);
            }
            tx.void_all_one_time_tokens(id, now).await?;
            tx.post(notice).await?;
            let account = tx.account(id).await?.ok_or(StoreError::NotFound)?;
            let mut heard = vec![Subject::Account(id)];
            heard.extend(renamed.iter().copied().map(Subject::Tenant));
            heard.extend(tx.end_sessions_of(id, Some(session), now).await?.into_iter().map(Subject::Session));
            self.commit_and_tell(tx, &heard, now).await?;
            Ok::<_, StoreError>(Some((account, renamed)))
        })
        .await
    }
}

// === impl Tx ===

impl Tx {
    /// Whose a token is that was sent to this address and could be used now; that it still can be is to be asked once the account is held.
    async fn owner_of(
        &mut self,
        shown: &ShownOneTime,
        email: &Email,
        now: DateTime<Utc>,
    ) -> Result<Option<AccountId>, StoreError> {
        const Q: &str = "SELECT account_id FROM one_time_tokens WHERE id = $1 AND purpose = $2 AND digest = $3 AND address = $4 \
                         AND used_at IS NULL AND expires_at > $5";
        let owner: Option<Option<Uuid>> = on_tx!(self, |c| sqlx::query_scalar(Q)
            .bind(shown.id)
            .bind(shown.purpose.word())
            .bind(shown.digest.as_bytes().as_slice())
            .bind(email.normalised())
            .bind(stored(now))
            .fetch_optional(c)
            .await)?;
        Ok(owner.flatten().map(AccountId::new))
    }

    /// Of several changes that are asked for the last one counts.
    pub(crate) async fn void_email_changes(&mut self, id: AccountId, now: DateTime<Utc>) -> Result<(), StoreError> {
        const Q: &str =
            "UPDATE one_time_tokens SET used_at = $2 WHERE account_id = $1 AND used_at IS NULL AND purpose = $3";
        let purpose = OneTimePurpose::ChangeEmail;
        Ok(on_tx!(self, |c| sqlx::query(Q)
            .bind(id.uuid())
            .bind(stored(now))
            .bind(purpose.word())
            .execute(c)
            .await
            .map(drop))?)
    }

    /// Organisations of theirs that are named after the address are named after the next one: else the one before would stay when the
    /// account is deleted, at others.
    async fn rename_after(&mut self, id: AccountId, email: &Email) -> Result<Vec<TenantId>, StoreError> {
        const Q: &str = "UPDATE tenants SET name = $2 WHERE name = (SELECT email FROM accounts WHERE id = $1) \
                         AND id IN (SELECT tenant_id FROM tenant_members WHERE account_id = $1) RETURNING id";
        let renamed: Vec<Uuid> =
            on_tx!(self, |c| sqlx::query_scalar(Q).bind(id.uuid()).bind(email.as_str()).fetch_all(c).await)?;
        Ok(renamed.into_iter().map(TenantId::new).collect())
    }

    async fn set_email(
        &mut self,
        id: AccountId,
        email: &Email,
        session: SessionId,
        confirmed: Confirmed<'_>,
        now: DateTime<Utc>,
    ) -> Result<u64, StoreError> {
        const Q: &str = "UPDATE accounts SET email = $2, email_normalised = $3, \
                         role = CASE WHEN role = $4 AND NOT is_verified THEN $5 ELSE role END, is_verified = $6, updated_at = $7 \
                         WHERE id = $1 AND status = 'active' \
                         AND EXISTS (SELECT 1 FROM sessions WHERE id = $8 AND account_id = $1 AND ended_at IS NULL)";
        Ok(on_tx!(self, |c| sqlx::query(Q)
            .bind(id.uuid())
            .bind(email.as_str())
            .bind(email.normalised())
            .bind(confirmed.from_role)
            .bind(confirmed.to_role)
            .bind(true)
            .bind(stored(now))
            .bind(session.uuid())
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?)
    }
}
