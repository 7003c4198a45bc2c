//! The audit trail: what happened to accounts, keys, sessions and the configuration, and who did it.
//!
//! Events are only added. Each holds the digest of the one before it, so that none can be altered or taken out of the middle
//! unnoticed, and how far a chain has come is sealed with the master key each second, so that none can be taken off its end.
//! Every process has a chain of its own, that nobody waits for another's; each names the one before it. What this cannot show is
//! that a whole database was replaced by an older copy of itself: for that keep what `portcullis audit verify` prints.
//!
//! Ids are kept, and no addresses of mail: when an account is deleted, what it did stays.

use std::{
    fmt::{self, Write},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use identity::{RecordId, SealKeys, SecretDigest};
use sqlx::FromRow;
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::{Store, StoreError, db::stored};

mod rows;

const TABLE: &str = "audit_chains";
/// Rows that a verification holds in memory.
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

struct Chain {
    id: Uuid,
    after: Uuid,
    at: Mark,
    is_sealed: bool,
}

/// A place in a chain: how many events there are up to it, and the digest of the last of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    position: i64,
    digest: [u8; 32],
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
    /// Events that were looked at.
    pub events: u64,
    /// The digest of all that was found, to be kept somewhere else: only an older copy of everything has an earlier one.
    pub digest: String,
    /// What is wrong; nothing, if all is well.
    pub faults: Vec<AuditFault>,
}

#[derive(FromRow)]
struct ChainRow {
    id: Uuid,
    base: Vec<u8>,
    head: Vec<u8>,
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
            let at = own.at.after(own.id, &event);
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
        let head = self.sealed("head", own.id, &head(own.after, own.at));
        self.store.seal_chain(own.id, "UPDATE audit_chains SET head = $2 WHERE id = $1", &head).await?;
        own.is_sealed = true;
        Ok(())
    }

    /// Deletes events from before then, from the beginning of each chain on; says how many.
    pub async fn forget(&self, before: DateTime<Utc>) -> Result<u64, StoreError> {
        let mut forgotten = 0;
        for row in self.store.chains().await? {
            let Some(last) = self.store.last_event_before(row.id, before).await? else { continue };
            let base = self.sealed("base", row.id, &last.bytes());
            forgotten += self.store.forget_events(row.id, last.position, &base).await?;
        }
        Ok(forgotten)
    }

    /// Looks at every event of every chain.
    pub async fn verify(&self) -> Result<AuditReport, StoreError> {
        let rows = self.store.chains().await?;
        let (mut report, mut all) = (AuditReport::default(), Vec::new());
        for row in &rows {
            report.chains += 1;
            let Ok(base) = self.opened("base", row.id, &row.base).and_then(|bytes| Mark::read(&bytes).ok_or(())) else {
                report.fault(row.id, 0, "where it begins was altered");
                continue;
            };
            let head = self.opened("head", row.id, &row.head).ok().and_then(|bytes| read_head(&bytes));
            let Some((after, head)) = head else {
                report.fault(row.id, 0, "how far it has come was altered");
                continue;
            };
            if !after.is_nil() && !rows.iter().any(|row| row.id == after) {
                report.fault(after, 0, "all of it is missing");
            }
            let end = self.walk(row.id, base, head, &mut report).await?;
            all.extend(end.bytes());
        }
        for byte in SecretDigest::of(&all).as_bytes() {
            // A string takes whatever is written to it.
            let _ = write!(report.digest, "{byte:02x}");
        }
        Ok(report)
    }

    async fn walk(&self, chain: Uuid, base: Mark, head: Mark, report: &mut AuditReport) -> Result<Mark, StoreError> {
        let mut at = base;
        loop {
            let rows = self.store.events_after(chain, at.position).await?;
            let is_last = rows.len() < AT_ONCE as usize;
            for row in rows {
                report.events += 1;
                let next = at.after(chain, &row.event);
                if row.position != next.position {
                    report.fault(chain, next.position, "is missing");
                    return Ok(at);
                }
                if row.digest != next.digest || (next.position == head.position && next != head) {
                    report.fault(chain, next.position, "was altered");
                    return Ok(at);
                }
                at = next;
            }
            if is_last {
                break;
            }
        }
        if at.position < head.position {
            report.fault(chain, at.position + 1, "is missing");
        }
        Ok(at)
    }

    async fn begin(&self, now: DateTime<Utc>) -> Result<Chain, StoreError> {
        let (id, at) = (Uuid::now_v7(), Mark { position: 0, digest: [0; 32] });
        let after = self.store.chains().await?.last().map_or(Uuid::nil(), |row| row.id);
        let (base, head) = (self.sealed("base", id, &at.bytes()), self.sealed("head", id, &head(after, at)));
        self.store.begin_chain(id, &base, &head, now).await?;
        Ok(Chain { id, after, at, is_sealed: true })
    }

    fn sealed(&self, column: &'static str, chain: Uuid, plain: &[u8]) -> Vec<u8> {
        self.seal.seal(plain, &record(column, chain), &mut rand::rng())
    }

    fn opened(&self, column: &'static str, chain: Uuid, sealed: &[u8]) -> Result<Vec<u8>, ()> {
        self.seal.open(sealed, &record(column, chain)).map(|plain| plain.to_vec()).map_err(|_| ())
    }
}

// === impl Mark ===

impl Mark {
    /// The place of the event that comes next. Every field is written with its length, so that no two events are written alike.
    fn after(self, chain: Uuid, event: &AuditEvent) -> Self {
        let position = self.position + 1;
        let mut bytes = [&self.digest[..], chain.as_bytes(), &position.to_be_bytes(), event.id.as_bytes()].concat();
        bytes.extend(stored(event.at).timestamp_micros().to_be_bytes());
        let ids = [event.actor, event.subject].map(|id| id.map(|id| id.to_string()));
        let texts = [&event.address, &event.request_id, &event.details];
        let some = [&event.event, &event.outcome].map(|text| Some(text.as_str()));
        for text in some.into_iter().chain(ids.iter().map(Option::as_deref)).chain(texts.map(Option::as_deref)) {
            match text {
                Some(text) => {
                    bytes.extend((text.len() as u64 + 1).to_be_bytes());
                    bytes.extend(text.as_bytes());
                }
                None => bytes.extend(0_u64.to_be_bytes()),
            }
        }
        Self { position, digest: *SecretDigest::of(&bytes).as_bytes() }
    }

    fn bytes(self) -> Vec<u8> {
        [&self.position.to_be_bytes()[..], &self.digest].concat()
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (position, digest) = bytes.split_first_chunk()?;
        Some(Self { position: i64::from_be_bytes(*position), digest: digest.try_into().ok()? })
    }
}

// === impl AuditReport ===

impl AuditReport {
    fn fault(&mut self, chain: Uuid, position: i64, wrong: &'static str) {
        self.faults.push(AuditFault { chain, position, wrong });
    }
}

impl fmt::Display for AuditFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            0 => write!(f, "chain {}: {}", self.chain, self.wrong),
            position => write!(f, "chain {}: event {position} {}", self.chain, self.wrong),
        }
    }
}

fn record(column: &'static str, chain: Uuid) -> RecordId {
    RecordId { table: TABLE, column, row: chain.to_string() }
}

fn head(after: Uuid, at: Mark) -> Vec<u8> {
    [&after.as_bytes()[..], &at.bytes()].concat()
}

fn read_head(bytes: &[u8]) -> Option<(Uuid, Mark)> {
    let (after, at) = bytes.split_first_chunk()?;
    Some((Uuid::from_bytes(*after), Mark::read(at)?))
}
