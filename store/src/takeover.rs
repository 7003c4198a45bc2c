//! Accounts that somebody has made and nobody has confirmed: whoever comes with a better word for the address finds nothing in them that opens
//! for anybody else, and does not begin among those whom somebody else has let in.

use chrono::{DateTime, Utc};
use identity::{AccountId, PasswordHash, TenantId, TenantRole};
use uuid::Uuid;

use crate::{
    Account, Confirmed, NewOneTime, OneTime, ShownOneTime, Store, StoreError, Subject,
    accounts::CHANGED_MEANWHILE,
    db::{Tx, on_tx, stored},
    import::is_imported,
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
            let places = tx.hold_places(id).await?;
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
            let parted = tx.part_from_others(id, &places, now).await?;
            tx.void_all_one_time_tokens(id, now).await?;
            if let Some(token) = link {
                tx.add_one_time(&token).await?;
            }
            let mut heard = vec![Subject::Account(id)];
            heard.extend(tx.end_sessions_of(id, None, now).await?.into_iter().map(Subject::Session));
            heard.extend(parted);
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
    /// anybody else's subject, linked or imported. `places` are of [`Tx::hold_places_by`]. Says what else is to be heard of.
    pub(crate) async fn confirm_owner(
        &mut self,
        token: &OneTime,
        places: &[(TenantId, bool)],
        confirmed: Confirmed<'_>,
        now: DateTime<Utc>,
    ) -> Result<Option<(Account, Vec<Subject>)>, StoreError> {
        const PASSWORD: &str = "UPDATE accounts SET password_hash = $2 WHERE id = $1";
        let Some(id) = token.account() else { return Ok(None) };
        let was_confirmed = self.is_confirmed(Some(id)).await?;
        let Some(account) = self.confirm(token, confirmed, now).await? else { return Ok(None) };
        if was_confirmed {
            return Ok(Some((account, Vec::new())));
        }
        let none = confirmed.no_password.as_str();
        on_tx!(&mut *self, |c| sqlx::query(PASSWORD).bind(id.uuid()).bind(none).execute(c).await.map(drop))?;
        self.end_other_ways_in(id, now).await?;
        let parted = self.part_from_others(id, places, now).await?;
        // The account itself is heard of, and so all of its sessions.
        self.end_sessions_of(id, None, now).await?;
        // It may act elsewhere now.
        let account = self.account(id).await?.ok_or(StoreError::NotFound)?;
        Ok(Some((account, parted)))
    }

    /// [`Tx::hold_places`] of the account of a token that is about to be used. Not for whoever knows no more of it than its id.
    pub(crate) async fn hold_places_by(&mut self, shown: &ShownOneTime) -> Result<Vec<(TenantId, bool)>, StoreError> {
        const OWNER: &str =
            "SELECT account_id FROM one_time_tokens WHERE id = $1 AND digest = $2 AND account_id IS NOT NULL";
        let owner: Option<Uuid> = on_tx!(&mut *self, |c| sqlx::query_scalar(OWNER)
            .bind(shown.id)
            .bind(shown.digest.as_bytes().as_slice())
            .fetch_optional(c)
            .await)?;
        match owner {
            Some(owner) => self.hold_places(owner.into()).await,
            None => Ok(Vec::new()),
        }
    }

    /// The tenants of an account that nobody has confirmed, and whether it answers for them. They are held before their members, as by whoever
    /// sends one away.
    async fn hold_places(&mut self, id: AccountId) -> Result<Vec<(TenantId, bool)>, StoreError> {
        if self.is_confirmed(Some(id)).await? {
            return Ok(Vec::new());
        }
        let places = self.memberships(id).await?;
        for (tenant, _) in &places {
            self.lock_tenant(*tenant).await?;
        }
        Ok(places)
    }

    /// Parts an account from whoever was let into its tenants by those who had it: no invitation of its stands, the keys at providers are gone
    /// that it has alone, and its next login begins where nobody else is. From a tenant for which somebody else answers it goes; one for which
    /// nobody else does is not left to itself. Who was in a tenant of an older system was not let in here, and one that is older than the
    /// account has not been founded by whoever had that: invitations take a confirmed address, so the operator has put it there. Says what is to be heard
    /// of; [`StoreError::Conflict`] if it has joined another tenant meanwhile.
    async fn part_from_others(
        &mut self,
        id: AccountId,
        places: &[(TenantId, bool)],
        now: DateTime<Utc>,
    ) -> Result<Vec<Subject>, StoreError> {
        const ASKED: &str = "DELETE FROM tenant_invitations WHERE invited_by = $1";
        const MOVE: &str = "UPDATE accounts SET tenant_id = $2 WHERE id = $1";
        let account = self.account(id).await?.ok_or(StoreError::NotFound)?;
        if self.memberships(id).await? != places {
            return Err(CHANGED_MEANWHILE);
        }
        on_tx!(&mut *self, |c| sqlx::query(ASKED).bind(id.uuid()).execute(c).await.map(drop))?;
        let mut heard: Vec<Subject> = self.drop_integrations(id.uuid()).await?.into_iter().collect();
        let mut own = Vec::new();
        for (tenant, is_owner) in places {
            let others = self.others_in(*tenant, id).await?;
            let founded_at = self.tenant(*tenant).await?.map(|tenant| tenant.created_at);
            let is_older = founded_at.is_some_and(|at| at < account.created_at);
            if others.is_empty() {
                heard.extend(self.drop_integrations(tenant.uuid()).await?);
                own.push(*tenant);
            } else if is_older || is_imported(tenant.uuid()) {
                own.push(*tenant);
            } else if others.iter().any(|role| role == TenantRole::Owner.word()) {
                if *is_owner {
                    self.note_tier(*tenant, now).await?;
                }
                self.leave(*tenant, id).await?;
                heard.push(Subject::Tenant(*tenant));
            }
        }
        if account.tenant.is_none_or(|home| own.contains(&home.tenant)) {
            return Ok(heard);
        }
        let home = match own.first() {
            Some(own) => *own,
            None => self.found(&account.email, id, now).await?,
        };
        on_tx!(&mut *self, |c| sqlx::query(MOVE).bind(id.uuid()).bind(home.uuid()).execute(c).await.map(drop))?;
        Ok(heard)
    }

    /// Deletes the keys at providers of an account or a tenant.
    async fn drop_integrations(&mut self, owner: Uuid) -> Result<Option<Subject>, StoreError> {
        const Q: &str = "DELETE FROM integrations WHERE account_id = $1 OR tenant_id = $1";
        let gone = on_tx!(self, |c| sqlx::query(Q).bind(owner).execute(c).await.map(|done| done.rows_affected()))?;
        Ok((gone > 0).then_some(Subject::Integrations(owner)))
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
