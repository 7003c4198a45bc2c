//! Accounts that somebody has made and nobody has confirmed: whoever comes with a better word for the address finds nothing in them that opens
//! for anybody else.

use chrono::{DateTime, Utc};
use identity::{AccountId, PasswordHash};

use crate::{
    Account, Confirmed, NewOneTime, OneTime, Store, StoreError, Subject,
    db::{Tx, on_tx, stored},
};

/// How whoever takes an account over gets in.
#[derive(Debug)]
pub enum WayIn<'a> {
    /// By this password.
    Password(PasswordHash),
    /// By a link that lets them choose one; until then the account is disabled, and has this hash, that no password has.
    Link(NewOneTime<'a>, PasswordHash),
}

// === impl Store ===

impl Store {
    /// Gives an account that nobody has confirmed to whoever may write here says, in this role, its address confirmed or about to be: what has
    /// been made of it opens nothing any more. Says whether it was done: it is not where the address is confirmed. A link that waits in
    /// vain is void.
    pub async fn take_over_unconfirmed(
        &self,
        id: AccountId,
        way: WayIn<'_>,
        role: &str,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        const Q: &str = "UPDATE accounts SET password_hash = $2, role = $3, status = $4, is_verified = $5, invited_at = $6, updated_at = $7 \
                         WHERE id = $1 AND NOT is_verified";
        let (hash, link) = match way {
            WayIn::Password(hash) => (hash, None),
            WayIn::Link(token, no_password) => (no_password, Some(token)),
        };
        self.bounded(async {
            let mut tx = self.begin().await?;
            let taken = on_tx!(&mut tx, |c| sqlx::query(Q)
                .bind(id.uuid())
                .bind(hash.as_str())
                .bind(role)
                .bind(if link.is_some() { "disabled" } else { "active" })
                .bind(link.is_none())
                .bind(link.is_some().then(|| stored(now)))
                .bind(stored(now))
                .execute(c)
                .await
                .map(|done| done.rows_affected()))?;
            if taken == 0 {
                return Ok(false);
            }
            tx.end_other_ways_in(id, now).await?;
            tx.void_all_one_time_tokens(id, now).await?;
            if let Some(token) = link {
                tx.add_one_time(&token).await?;
            }
            let mut heard = vec![Subject::Account(id)];
            heard.extend(tx.end_sessions_of(id, None, now).await?.into_iter().map(Subject::Session));
            self.commit_and_tell(tx, &heard, now).await?;
            Ok::<_, StoreError>(true)
        })
        .await
    }
}

// === impl Tx ===

impl Tx {
    /// Has somebody confirmed the account's address?
    pub(crate) async fn is_confirmed(&mut self, id: Option<AccountId>) -> Result<bool, StoreError> {
        let Some(id) = id else { return Ok(false) };
        Ok(self.account(id).await?.is_some_and(|account| account.is_verified))
    }

    /// Notes that the owner of a token's account reads its mail, for whoever comes by a mail and shows nothing else. Until then somebody else may
    /// have registered the address: what they have made of the account opens nothing any more, neither password, session, key, factor nor
    /// anybody else's subject, linked or imported.
    pub(crate) async fn confirm_owner(
        &mut self,
        token: &OneTime,
        confirmed: Confirmed<'_>,
        now: DateTime<Utc>,
    ) -> Result<Option<Account>, StoreError> {
        const PASSWORD: &str = "UPDATE accounts SET password_hash = $2 WHERE id = $1";
        let Some(id) = token.account() else { return Ok(None) };
        let was_confirmed = self.is_confirmed(Some(id)).await?;
        let account = self.confirm(token, confirmed, now).await?;
        if was_confirmed || account.is_none() {
            return Ok(account);
        }
        let none = confirmed.no_password.as_str();
        on_tx!(&mut *self, |c| sqlx::query(PASSWORD).bind(id.uuid()).bind(none).execute(c).await.map(drop))?;
        self.end_other_ways_in(id, now).await?;
        // The account itself is heard of, and so all of its sessions.
        self.end_sessions_of(id, None, now).await?;
        Ok(account)
    }

    /// Ends whatever of an account opens it but its password and its sessions: keys, factors, and the subjects of others, linked or imported.
    /// Where sessions have begun is familiar no more: it was not the owner who was there.
    pub(crate) async fn end_other_ways_in(&mut self, id: AccountId, now: DateTime<Utc>) -> Result<(), StoreError> {
        const KEYS: &str = "UPDATE api_keys SET revoked_at = $2 WHERE account_id = $1 AND revoked_at IS NULL";
        const FACTORS: &str = "DELETE FROM factors WHERE account_id = $1";
        const CODES: &str = "DELETE FROM recovery_codes WHERE account_id = $1";
        const LINKS: &str = "DELETE FROM external_identities WHERE account_id = $1";
        const PLACES: &str = "UPDATE sessions SET device = NULL, network = NULL WHERE account_id = $1";
        on_tx!(&mut *self, |c| sqlx::query(KEYS).bind(id.uuid()).bind(stored(now)).execute(c).await.map(drop))?;
        for statement in [FACTORS, CODES, LINKS, PLACES] {
            on_tx!(&mut *self, |c| sqlx::query(statement).bind(id.uuid()).execute(c).await.map(drop))?;
        }
        Ok(())
    }
}
