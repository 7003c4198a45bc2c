//! The audit trail: what happened to accounts, keys, sessions and the configuration, and who did it.
//!
//! Events are only added. Each holds the digest of itself and of the one before it, made with a key that lies sealed beside its chain, so
//! that whoever has not the master key adds none, alters none and takes none out of the middle; how far a chain has come is sealed each
//! second, so that none can be taken off its end. Every process has a chain of its own, that nobody waits for another's; each names how far all
//! others had come when it began. What this cannot show is that the youngest of them were cut off at a place where they once were, or the whole
//! database was replaced by an older copy of itself: for that keep what `portcullis audit verify` prints.
//!
//! How a chain is written down is in `chain`, how it is looked at again in `verify`. Ids are kept, and no addresses of mail: when an account is
//! deleted, what it did stays.

use std::{fmt, sync::Arc};

use chrono::{DateTime, Utc};
use identity::{ChainKey, SealKeys};
use sqlx_macros::FromRow;
use tokio::sync::Mutex;
use uuid::Uuid;

use self::chain::{Base, Kind, Mark};
use crate::{Store, StoreError};

mod chain;
mod rows;
mod verify;

/// Rows that a verification holds in memory, and that one statement deletes at most.
const AT_ONCE: i64 = 1000;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct AuditEvent {
    /// Of version 7: events are in the order of their ids.
    pub id: Uuid,
    /// When.
    pub at: DateTime<Utc>,
    /// What: `login`, `create_key` … as the API's operations are named.
    pub event: String,
    /// `ok`, or the code of the refusal.
    pub outcome: String,
    /// The account that did it, if it is known.
    pub actor: Option<Uuid>,
    /// The account, key or session that it was done to.
    pub subject: Option<Uuid>,
    /// From where.
    pub address: Option<String>,
    /// To find it in the access log.
    pub request_id: Option<String>,
    /// What else there is to know, as JSON.
    pub details: Option<String>,
}

/// Which events somebody wants to see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Of this kind.
    pub event: Option<String>,
    /// That ended so.
    pub outcome: Option<String>,
    /// By this account.
    pub actor: Option<Uuid>,
    /// To this account, key or session.
    pub subject: Option<Uuid>,
    /// From then on.
    pub since: Option<DateTime<Utc>>,
    /// And before then.
    pub until: Option<DateTime<Utc>>,
}

/// Writes this process's chain.
pub struct Audit {
    store: Store,
    seal: Arc<SealKeys>,
    chain: Mutex<Option<Chain>>,
}

/// The chain of this process.
struct Chain {
    id: Uuid,
    kind: Kind,
    at: Mark,
    is_sealed: bool,
}

/// What is wrong with a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditFault {
    /// Which one.
    pub chain: Uuid,
    /// At which of its events, counted from 1.
    pub position: i64,
    /// What.
    pub wrong: &'static str,
}

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditReport {
    /// Chains that were looked at.
    pub chains: u64,
    /// Those among them that an older release wrote, whose digests anybody can compute.
    pub unkeyed: u64,
    /// Events that were looked at.
    pub events: u64,
    /// The digest of all that was found, to be kept somewhere else: only an older copy of everything has an earlier one.
    pub digest: String,
    /// What is wrong; nothing, if all is well.
    pub faults: Vec<AuditFault>,
}

/// A chain, and the first and the last position of the events that there are of it.
#[derive(FromRow)]
struct ChainRow {
    id: Uuid,
    base: Vec<u8>,
    head: Vec<u8>,
    first: Option<i64>,
    last: Option<i64>,
}

#[derive(FromRow)]
struct EventRow {
    position: i64,
    #[sqlx(flatten)]
    event: AuditEvent,
    digest: Vec<u8>,
}

// === impl Audit ===

impl Audit {
    /// Nothing is written before the first event.
    #[must_use]
    pub fn new(store: Store, seal: Arc<SealKeys>) -> Self {
        Self { store, seal, chain: Mutex::new(None) }
    }

    /// Where it is kept.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Adds an event. Whoever asked for it may leave: it is added all the same.
    pub async fn add(self: &Arc<Self>, event: AuditEvent) -> Result<(), StoreError> {
        let this = Arc::clone(self);
        let added = tokio::spawn(async move {
            let mut chain = this.chain.lock().await;
            let mut own = match chain.take() {
                Some(own) => own,
                None => this.begin(event.at).await?,
            };
            // Whether an event was added when the database did not say so is not known: then another chain is begun.
            let at = own.at.after(&own.kind, own.id, &event);
            this.store.add_event(own.id, at, &event).await?;
            (own.at, own.is_sealed) = (at, false);
            *chain = Some(own);
            Ok(())
        });
        added.await.unwrap_or_else(|error| Err(StoreError::Unavailable(error.to_string())))
    }

    /// Seals how far the chain has come, if it went on. To be called each second.
    pub async fn seal(&self) -> Result<(), StoreError> {
        let mut chain = self.chain.lock().await;
        let Some(own) = chain.as_mut().filter(|own| !own.is_sealed) else { return Ok(()) };
        let head = self.sealed("head", own.id, &own.at.bytes());
        self.store.seal_chain(own.id, "UPDATE audit_chains SET head = $2 WHERE id = $1", &head).await?;
        own.is_sealed = true;
        Ok(())
    }

    /// Begins a chain of this process, which says how far all others have come.
    async fn begin(&self, now: DateTime<Utc>) -> Result<Chain, StoreError> {
        let (id, at, key) = (Uuid::now_v7(), Mark::BEGINNING, ChainKey::generate(&mut rand::rng()));
        let base = Base { at, kind: Kind::Keyed(key), names: self.unnamed().await? };
        let (sealed, head) = (self.sealed("base", id, &base.bytes()), self.sealed("head", id, &at.bytes()));
        self.store.begin_chain(id, &sealed, &head, now).await?;
        Ok(Chain { id, kind: base.kind, at, is_sealed: true })
    }
}

// === impl AuditFault ===

impl fmt::Display for AuditFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            0 => write!(f, "chain {}: {}", self.chain, self.wrong),
            position => write!(f, "chain {}: event {position} {}", self.chain, self.wrong),
        }
    }
}
