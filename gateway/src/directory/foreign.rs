//! Callers for whom somebody else vouches: external issuers, old systems, and a developer on this machine.
//!
//! Which of them a token is from it says itself ([`Unverified`]); everything else counts only once its signature has been checked
//! with the keys of that one. What the account is and may do is ours: an issuer says a role only where the configuration gives
//! its words a meaning, and what it says is written down, so that everybody hears of it as of any other change.

mod developer;
mod issuer;
mod old;
mod plain;
mod trail;

use std::{net::IpAddr, sync::Arc};

use anyhow::Context;
use chrono::{DateTime, Utc};
use identity::{
    AccountId, Argon2Params, Assurance, Authentication, Email, ExternalId, ForeignClaims, Hasher, PasswordHash,
    SealKeys, TenantId, Unverified, Voucher,
};
use policies::{Quota, Refusal};
use store::{
    Account, AccountKind, Audit, Belonging, ExternalSubject, GrantFacts, NewAccount, Status, Store, StoreError,
};
use uuid::Uuid;

use self::{
    issuer::Issuer,
    old::OldSystem,
    plain::plain_name,
    trail::{Happened, Trail},
};
use super::Asking;
use crate::{
    config::issuers::{Acting, Issuers, Mapping, NewAccounts},
    jwks_client::{Bucket, JwksClient},
    limiter::Limiter,
    metrics::Metrics,
};

/// Accounts made for an address are counted by themselves, and each issuer's by themselves: quotas differ.
const CREATED: u64 = u64::from_be_bytes(*b"accounts");
/// Where accounts are that have no address, or none that their issuer has verified: no mail ever gets there (RFC 2606 §2).
const NOWHERE: &str = identity::NOWHERE_OF_PEOPLE;

/// Everybody else who is believed.
#[derive(Default)]
pub(crate) struct Outside {
    issuers: Vec<Arc<Issuer>>,
    old: Vec<OldSystem>,
    /// The hash of no password: it takes as long to check as any other, so that nobody learns who comes from elsewhere.
    no_password: Option<PasswordHash>,
    /// Writes down what they have done.
    trail: Trail,
}

/// A caller whom somebody vouches for, and how to find the account.
pub(super) struct Vouched {
    pub(super) id: ExternalId,
    pub(super) by: Voucher,
    /// Unix seconds.
    pub(super) expires_at: i64,
    whose: Whose,
}

enum Whose {
    /// That of an issuer's subject.
    Subject(Arc<Issuer>, Said),
    /// That which was imported under this id, or address.
    Imported,
    /// That of this address, which is made if there is none.
    AnyAddress(Email, Option<String>),
}

/// What an issuer says of somebody.
struct Said {
    /// Who it is there.
    subject: String,
    claims: ForeignClaims,
}

// === impl Outside ===

impl Outside {
    /// What the configuration says. Keys are fetched once [`Self::clients`] are told to.
    pub(crate) fn new(
        settings: &Issuers,
        dev_headers: bool,
        passwords: Argon2Params,
        limiter: &Arc<Limiter>,
        metrics: &Metrics,
    ) -> anyhow::Result<Self> {
        let everybody = Bucket::of_everybody();
        let outcomes = metrics.jwks_fetches.clone();
        let issuers = (1..).zip(&settings.external).map(|(number, issuer)| {
            let (limiter, outcomes) = (Arc::clone(limiter), outcomes.clone());
            let jwks = JwksClient::new(&issuer.into(), Arc::clone(&everybody), limiter, outcomes);
            let jwks = Arc::new(jwks.with_context(|| format!("the issuer {}", issuer.issuer))?);
            let mark = ExternalId::of(&issuer.issuer, "").uuid();
            anyhow::Ok(Arc::new(Issuer { number, mark, settings: issuer.clone(), rules: issuer.into(), jwks }))
        });
        let issuers: Vec<_> = issuers.collect::<anyhow::Result<_>>()?;
        let may_create = |issuer: &Arc<Issuer>| issuer.settings.accounts != NewAccounts::Existing;
        let no_password = (dev_headers || issuers.iter().any(may_create))
            .then(|| Hasher::new(passwords).map(|hasher| hasher.decoy().clone()))
            .transpose()?;
        let old = settings.legacy.iter().map(OldSystem::new).collect::<anyhow::Result<_>>()?;
        Ok(Self { issuers, old, no_password, trail: Trail::default() })
    }

    /// Writes down what they do to accounts, and tells their owners by mail that `seal` seals.
    pub(crate) fn recorded_in(self, audit: &Arc<Audit>, seal: &Arc<SealKeys>) -> Self {
        Self { trail: Trail::kept_in(Arc::clone(audit), Arc::clone(seal)), ..self }
    }

    /// The keys of every issuer, and what changes when one of them is withdrawn.
    pub(super) fn clients(&self) -> impl Iterator<Item = (Uuid, &Arc<JwksClient>)> {
        self.issuers.iter().map(|issuer| (issuer.mark, &issuer.jwks))
    }

    /// What changes when a key of that issuer is withdrawn.
    pub(super) fn mark_of(&self, number: u16) -> Option<Uuid> {
        self.issuers.get(usize::from(number).checked_sub(1)?).map(|issuer| issuer.mark)
    }

    /// Whose a token says that it is, and proves; `None`: it does not say that it is one of theirs, so it is judged as ours.
    pub(super) async fn prove(
        &self,
        token: &str,
        client: IpAddr,
        now: DateTime<Utc>,
    ) -> Option<Result<Vouched, Refusal>> {
        if self.issuers.is_empty() && self.old.is_empty() {
            return None;
        }
        let said = Unverified::read(token)?;
        if let Some(issuer) = self.issuers.iter().find(|one| said.issuer.as_ref() == Some(&one.settings.issuer)) {
            return Some(issuer.prove(token, said.kid.as_deref(), client, now).await);
        }
        let system = self.old.iter().find(|one| one.signs(&said))?;
        Some(system.prove(token, now))
    }

    /// The account of somebody who is vouched for.
    pub(super) async fn facts(
        &self,
        store: &Store,
        limiter: &Limiter,
        vouched: &Vouched,
        asking: Asking<'_>,
    ) -> Result<Option<GrantFacts>, Failed> {
        match &vouched.whose {
            Whose::Imported => Ok(store.external_grant(vouched.id).await?),
            Whose::AnyAddress(email, name) => {
                let account = self.developed(store, email, name.clone(), asking).await?;
                Ok(Some(GrantFacts::of_account(account)))
            }
            Whose::Subject(issuer, said) => {
                let acting = issuer.tenant(&said.claims);
                if vouched.by == Voucher::IssuerForTenant && acting.is_none() {
                    // It is for an organisation that is none of ours.
                    return Ok(None);
                }
                let tenant = acting.map(|acting| acting.tenant);
                let facts = match store.external_account(vouched.id, tenant).await? {
                    Some(known) => {
                        let (account, is_another) =
                            issuer.follow(store, vouched.id, known, &said.claims, asking.now).await?;
                        if is_another {
                            self.trail.tell(Happened::Changed, &issuer.settings.issuer, &account, asking).await;
                        }
                        Some(GrantFacts::of_account_in(account, tenant))
                    }
                    None => self.first_seen(store, limiter, issuer, (said, acting), asking).await?,
                };
                let (scopes, authentication) = (vouched.scopes(), vouched.authentication(asking.now));
                Ok(facts.map(|facts| GrantFacts { scopes, authentication, ..facts }))
            }
        }
    }

    /// A subject whom nobody here has seen: linked or made, as the configuration allows; else none.
    async fn first_seen(
        &self,
        store: &Store,
        limiter: &Limiter,
        issuer: &Issuer,
        (Said { subject, claims }, acting): (&Said, Option<Acting>),
        asking: Asking<'_>,
    ) -> Result<Option<GrantFacts>, Failed> {
        let (settings, now) = (&issuer.settings, asking.now);
        let subject = ExternalSubject { issuer: &settings.issuer, subject, claims_at: claims.issued_at() };
        // An address that its issuer has not verified is anybody's: who lists it first would take it from its owner, or wait
        // in the account that its owner makes.
        let verified = claims.is_true(&settings.claims.email_verified);
        let email = claims.text(&settings.claims.email).filter(|_| verified).and_then(|text| Email::parse(text).ok());
        let owner = match &email {
            Some(email) => store.account_by_email(email).await?,
            None => None,
        };
        if let Some(owner) = owner {
            if !settings.link_verified_email {
                return Ok(None);
            }
            // Nor does a token link that would open nothing.
            if let Some(Acting { tenant, .. }) = acting
                && store.role_in(tenant, owner.id).await?.is_none()
            {
                // Whose it is is said all the same: it opens as soon as they belong there, and that is heard of them.
                return Ok(Some(GrantFacts { has_left: true, ..GrantFacts::of_account(owner) }));
            }
            let notice = email.as_ref().and_then(|email| self.trail.notice_of_link(email, now));
            let subject_alone = ExternalSubject { claims_at: None, ..subject };
            // Nor is an account that nobody has confirmed its owner's yet, or whom another has let in on its own word, nor does this one's count
            // where the owner has taken its link away. That is asked where it is done, since the owner may be saying so at this moment.
            let linked = store.link_external(owner.id, email.as_ref(), subject_alone, notice.as_ref(), now).await;
            match linked {
                Ok(true) => self.trail.tell(Happened::Linked, &settings.issuer, &owner, asking).await,
                Ok(false) => return Ok(None),
                Err(_) => {}
            }
            return after_race(store, subject, linked.map(|_| owner), acting).await;
        }
        let NewAccounts::Create(quota) = settings.accounts else { return Ok(None) };
        let tenant = match acting {
            None => Belonging::FoundsOwn,
            Some(Acting { tenant, joins }) => {
                if !joins || !is_active(store, tenant).await? {
                    return Ok(None);
                }
                Belonging::Joins(tenant)
            }
        };
        spend(limiter, CREATED ^ u64::from(issuer.number), &quota, asking.client)?;
        let id = AccountId::new(Uuid::now_v7());
        // What one issuer has seen is no reason for another to link to the account, unless this one may link too.
        let is_verified = email.is_some() && settings.link_verified_email;
        let nowhere =
            || Email::parse(&format!("{}@{NOWHERE}", id.uuid().simple())).map_err(|_| Failed(Refusal::Internal));
        let email = email.map_or_else(nowhere, Ok)?;
        let (role, tier) = issuer.says(claims);
        let new = NewAccount {
            id,
            email: &email,
            password_hash: self.no_password(),
            name: claims.text(&settings.claims.name).and_then(plain_name),
            role: role.unwrap_or(&settings.role),
            tier: tier.unwrap_or(&settings.tier),
            has_own_tier: tier.is_some(),
            is_verified,
            kind: AccountKind::Person,
            tenant,
            now,
        };
        let made = store.create_external(new, subject).await;
        if let Ok(account) = &made {
            self.trail.tell(Happened::Made, &settings.issuer, account, asking).await;
        }
        after_race(store, subject, made, acting).await
    }

    fn no_password(&self) -> PasswordHash {
        // Text that is no hash matches nothing either.
        self.no_password.clone().unwrap_or_else(|| PasswordHash::from(String::new()))
    }
}

/// Is there such an organisation, and may it be used?
async fn is_active(store: &Store, tenant: TenantId) -> Result<bool, StoreError> {
    Ok(store.tenant(tenant).await?.is_some_and(|tenant| tenant.status == Status::Active))
}

/// What there is to know of the account where it acts. Of two requests that make the same record one comes second, and finds what the first
/// one has made.
async fn after_race(
    store: &Store,
    subject: ExternalSubject<'_>,
    outcome: Result<Account, StoreError>,
    acting: Option<Acting>,
) -> Result<Option<GrantFacts>, Failed> {
    let account = match outcome {
        Err(StoreError::Conflict(_) | StoreError::EmailTaken) => {
            let made = store.external_grant(ExternalId::of(subject.issuer, subject.subject)).await?;
            made.map(|facts| facts.account)
        }
        outcome => Some(outcome?),
    };
    let tenant = acting.map(|acting| acting.tenant);
    let account = match account {
        Some(account) if tenant.is_some() => store.account_in(account.id, tenant).await?,
        account => account,
    };
    Ok(account.map(|account| GrantFacts::of_account_in(account, tenant)))
}

fn spend(limiter: &Limiter, created: u64, quota: &Quota, client: IpAddr) -> Result<(), Failed> {
    if let Some(retry_after) = limiter.address_exhausted(created, quota, client) {
        return Err(Failed(Refusal::RateLimited { limit: "new-accounts".into(), retry_after }));
    }
    limiter.spend_address(created, quota, client);
    Ok(())
}

impl Vouched {
    /// Which external issuer's keys have proved it; 0: none of theirs.
    pub(super) fn issuer(&self) -> u16 {
        if let Whose::Subject(issuer, _) = &self.whose { issuer.number } else { 0 }
    }

    /// That two factors were shown to its issuer, where that is taken at its word; without an `auth_time` that can be, nobody knows how
    /// long ago.
    fn authentication(&self, now: DateTime<Utc>) -> Option<Authentication> {
        let Whose::Subject(issuer, Said { claims, .. }) = &self.whose else { return None };
        let wanted = &issuer.settings.second_factor;
        let is_shown = !wanted.is_empty() && wanted.iter().all(|(claim, value)| claims.names(claim, value));
        let latest = (now + issuer.settings.leeway).timestamp();
        let at = claims.authenticated_at().filter(|at| *at <= latest).unwrap_or(i64::MIN);
        is_shown.then_some(Authentication { at, assurance: Assurance::Multi })
    }

    /// To which permissions the token is limited, where its issuer says it.
    fn scopes(&self) -> Option<Vec<String>> {
        let Whose::Subject(issuer, Said { claims, .. }) = &self.whose else { return None };
        let Mapping { claim, values } = issuer.settings.scopes.as_ref()?;
        let given = values.iter().filter(|(value, _)| claims.names(claim, value));
        Some(given.map(|(_, here)| here.clone()).collect())
    }
}

/// Why no facts are to be had.
pub(super) struct Failed(pub(super) Refusal);

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        tracing::warn!(%error, "an account could not be looked up");
        Self(Refusal::DirectoryUnavailable)
    }
}
