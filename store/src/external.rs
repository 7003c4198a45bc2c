//! Who others mean: the subjects of external issuers and of old systems, and the accounts that they are here.
//!
//! A subject's record never changes its account. What is made here is heard of by the door (`Subject::External`), which may have
//! refused the subject a moment before.

use chrono::{DateTime, Utc};
use identity::{AccountId, Email, ExternalId, TenantId};
use sqlx_macros::FromRow;

use crate::{
    Account, GrantFacts, NewAccount, NewMail, Store, StoreError, Subject,
    account::{AccountRow, account_columns, its_tenant},
    accounts::CHANGED_MEANWHILE,
    db::{Tx, on, on_tx, stored},
};

/// A subject of somebody else's.
#[derive(Clone, Copy, Debug)]
pub struct ExternalSubject<'a> {
    /// `iss`, or the name of an old system.
    pub issuer: &'a str,
    /// `sub`.
    pub subject: &'a str,
    /// When what it says of its role was said, in Unix seconds.
    pub claims_at: Option<i64>,
}

/// What has come of an issuer's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Followed {
    /// As late a one was heard before, or the subject is nobody any more: nothing is changed.
    Stale,
    /// It says what is so already.
    Same,
    /// The account has another role or tier by it.
    Changed,
}

#[derive(FromRow)]
struct Heard {
    #[sqlx(flatten)]
    account: AccountRow,
    claims_at: Option<i64>,
}

// === impl Store ===

impl Store {
    /// The account of a subject, in the tenant that is its own.
    pub async fn external_grant(&self, id: ExternalId) -> Result<Option<GrantFacts>, StoreError> {
        Ok(self.external_account(id, None).await?.map(|(account, _)| GrantFacts::of_account(account)))
    }

    /// May a subject come in by a browser? Its account was made for it, or its owner has agreed. Where an issuer was allowed to link the two on
    /// its own word (`link_verified_email`), that is for programs that bring its tokens, and no way in until the owner agrees.
    pub async fn is_agreed(&self, id: ExternalId) -> Result<bool, StoreError> {
        // What was made for it is as old as it is: both are written at one moment.
        const Q: &str = "SELECT COUNT(*) FROM external_identities e JOIN accounts a ON a.id = e.account_id \
                         WHERE e.id = $1 AND (e.consented_at IS NOT NULL OR e.created_at = a.created_at)";
        let agreed: i64 = self
            .bounded(async { on!(self, |pool| sqlx::query_scalar(Q).bind(id.uuid()).fetch_one(pool).await) })
            .await?;
        Ok(agreed > 0)
    }

    /// The account of a subject, in its own tenant or in one that is named, and when what its issuer has last said of it was said, in Unix
    /// seconds.
    pub async fn external_account(
        &self,
        id: ExternalId,
        tenant: Option<TenantId>,
    ) -> Result<Option<(Account, Option<i64>)>, StoreError> {
        const Q: &str = concat!(
            "SELECT ",
            account_columns!(),
            ", e.claims_at FROM external_identities e JOIN accounts a ON a.id = e.account_id",
            its_tenant!("COALESCE($2, a.tenant_id)"),
            "WHERE e.id = $1"
        );
        let tenant = tenant.map(|tenant| tenant.uuid());
        let row: Option<Heard> = self
            .bounded(async {
                on!(self, |pool| sqlx::query_as(Q).bind(id.uuid()).bind(tenant).fetch_optional(pool).await)
            })
            .await?;
        Ok(row.map(|row| (row.account.into(), row.claims_at)))
    }

    /// The account of an address.
    pub async fn account_by_email(&self, email: &Email) -> Result<Option<Account>, StoreError> {
        Ok(self.login_by_email(email).await?.map(|(account, _)| account))
    }

    /// Makes an account for a subject that has none; [`StoreError::EmailTaken`] if its address has one, and
    /// [`StoreError::Conflict`] if somebody else has just done the same.
    pub async fn create_external(
        &self,
        new: NewAccount<'_>,
        subject: ExternalSubject<'_>,
    ) -> Result<Account, StoreError> {
        self.bounded(async {
            let (id, now) = (new.id, new.now);
            let mut tx = self.begin().await?;
            tx.insert_account(new).await?;
            let heard = tx.insert_external(id, subject, now).await?;
            let account = tx.account(id).await?.ok_or(StoreError::NotFound)?;
            self.commit_and_tell(tx, &[heard], now).await?;
            Ok::<_, StoreError>(account)
        })
        .await
    }

    /// Lets a subject be an account that there is, and posts what tells its owner; [`StoreError::Conflict`] if it is one already. `by`: the
    /// address by which its issuer means the account, where that is the issuer's word alone. Then it is `false`, and nothing is done, unless the
    /// address is still the account's and confirmed, and its owner has let in nobody else so, nor refused the issuer.
    pub async fn link_external(
        &self,
        account: AccountId,
        by: Option<&Email>,
        subject: ExternalSubject<'_>,
        notice: Option<&NewMail>,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        self.bounded(async {
            let mut tx = self.begin().await?;
            if let Some(address) = by
                && !tx.may_be_linked(account, address, subject.issuer).await?
            {
                return Ok(false);
            }
            let heard = tx.insert_external(account, subject, now).await?;
            if let Some(notice) = notice {
                tx.post(notice).await?;
            }
            self.commit_and_tell(tx, &[heard], now).await?;
            Ok::<_, StoreError>(true)
        })
        .await
    }

    /// Notes when the subject's issuer has spoken, and gives its account the role and tier that it says, if they are others and it says
    /// so later than what it has said before: an older token does not bring back what a newer one has taken away. Another role ends what it
    /// ends by an administrator's hand ([`Self::change_account`]). [`StoreError::Conflict`] if the tier was changed at the same moment.
    pub async fn follow_issuer(
        &self,
        id: ExternalId,
        said_at: i64,
        (role, tier): (Option<&str>, Option<&str>),
        now: DateTime<Utc>,
    ) -> Result<Followed, StoreError> {
        self.bounded(async {
            let mut tx = self.begin().await?;
            let Some(owner) = tx.external_owner(id).await? else { return Ok(Followed::Stale) };
            // Tenants are held before their members: so what is to be noted of them is guessed here, and weighed below.
            let is_noted = tier.is_some() && tx.account(owner).await?.is_some_and(|before| before.lacks_tier(tier));
            let tenants = if is_noted { tx.note_tiers_by(owner, now).await? } else { Vec::new() };
            // The account before its subjects, as whoever unlinks one takes them.
            tx.lock_account(owner).await?;
            if !tx.hear(id, owner, said_at).await? {
                return Ok(Followed::Stale);
            }
            // Held: of two words at once the later one finds what the earlier one has left.
            let before = tx.account(owner).await?.ok_or(StoreError::NotFound)?;
            let (other_role, other_tier) = (role.is_some_and(|role| role != before.role), before.lacks_tier(tier));
            if !other_role && !other_tier {
                self.commit(tx).await?;
                return Ok(Followed::Same);
            }
            if other_tier && !is_noted {
                return Err(CHANGED_MEANWHILE);
            }
            tx.follow(owner, (role, tier), now).await?;
            let mut heard = vec![Subject::Account(owner)];
            heard.extend(tenants.into_iter().map(Subject::Tenant));
            if other_role {
                let mut ended = tx.end_cookies_of(owner, now).await?;
                ended.extend(tx.end_impersonations(owner, now).await?);
                heard.extend(ended.into_iter().map(Subject::Session));
            }
            self.commit_and_tell(tx, &heard, now).await?;
            Ok::<_, StoreError>(Followed::Changed)
        })
        .await
    }
}

// === impl Tx ===

impl Tx {
    /// The account is held: its owner may be refusing the issuer at this moment, or giving the account another address.
    async fn may_be_linked(&mut self, account: AccountId, address: &Email, issuer: &str) -> Result<bool, StoreError> {
        const Q: &str = "SELECT COUNT(*) FROM accounts a WHERE a.id = $1 AND a.email_normalised = $2 AND a.is_verified \
                         AND NOT EXISTS (SELECT 1 FROM external_identities e \
                                         WHERE e.account_id = a.id AND e.issuer <> $3 AND e.consented_at IS NULL) \
                         AND NOT EXISTS (SELECT 1 FROM refused_issuers r WHERE r.account_id = a.id AND r.issuer = $3)";
        self.lock_account(account).await?;
        let found: i64 = on_tx!(self, |c| sqlx::query_scalar(Q)
            .bind(account.uuid())
            .bind(address.normalised())
            .bind(issuer)
            .fetch_one(c)
            .await)?;
        Ok(found > 0)
    }

    /// Writes down when an account's subject was spoken of, unless that has been heard, or something later.
    async fn hear(&mut self, id: ExternalId, owner: AccountId, said_at: i64) -> Result<bool, StoreError> {
        const Q: &str = "UPDATE external_identities SET claims_at = $3 WHERE id = $1 AND account_id = $2 \
                         AND COALESCE(claims_at, 0) < $3";
        let heard = on_tx!(self, |c| sqlx::query(Q)
            .bind(id.uuid())
            .bind(owner.uuid())
            .bind(said_at)
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(heard > 0)
    }

    async fn follow(
        &mut self,
        account: AccountId,
        (role, tier): (Option<&str>, Option<&str>),
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        const Q: &str = "UPDATE accounts SET role = COALESCE($2, role), tier = COALESCE($3, tier), \
                         has_own_tier = (has_own_tier OR $5), updated_at = $4 WHERE id = $1";
        Ok(on_tx!(self, |c| sqlx::query(Q)
            .bind(account.uuid())
            .bind(role)
            .bind(tier)
            .bind(stored(now))
            .bind(tier.is_some())
            .execute(c)
            .await
            .map(drop))?)
    }

    pub(crate) async fn insert_external(
        &mut self,
        account: AccountId,
        subject: ExternalSubject<'_>,
        now: DateTime<Utc>,
    ) -> Result<Subject, StoreError> {
        const Q: &str = "INSERT INTO external_identities (id, issuer, subject, account_id, created_at, claims_at) \
                         VALUES ($1, $2, $3, $4, $5, $6)";
        let id = ExternalId::of(subject.issuer, subject.subject);
        on_tx!(self, |c| sqlx::query(Q)
            .bind(id.uuid())
            .bind(subject.issuer)
            .bind(subject.subject)
            .bind(account.uuid())
            .bind(stored(now))
            .bind(subject.claims_at)
            .execute(c)
            .await
            .map(drop))?;
        Ok(Subject::External(id))
    }
}
