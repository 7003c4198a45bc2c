//! What is known beside the caller, and only where a route or an upstream asks for it: kept as callers are, believed only while nothing
//! has changed about those whom it concerns since before it was loaded.

use std::{future::Future, hash::Hash, net::IpAddr, sync::Arc};

use identity::{AccountId, Principal, TenantId};
use moka::future::Cache;
use policies::{OwnerDemand, Possession, Refusal, ResourceKind};
use store::StoreError;
use uuid::Uuid;

use super::{Directory, TRIES, strangers::Turn};
use crate::{office::DEFAULT_TIER, stamps::Moment};

/// Bytes of a header with teams or domains; what does not fit is left out, which gives nobody more.
const LONGEST: usize = 8192;

/// What was looked up, and when.
pub(super) struct Guarded<K, V>(Cache<K, (V, Moment)>);

/// The teams and domains in use to which a caller belongs, as upstreams are told of them, and its tenant's tier.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct GroupHeaders {
    /// Names of teams, separated by commas.
    pub(crate) teams: Box<str>,
    /// Keys of domains, separated by commas.
    pub(crate) domains: Box<str>,
    /// That whose quotas are the tenant's; whatever the caller's own is.
    pub(crate) tier: Box<str>,
}

/// Whose a thing is, and what it took to know.
#[derive(Debug)]
pub(crate) struct Sought<'a> {
    /// `None`: nobody's, or there is none.
    pub(crate) whose: Option<Possession>,
    /// Has the database been asked? Then the turn is over once it is counted if this was a stranger's question.
    turn: Option<Turn<'a>>,
}

// === impl Sought ===

impl Sought<'_> {
    pub(crate) fn was_asked_for(&self) -> bool {
        self.turn.is_some()
    }
}

// === impl Guarded ===

impl<K: Hash + Eq + Clone + Send + Sync + 'static, V: Clone + Send + Sync + 'static> Guarded<K, V> {
    pub(super) fn new(capacity: u64) -> Self {
        Self(Cache::new(capacity))
    }

    /// What is known of `key`, if it holds; `about` are those whom it concerns.
    async fn held(&self, directory: &Directory, key: &K, about: impl Fn(&V) -> [Uuid; 3]) -> Option<V> {
        let (value, learnt) = self.0.get(key).await?;
        let holds = !directory.is_too_stale() && directory.stamps.unchanged_since(learnt, about(&value));
        holds.then_some(value)
    }

    /// Loads it, once however many wait for it, until no change overtakes the load.
    async fn load<L>(
        &self,
        directory: &Directory,
        key: K,
        about: impl Fn(&V) -> [Uuid; 3] + Copy,
        load: impl Fn() -> L,
    ) -> Result<V, Refusal>
    where
        L: Future<Output = Result<V, StoreError>>,
    {
        for _ in 0..TRIES {
            let learnt = directory.stamps.now();
            if self.0.contains_key(&key) && self.held(directory, &key, about).await.is_none() {
                self.0.invalidate(&key).await;
            }
            let loaded = self.0.try_get_with(key.clone(), async { load().await.map(|value| (value, learnt)) }).await;
            if let Err(error) = loaded {
                tracing::warn!(%error, "what a route or an upstream asks for cannot be looked up");
                directory.store_failures.inc();
                return Err(Refusal::DirectoryUnavailable);
            }
            if let Some(value) = self.held(directory, &key, about).await {
                return Ok(value);
            }
        }
        Err(Refusal::DirectoryUnavailable)
    }
}

// === impl Directory ===

impl Directory {
    /// The teams and domains of a caller and its tenant's tier, for an upstream that asks for them; `None`: it acts in no tenant.
    pub(crate) async fn groups(&self, principal: &Principal) -> Result<Option<Arc<GroupHeaders>>, Refusal> {
        let Some(tenant) = principal.tenant else { return Ok(None) };
        let key = (principal.account, tenant);
        let about = |_: &Arc<GroupHeaders>| [key.0.uuid(), key.1.uuid(), groups_of(key.1)];
        if let Some(known) = self.groups.held(self, &key, about).await {
            return Ok(Some(known));
        }
        let load = || async move {
            let groups = GroupHeaders::from(self.store.groups_of(key.1, key.0).await?);
            let tier = self.store.tier_of_tenant(key.1).await?.flatten();
            let tier = tier.map_or_else(|| DEFAULT_TIER.into(), String::into_boxed_str);
            Ok(Arc::new(GroupHeaders { tier, ..groups }))
        };
        self.groups.load(self, key, about, load).await.map(Some)
    }

    /// Whose the thing is that a path names. An address that has been refused too often is told only what is known already.
    pub(crate) async fn possession(
        &self,
        demand: &OwnerDemand,
        path: &str,
        client: IpAddr,
    ) -> Result<Sought<'_>, Refusal> {
        let Some(id) = demand.named_in(path) else { return Ok(Sought { whose: None, turn: None }) };
        if let Some(whose) = self.things.held(self, &(demand.kind, id), about(id)).await {
            return Ok(Sought { whose, turn: None });
        }
        self.check_refusals(client)?;
        let turn = self.turn(client).await?;
        let whose = self.whose(demand.kind, id).await?;
        Ok(Sought { whose, turn: Some(turn) })
    }

    /// Whose a thing is, by what is known or by a question to the database.
    pub(crate) async fn whose(&self, kind: ResourceKind, id: Uuid) -> Result<Option<Possession>, Refusal> {
        let load = || async move {
            let owner = match kind {
                ResourceKind::Agent => self.store.owner_of_agent(id).await,
                ResourceKind::AgentInstance => self.store.owner_of_instance(id).await,
            };
            owner.map(|owner: Option<(AccountId, TenantId)>| {
                owner.map(|(account, tenant)| Possession { account, tenant })
            })
        };
        self.things.load(self, (kind, id), about(id), load).await
    }
}

/// Whom it concerns whose a thing is.
fn about(id: Uuid) -> impl Fn(&Option<Possession>) -> [Uuid; 3] + Copy {
    move |whose| whose.map_or([id; 3], |whose| [id, whose.account.uuid(), whose.tenant.uuid()])
}

/// What the integrations of an account or a tenant go by: to say that they have changed is not to say that their owner has.
pub(super) fn integrations_of(owner: Uuid) -> Uuid {
    Uuid::from_u128(owner.as_u128() ^ u128::from_be_bytes(*b"its integrations"))
}

/// What the teams and domains of a tenant go by: to say that they have changed is not to say that the tenant has.
pub(super) fn groups_of(tenant: TenantId) -> Uuid {
    Uuid::from_u128(tenant.uuid().as_u128() ^ u128::from_be_bytes(*b"teams or domains"))
}

// === impl GroupHeaders ===

impl From<store::Groups> for GroupHeaders {
    fn from(groups: store::Groups) -> Self {
        let teams = groups.teams.iter().filter(|team| team.is_active).map(|team| team.name.as_str());
        let domains = groups.domains.iter().filter(|domain| domain.is_active).map(|domain| domain.key.as_str());
        Self { teams: joined(teams), domains: joined(domains), tier: Box::default() }
    }
}

/// A list that is taken apart at its commas. What is in a name that could be taken for something else, and what is no visible ASCII, is
/// percent-encoded (RFC 3986 §2.1).
fn joined<'a>(names: impl Iterator<Item = &'a str>) -> Box<str> {
    let mut text = String::new();
    for name in names {
        let before = text.len();
        if !text.is_empty() {
            text.push(',');
        }
        for byte in name.bytes() {
            match byte {
                b' '..=b'~' if !b"%,\"\\;".contains(&byte) => text.push(char::from(byte)),
                _ => {
                    let digit = |nibble: u8| char::from(b"0123456789ABCDEF"[usize::from(nibble)]);
                    text.extend(['%', digit(byte >> 4), digit(byte & 15)]);
                }
            }
        }
        if text.len() > LONGEST {
            text.truncate(before);
            break;
        }
    }
    text.into()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests;
