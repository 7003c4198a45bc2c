//! Keys at providers that routes with `inject_credential` show: from the cache if they were asked for before, else looked up and opened.
//!
//! An entry counts only while nothing about the integrations of its account or tenant has changed since before it was loaded
//! ([`Stamps`]), as with callers: a key that was changed or taken away is not shown once this process has heard of it. What is opened lies in memory
//! that is wiped, for as many callers as are cached, and goes when nobody asks for it; copies are made where it is sent, and those are not wiped: the
//! field of the request, and what is written from it. Routes without an injection never come here.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue};
use identity::{AccountId, Principal, ProviderKey, SealKeys, TenantId};
use moka::future::Cache;
use pingora::{Error, ErrorType, OrErr, Result};
use policies::{Injection, Refusal};
use store::{FoundIntegration, Store, Subject};

use super::{Directory, TRIES};
use crate::{
    readiness::Readiness,
    stamps::{Moment, Stamps},
};

/// A key that nobody has used for so long is closed again.
const OPEN_FOR: Duration = Duration::from_mins(10);

/// Keys that are open, and how to open others.
pub(crate) struct ProviderKeys {
    store: Store,
    seal: Arc<SealKeys>,
    readiness: Arc<Readiness>,
    found: Cache<Wanted, Arc<Found>>,
    stamps: Stamps,
}

/// Whose key, and for whom. Another service of the same caller is another entry.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Wanted {
    account: AccountId,
    tenant: Option<TenantId>,
    service: Arc<str>,
}

struct Found {
    what: FoundIntegration,
    learnt: Moment,
    /// What does not open: by which master keys. Another one may open it.
    tried: Vec<String>,
}

/// A key that a request is to show.
#[derive(Clone)]
pub(crate) struct Provided(Arc<Found>);

// === impl ProviderKeys ===

impl ProviderKeys {
    /// For callers and services `most` of whose keys are open at once, some 300 bytes each.
    pub(crate) fn new(store: Store, seal: Arc<SealKeys>, readiness: &Arc<Readiness>, most: u64) -> Self {
        let found = Cache::builder().max_capacity(most).time_to_idle(OPEN_FOR).build();
        Self { store, seal, readiness: Arc::clone(readiness), found, stamps: Stamps::new() }
    }

    /// Voids what was learnt about those whose integrations changed. With an account or a tenant its own go.
    pub(super) fn hear(&self, subject: Subject) {
        match subject {
            Subject::Integrations(owner) => self.stamps.changed(owner),
            Subject::Account(id) => self.stamps.changed(id.uuid()),
            Subject::Tenant(id) => self.stamps.changed(id.uuid()),
            Subject::Unknown => self.stamps.all_changed(),
            _ => {}
        }
    }

    pub(super) fn forget_all(&self) {
        self.stamps.all_changed();
    }

    /// One query, once however many requests wait for it.
    async fn load(&self, wanted: &Wanted, learnt: Moment) -> Result<Arc<Found>, Refusal> {
        let mut tried = self.seal.ids();
        let owners = (wanted.account, wanted.tenant);
        let what = self.store.provider_key(&self.seal, owners, &wanted.service).await.map_err(|error| {
            tracing::warn!(%error, service = &*wanted.service, "a key at a provider's could not be looked up");
            Refusal::DirectoryUnavailable
        })?;
        if matches!(what, FoundIntegration::Unreadable) {
            tracing::error!(account = %wanted.account, service = &*wanted.service, "an integration does not open");
            self.readiness.found_unreadable();
        } else {
            tried = Vec::new();
        }
        Ok(Arc::new(Found { what, learnt, tried }))
    }

    fn still_holds(&self, wanted: &Wanted, found: &Found) -> bool {
        let tenant = wanted.tenant.map_or(wanted.account.uuid(), |tenant| tenant.uuid());
        let may_open_now = matches!(found.what, FoundIntegration::Unreadable) && found.tried != self.seal.ids();
        !may_open_now && self.stamps.unchanged_since(found.learnt, [wanted.account.uuid(), tenant])
    }
}

// === impl Directory ===

impl Directory {
    /// Knows keys at providers too.
    pub(crate) fn with_provider_keys(self, keys: ProviderKeys) -> Self {
        Self { provider_keys: Some(keys), ..self }
    }

    /// The key that the caller's request shows: its own, else its tenant's. Refuses with 403 if there is none or somebody acts for the caller, with 503 if it does not open or
    /// nobody can say.
    pub(crate) async fn provided(&self, principal: &Principal, injection: &Injection) -> Result<Provided, Refusal> {
        // What is paid for with a key is its owner's to ask for. Before any look-up, so that nothing is told of what there is.
        if principal.actor.is_some() {
            return Err(Refusal::Forbidden { missing: "the owner, not whoever acts for them".to_owned() });
        }
        let keys = self.provider_keys.as_ref().ok_or(Refusal::Internal)?;
        let service = Arc::clone(&injection.service);
        let wanted = Wanted { account: principal.account, tenant: principal.tenant, service };
        for _ in 0..TRIES {
            let holds = |found: &Found| !self.too_stale.load(Ordering::Acquire) && keys.still_holds(&wanted, found);
            if keys.found.get(&wanted).await.is_some_and(|found| !holds(&found)) {
                keys.found.invalidate(&wanted).await;
            }
            let begun = keys.stamps.now();
            let found = keys.found.try_get_with(wanted.clone(), keys.load(&wanted, begun)).await;
            let found = found.map_err(|refusal| {
                self.store_failures.inc();
                (*refusal).clone()
            })?;
            if holds(&found) {
                return Provided::judge(found, injection);
            }
        }
        Err(Refusal::DirectoryUnavailable)
    }
}

// === impl Provided ===

impl Provided {
    fn judge(found: Arc<Found>, injection: &Injection) -> Result<Self, Refusal> {
        match found.what {
            FoundIntegration::Key(_) => Ok(Self(found)),
            FoundIntegration::Unreadable => {
                Err(Refusal::IntegrationUnreadable { service: Arc::clone(&injection.service) })
            }
            FoundIntegration::Missing => Err(Refusal::IntegrationMissing { service: Arc::clone(&injection.service) }),
        }
    }

    /// Is it the same key?
    pub(crate) fn is(&self, other: &Self) -> bool {
        match (&self.0.what, &other.0.what) {
            (FoundIntegration::Key(one), FoundIntegration::Key(other)) => one.expose() == other.expose(),
            _ => false,
        }
    }

    /// Puts the key where the provider reads it, and takes away whatever the provider might read in its place.
    pub(crate) fn show(&self, injection: &Injection, headers: &mut HeaderMap) -> Result<()> {
        let FoundIntegration::Key(key) = &self.0.what else { return Err(nothing()) };
        let aliases: Vec<HeaderName> =
            headers.keys().filter(|name| injection.is_alias(name.as_str())).cloned().collect();
        for alias in &aliases {
            headers.remove(alias);
        }
        let name = HeaderName::from_bytes(injection.header().as_bytes())
            .or_err(ErrorType::InternalError, "a header's name was checked at the start")?;
        headers.insert(name, value(injection, key)?);
        Ok(())
    }
}

/// A route that injects a key sends nothing without one.
#[expect(clippy::unnecessary_box_returns, reason = "as Pingora hands its errors on")]
pub(crate) fn nothing() -> Box<Error> {
    Error::explain(ErrorType::InternalError, "there is no key to inject")
}

fn value(injection: &Injection, key: &ProviderKey) -> Result<HeaderValue> {
    let (before, after) = injection.around();
    let mut value = HeaderValue::from_str(&key.between(before, after))
        .or_err(ErrorType::InternalError, "a key fits into a header")?;
    value.set_sensitive(true);
    Ok(value)
}
