//! Accounts that come from older systems, many at a time. To import them again changes nothing: who is here already stays as it
//! is.

mod history;
mod places;
mod sealed;
mod things;

use chrono::{DateTime, Utc};
use identity::{AccountId, Email, ExternalId, PasswordHash};
use uuid::Uuid;

use self::places::Place;
pub(crate) use self::things::is_imported;
pub use self::{
    history::{ImportedStatement, ImportedUsage, end_of_month, statement_id},
    places::Rehearsal,
    sealed::{ImportedAgent, ImportedInstance, ImportedIntegration},
    things::{ImportOutcome, ImportedThing, Thing, imported_id},
};
use crate::{
    ExternalSubject, Store, StoreError, Subject,
    db::{Tx, on_tx, stored},
};

/// An account of an older system.
#[derive(Clone, Debug)]
pub struct ImportedAccount {
    /// The id that it gets, unless it is here already.
    pub id: AccountId,
    /// Its address.
    pub email: Email,
    /// The hash of its password.
    pub password_hash: PasswordHash,
    /// Its name.
    pub name: Option<String>,
    /// Where its picture is.
    pub avatar_url: Option<String>,
    /// Its role here.
    pub role: String,
    /// Its tier here.
    pub tier: String,
    /// Had the address been verified there?
    pub is_verified: bool,
    /// When it was made there.
    pub created_at: DateTime<Utc>,
    /// The system's name and the id it had there.
    pub there: Option<(String, String)>,
    /// The system's name.
    pub system: Option<String>,
    /// The address as it was written there.
    pub address: String,
}

/// What became of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Imported {
    /// It is here now.
    Made,
    /// It was here already.
    Present,
    /// Its id there belongs to an account of another address here.
    OtherAccount,
}

// === impl Store ===

impl Store {
    /// Makes those accounts that are not here yet, all or none; says of each what became of it.
    pub async fn import_accounts(
        &self,
        accounts: &[ImportedAccount],
        now: DateTime<Utc>,
    ) -> Result<Vec<Imported>, StoreError> {
        self.bounded(async {
            let mut tx = self.begin().await?;
            let (mut outcomes, mut heard) = (Vec::with_capacity(accounts.len()), Vec::new());
            for account in accounts {
                outcomes.push(tx.import(account, now, &mut heard).await?);
            }
            self.commit_and_tell(tx, &heard, now).await?;
            Ok::<_, StoreError>(outcomes)
        })
        .await
    }

    /// Says of each account what would become of it after all that was rehearsed before, and makes nothing.
    pub async fn rehearse_accounts(
        &self,
        accounts: &[ImportedAccount],
        rehearsal: &mut Rehearsal,
    ) -> Result<Vec<Imported>, StoreError> {
        self.bounded(async {
            let (mut tx, mut outcomes) = (self.begin().await?, Vec::with_capacity(accounts.len()));
            for account in accounts {
                outcomes.push(tx.rehearse_account(account, rehearsal).await?);
            }
            Ok::<_, StoreError>(outcomes)
        })
        .await
    }
}

/// How a system's subject is recorded whose tokens name people by their addresses: to the letter, since there another spelling may be
/// somebody else.
#[must_use]
pub fn by_address(address: &str) -> String {
    format!("email:{address}")
}

// === impl Tx ===

impl Tx {
    async fn import(
        &mut self,
        new: &ImportedAccount,
        now: DateTime<Utc>,
        heard: &mut Vec<Subject>,
    ) -> Result<Imported, StoreError> {
        let there =
            new.there.as_ref().map(|(system, id)| ExternalSubject { issuer: system, subject: id, claims_at: None });
        let known = match &there {
            Some(there) => self.external_owner(ExternalId::of(there.issuer, there.subject)).await?,
            None => None,
        };
        let made = self.insert_imported(new).await?;
        let (id, outcome) = match made {
            Some(id) if known.is_some() => {
                // Its address is another one there by now: what it is here is not for an import to change.
                self.drop_imported(id).await?;
                return Ok(Imported::OtherAccount);
            }
            Some(id) => (id, Imported::Made),
            None => (self.id_of(&new.email).await?.ok_or(StoreError::NotFound)?, Imported::Present),
        };
        match known {
            Some(owner) if owner != id => return Ok(Imported::OtherAccount),
            // Who has the address here need not be who has it there: nobody is given an account that is here.
            _ if matches!(outcome, Imported::Present) => return Ok(outcome),
            _ => {}
        }
        if let Some(there) = there {
            heard.push(self.insert_external(id, there, now).await?);
        }
        if let Some(system) = &new.system {
            let address = ExternalSubject { issuer: system, subject: &by_address(&new.address), claims_at: None };
            heard.push(self.insert_external(id, address, now).await?);
        }
        Ok(outcome)
    }

    async fn rehearse_account(
        &mut self,
        new: &ImportedAccount,
        rehearsal: &mut Rehearsal,
    ) -> Result<Imported, StoreError> {
        let there = new.there.as_ref().map(|(system, id)| ExternalId::of(system, id));
        let owner = match there {
            Some(there) => self.external_owner(there).await?,
            None => None,
        };
        let has_address = self.id_of(&new.email).await?;
        let is_new = has_address.is_none() && rehearsal.addresses.insert(new.email.normalised().to_owned());
        if is_new {
            // Its id there may be another address's, here or above in the file.
            let is_free = owner.is_none() && there.is_none_or(|there| rehearsal.here.insert(Place::User(there)));
            return Ok(if is_free { Imported::Made } else { Imported::OtherAccount });
        }
        Ok(if owner.is_some() && owner != has_address { Imported::OtherAccount } else { Imported::Present })
    }

    pub(crate) async fn external_owner(&mut self, id: ExternalId) -> Result<Option<AccountId>, StoreError> {
        const Q: &str = "SELECT account_id FROM external_identities WHERE id = $1";
        let owner: Option<Uuid> = on_tx!(self, |c| sqlx::query_scalar(Q).bind(id.uuid()).fetch_optional(c).await)?;
        Ok(owner.map(AccountId::new))
    }

    async fn id_of(&mut self, email: &Email) -> Result<Option<AccountId>, StoreError> {
        const Q: &str = "SELECT id FROM accounts WHERE email_normalised = $1";
        let id: Option<Uuid> =
            on_tx!(self, |c| sqlx::query_scalar(Q).bind(email.normalised()).fetch_optional(c).await)?;
        Ok(id.map(AccountId::new))
    }

    /// The new account's id; `None` if the address has one already.
    async fn insert_imported(&mut self, new: &ImportedAccount) -> Result<Option<AccountId>, StoreError> {
        const Q: &str = "INSERT INTO accounts (id, email, email_normalised, password_hash, name, role, tier, status, is_verified, \
                         created_at, updated_at, has_own_tier, avatar_url) VALUES ($1, $2, $3, $4, $5, $6, $7, 'active', $8, $9, $9, $7 <> 'free', $10) \
                         ON CONFLICT (email_normalised) DO NOTHING";
        let made = on_tx!(self, |c| sqlx::query(Q)
            .bind(new.id.uuid())
            .bind(new.email.as_str())
            .bind(new.email.normalised())
            .bind(new.password_hash.as_str())
            .bind(&new.name)
            .bind(&new.role)
            .bind(&new.tier)
            .bind(new.is_verified)
            .bind(stored(new.created_at))
            .bind(&new.avatar_url)
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        Ok((made > 0).then_some(new.id))
    }

    async fn drop_imported(&mut self, id: AccountId) -> Result<(), StoreError> {
        const Q: &str = "DELETE FROM accounts WHERE id = $1";
        Ok(on_tx!(self, |c| sqlx::query(Q).bind(id.uuid()).execute(c).await.map(drop))?)
    }
}
