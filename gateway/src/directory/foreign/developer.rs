//! A caller whom a developer on this machine names in a header.

use identity::{AccountId, Email, ExternalId, Voucher};
use policies::{Refusal, roles::ADMIN};
use store::{Account, AccountKind, Belonging, NewAccount, Store, StoreError};
use uuid::Uuid;

use super::{Asking, Failed, Outside, Vouched, Whose, plain_name, trail::Happened};
use crate::office::{DEFAULT_ROLE, DEFAULT_TIER};

/// By whom such callers are known.
const ISSUER: &str = "dev_headers";

// === impl Outside ===

impl Outside {
    /// A caller whom a developer names.
    pub(in crate::directory) fn named_by_developer(email: &str, name: Option<&str>) -> Result<Vouched, Refusal> {
        let email = Email::parse(email).map_err(|_| Refusal::InvalidToken)?;
        Ok(Vouched {
            id: ExternalId::of(ISSUER, email.normalised()),
            by: Voucher::Developer,
            expires_at: i64::MAX,
            whose: Whose::AnyAddress(email, name.map(str::to_owned)),
        })
    }

    /// The account of the address that a developer names.
    pub(super) async fn developed(
        &self,
        store: &Store,
        email: &Email,
        name: Option<String>,
        asking: Asking<'_>,
    ) -> Result<Account, Failed> {
        if let Some(account) = store.account_by_email(email).await? {
            // A header is no proof: what comes of a wrong configuration must not be the whole platform.
            return if account.role == ADMIN { Err(Failed(Refusal::UnknownAccount)) } else { Ok(account) };
        }
        let new = NewAccount {
            id: AccountId::new(Uuid::now_v7()),
            email,
            password_hash: self.no_password(),
            name: name.as_deref().and_then(plain_name),
            role: DEFAULT_ROLE,
            tier: DEFAULT_TIER,
            has_own_tier: false,
            is_verified: false,
            kind: AccountKind::Person,
            tenant: Belonging::FoundsOwn,
            now: asking.now,
        };
        match store.create_account(new).await {
            Err(StoreError::EmailTaken) => Ok(store.account_by_email(email).await?.ok_or(StoreError::NotFound)?),
            made => {
                let account = made?;
                self.trail.tell(Happened::Made, ISSUER, &account, asking).await;
                Ok(account)
            }
        }
    }
}
