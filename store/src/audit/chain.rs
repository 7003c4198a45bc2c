//! How a chain is written down.
//!
//! ```text
//! audit_chains.base, sealed: position (8) | digest (32) | key (32) | (chain (16) | position (8) | digest (32)) of each chain that it names
//! audit_chains.head, sealed: position (8) | digest (32)
//! audit_events.digest:       HMAC-SHA-256 by the chain's key of: digest before | chain | position | id | time | each field with its length
//! ```
//!
//! Releases before that wrote a base of 40 bytes, without a key, a head of the chain before and a mark, and plain SHA-256 as digests. Which of
//! the two a chain is stands in its sealed base, and both are sealed for this chain alone: nobody makes the one of the other.

use identity::{ChainKey, RecordId, SecretDigest};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{Audit, AuditEvent, ChainRow};
use crate::db::stored;

const TABLE: &str = "audit_chains";
const MARK: usize = 40;
const NAME: usize = 16 + MARK;

/// A place in a chain: how many events there are up to it, and the digest of the last of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) position: i64,
    pub(super) digest: [u8; 32],
}

/// What the digests of a chain are made with.
pub(super) enum Kind {
    /// With a key of its own.
    Keyed(ChainKey),
    /// With none, by an older release.
    Plain,
}

/// Where a chain begins now, and what it knew when it began: how far the others had come.
pub(super) struct Base {
    pub(super) at: Mark,
    pub(super) kind: Kind,
    pub(super) names: Vec<(Uuid, Mark)>,
}

/// A chain whose row opens.
pub(super) struct Opened {
    pub(super) id: Uuid,
    pub(super) base: Base,
    pub(super) head: Mark,
    /// The chain before it, as an older release named it.
    pub(super) after: Option<Uuid>,
    pub(super) first: Option<i64>,
    pub(super) last: Option<i64>,
}

// === impl Audit ===

impl Audit {
    pub(super) fn sealed(&self, column: &'static str, chain: Uuid, plain: &[u8]) -> Vec<u8> {
        self.seal.seal(plain, &record(column, chain), &mut rand::rng())
    }

    /// Says what is wrong with a row that does not open.
    pub(super) fn opened(&self, row: &ChainRow) -> Result<Opened, &'static str> {
        let open = |column, sealed: &[u8]| self.seal.open(sealed, &record(column, row.id)).ok();
        let base = open("base", &row.base).and_then(|bytes| Base::read(&bytes));
        let base = base.ok_or("where it begins was altered")?;
        let head = open("head", &row.head).and_then(|bytes| base.kind.read_head(&bytes));
        let (after, head) = head.ok_or("how far it has come was altered")?;
        Ok(Opened { id: row.id, base, head, after, first: row.first, last: row.last })
    }
}

// === impl Mark ===

impl Mark {
    pub(super) const BEGINNING: Self = Self { position: 0, digest: [0; 32] };

    /// The place of the event that comes next. Every field is written with its length, so that no two events are written alike.
    pub(super) fn after(self, kind: &Kind, chain: Uuid, event: &AuditEvent) -> Self {
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
        Self { position, digest: kind.digest(&bytes) }
    }

    pub(super) fn bytes(self) -> Vec<u8> {
        [&self.position.to_be_bytes()[..], &self.digest].concat()
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (position, digest) = bytes.split_first_chunk()?;
        Some(Self { position: i64::from_be_bytes(*position), digest: digest.try_into().ok()? })
    }
}

// === impl Kind ===

impl Kind {
    fn digest(&self, bytes: &[u8]) -> [u8; 32] {
        match self {
            Self::Keyed(key) => key.digest(bytes),
            Self::Plain => *SecretDigest::of(bytes).as_bytes(),
        }
    }

    fn read_head(&self, bytes: &[u8]) -> Option<(Option<Uuid>, Mark)> {
        match self {
            Self::Keyed(_) => Some((None, Mark::read(bytes)?)),
            Self::Plain => read_name(bytes).map(|(after, at)| (Some(after).filter(|after| !after.is_nil()), at)),
        }
    }
}

// === impl Base ===

impl Base {
    pub(super) fn bytes(&self) -> Zeroizing<Vec<u8>> {
        // With room for all of it: growing would leave the key behind in freed memory.
        let mut bytes = Zeroizing::new(Vec::with_capacity(MARK + ChainKey::LEN + self.names.len() * NAME));
        bytes.extend(self.at.bytes());
        if let Kind::Keyed(key) = &self.kind {
            bytes.extend(key.expose());
        }
        for (chain, at) in &self.names {
            bytes.extend(chain.as_bytes());
            bytes.extend(at.bytes());
        }
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (at, rest) = bytes.split_at_checked(MARK)?;
        let at = Mark::read(at)?;
        let Some((key, names)) = rest.split_first_chunk() else {
            return rest.is_empty().then_some(Self { at, kind: Kind::Plain, names: Vec::new() });
        };
        let names = names.chunks(NAME).map(read_name).collect::<Option<_>>()?;
        Some(Self { at, kind: Kind::Keyed(ChainKey::of(key)), names })
    }
}

fn read_name(bytes: &[u8]) -> Option<(Uuid, Mark)> {
    let (chain, at) = bytes.split_first_chunk()?;
    Some((Uuid::from_bytes(*chain), Mark::read(at)?))
}

fn record(column: &'static str, chain: Uuid) -> RecordId {
    RecordId { table: TABLE, column, row: chain.to_string() }
}
