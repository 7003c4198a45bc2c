//! The spool: files of one process each, only ever added to, in the data folder.
//!
//! A *segment* begins with [`MAGIC`]; then come records, each a length and a checksum (CRC-32, little-endian), a letter that says what it
//! is, and that: a kind of use as JSON ([`KIND`]), which takes the next number of its segment, sums ([`SUMS`]), each of a number and what is
//! to be added to that kind, or an event that a service reports ([`EVENT`]), as JSON. So a caller is named once in a segment, however often it calls: a busy door writes a few bytes for it twenty
//! times a second. A
//! process that dies in the middle of a record leaves a torn tail, which is found by either and dropped. A segment that is written has a
//! lock on it (`flock`), which goes with its process: whoever gets the lock may carry the segment on, so that what a dead process
//! left behind is carried by whoever comes next, and what a living one writes by nobody.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    hash::{BuildHasher, RandomState},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use identity::TenantId;
use serde::{Deserialize, Serialize};
use store::{UsageEvent, Used};
use uuid::Uuid;

use super::sums::{Kind, Sum, Sums};
use crate::metrics::UsageMetrics;

/// What kind of file it is, and which version.
const MAGIC: &[u8; 8] = b"PCUSAGE2";
/// What a record is.
const KIND: u8 = b'k';
const SUMS: u8 = b's';
const EVENT: u8 = b'e';
/// The number of a kind, and requests, tokens and millionths.
const SUM_BYTES: usize = 4 + 3 * 8;
/// What segments are called; one of which the database has refused something, which is carried tenant by tenant; and what is added to that
/// where it refuses a tenant's.
const SEGMENT: &str = "spool";
const APART: &str = "apart";
const REFUSED: &str = "refused";
/// Sums of one transaction. Batches are told by their number: with another length of them those of older segments would be others.
const AT_ONCE: usize = 2000;
/// A segment that is longer is followed by another one.
const LONGEST_SEGMENT: u64 = 4 * 1024 * 1024;
/// Kinds of one segment: their digests are kept in memory while it is written, 4 MB of them.
const MOST_KINDS: usize = 100_000;
/// Each kind keeps its segment open for longer, up to a bound: SQL has to add some 200 kinds a second, however many call.
const EACH_KIND: Duration = Duration::from_millis(5);
const LONGEST_OPEN: Duration = Duration::from_secs(30);
/// While so many wait, none is closed early: SQL is away, and small files would only become many.
const MANY: usize = 16;

/// The end that is written.
pub(super) struct Spool {
    folder: PathBuf,
    segment: Option<Segment>,
    /// Segments that wait to be carried, as the carrier last saw.
    backlog: Arc<AtomicUsize>,
    metrics: UsageMetrics,
}

/// The segment that is written.
struct Segment {
    file: Arc<File>,
    length: u64,
    began: Instant,
    /// Of the kinds that it names, by their digest: they themselves would take four times the room.
    numbers: HashMap<[u64; 2], u32>,
    /// What digests are made with (`SipHash`, keyed by chance): that two of 100,000 have the same is as likely as guessing 94 bits.
    keys: [RandomState; 2],
}

/// A kind as it is written.
#[derive(Serialize, Deserialize)]
struct Named {
    account: Uuid,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    key: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    tenant: Option<Uuid>,
    day: i64,
    route: Arc<str>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    service: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    model: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    request_type: Option<Box<str>>,
}

// === impl Spool ===

impl Spool {
    pub(super) fn open(folder: &Path, metrics: &UsageMetrics) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        Ok(Self { folder: folder.to_owned(), segment: None, backlog: Arc::default(), metrics: metrics.clone() })
    }

    pub(super) fn backlog(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.backlog)
    }

    /// Adds sums and gives the file that has to be synced. After a failure they are not there: they are one record, which is whole or
    /// counts for nothing. The next ones go to another segment.
    pub(super) fn add(&mut self, sums: &Sums, events: &[UsageEvent]) -> io::Result<Arc<File>> {
        let mut segment = match self.segment.take() {
            Some(segment) => segment,
            None => Segment::begin(&self.folder)?,
        };
        let mut text = Vec::new();
        for event in events {
            frame(&reported(event)?, &mut text);
        }
        segment.tell(sums, &mut text)?;
        // Not put back unless everything is written.
        (&*segment.file).write_all(&text)?;
        segment.length += text.len() as u64;
        let file = Arc::clone(&segment.file);
        self.segment = Some(segment);
        self.metrics.spooled.inc_by(sums.values().map(|sum| sum.requests.unsigned_abs()).sum());
        Ok(file)
    }

    /// Lets the carrier have the segment, if it is old or long enough.
    pub(super) fn close_if_due(&mut self, carry: Duration) {
        let waits = self.backlog.load(Ordering::Relaxed) >= MANY;
        self.segment.take_if(|segment| {
            segment.length >= LONGEST_SEGMENT
                || segment.numbers.len() >= MOST_KINDS
                || (!waits && segment.length > 0 && segment.began.elapsed() >= segment.patience(carry))
        });
    }

    /// Lets the carrier have the segment.
    pub(super) fn close(&mut self) {
        self.segment = None;
    }
}

// === impl Segment ===

impl Segment {
    /// Made under another name, so that nobody finds it before it is locked.
    fn begin(folder: &Path) -> io::Result<Self> {
        let id = Uuid::now_v7().simple().to_string();
        let (draft, path) = (folder.join(format!("{id}.new")), folder.join(format!("{id}.{SEGMENT}")));
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&draft)?;
        let begun = file.try_lock().map_err(io::Error::from).and_then(|()| {
            (&file).write_all(MAGIC)?;
            fs::rename(&draft, &path)?;
            // The name has to survive a power cut as well.
            File::open(folder)?.sync_all()
        });
        if let Err(error) = begun {
            drop(fs::remove_file(&draft));
            return Err(error);
        }
        Ok(Self {
            file: Arc::new(file),
            length: 0,
            began: Instant::now(),
            numbers: HashMap::new(),
            keys: Default::default(),
        })
    }

    /// How long it is kept open.
    fn patience(&self, carry: Duration) -> Duration {
        carry + EACH_KIND.saturating_mul(self.numbers.len() as u32).min(LONGEST_OPEN)
    }

    /// The sums as they are written, after the kinds that are new here.
    fn tell(&mut self, sums: &Sums, text: &mut Vec<u8>) -> io::Result<()> {
        if sums.is_empty() {
            return Ok(());
        }
        let mut record = Vec::with_capacity(1 + sums.len() * SUM_BYTES);
        record.push(SUMS);
        for (kind, sum) in sums {
            let digest = self.keys.each_ref().map(|key| key.hash_one(kind));
            let next = u32::try_from(self.numbers.len()).map_err(io::Error::other)?;
            let number = *self.numbers.entry(digest).or_insert(next);
            if number == next {
                frame(&named(kind)?, text);
            }
            record.extend_from_slice(&number.to_le_bytes());
            for part in [sum.requests, sum.tokens, sum.cost] {
                record.extend_from_slice(&part.to_le_bytes());
            }
        }
        frame(&record, text);
        Ok(())
    }
}

/// A segment that somebody else has finished, and that is nobody else's while this lives.
pub(super) struct Finished {
    pub(super) path: PathBuf,
    _locked: File,
    /// What requests used, kind by kind.
    pub(super) used: Vec<Used>,
    /// What services reported.
    pub(super) events: Vec<UsageEvent>,
    /// Is something at its end that cannot be read?
    pub(super) is_torn: bool,
    /// Is it carried tenant by tenant? Then each tenant's stands together within what is carried at once.
    pub(super) is_apart: bool,
}

/// What is carried at once of what requests used.
pub(super) struct Batch<'a> {
    pub(super) id: Uuid,
    /// The one that it is a part of, if that was taken apart.
    pub(super) part_of: Option<Uuid>,
    pub(super) used: &'a [Used],
}

/// The segments in a folder, the oldest first. Drafts that a dead process has left are removed: they say nothing.
pub(super) fn segments(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some(SEGMENT | APART) => paths.push(path),
            Some("new") if File::open(&path).is_ok_and(|draft| draft.try_lock().is_ok()) => {
                drop(fs::remove_file(&path));
            }
            _ => {}
        }
    }
    paths.sort_unstable();
    Ok(paths)
}

// === impl Finished ===

impl Finished {
    /// Reads a segment, unless somebody writes or carries it.
    pub(super) fn open(path: PathBuf) -> io::Result<Option<Self>> {
        let mut file = match File::open(&path) {
            Ok(file) => file,
            // Carried by another process in the meantime.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Ok(None),
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
        // Whoever had it until now may have carried it, or given it another name.
        if !path.try_exists()? {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let (mut used, mut events, is_torn) = read(&bytes);
        let is_apart = path.extension().is_some_and(|extension| extension == APART);
        if is_apart {
            for some in used.chunks_mut(AT_ONCE) {
                some.sort_by_key(|used| used.tenant);
            }
            for some in events.chunks_mut(AT_ONCE) {
                some.sort_by_key(|event| event.used.tenant);
            }
        }
        Ok(Some(Self { path, _locked: file, used, events, is_torn, is_apart }))
    }

    /// What requests used, in the batches in which it is carried.
    pub(super) fn batches(&self) -> Vec<Batch<'_>> {
        let mut batches = Vec::new();
        for (number, used) in (0..).zip(self.used.chunks(AT_ONCE)) {
            let id = self.batch(number);
            if self.is_apart {
                let parts = used.chunk_by(|one, other| one.tenant == other.tenant);
                batches.extend(parts.map(|used| Batch { id: part(id, used[0].tenant), part_of: Some(id), used }));
            } else {
                batches.push(Batch { id, part_of: None, used });
            }
        }
        batches
    }

    /// What services reported, in the batches in which it is carried; each event has an id of its own.
    pub(super) fn reports(&self) -> Vec<&[UsageEvent]> {
        let is_one = |one: &UsageEvent, other: &UsageEvent| !self.is_apart || one.used.tenant == other.used.tenant;
        self.events.chunks(AT_ONCE).flat_map(|some| some.chunk_by(is_one)).collect()
    }

    /// What it is called from now on, since the database has refused something of it: it is taken apart, and then nobody carries it
    /// who does not take the last part of that name away.
    pub(super) fn refused(&self) -> PathBuf {
        let extension = if self.is_apart { format!("{APART}.{REFUSED}") } else { APART.to_owned() };
        self.path.with_extension(extension)
    }

    /// The id of what is carried at once as number `number`: the same whoever carries it.
    pub(super) fn batch(&self, number: u32) -> Uuid {
        let name = self.path.file_stem().unwrap_or_default().as_encoded_bytes();
        Uuid::new_v5(&Uuid::NAMESPACE_OID, &[name, &number.to_le_bytes()].concat())
    }
}

/// The id of what is a tenant's of a batch.
fn part(batch: Uuid, tenant: Option<TenantId>) -> Uuid {
    Uuid::new_v5(&batch, tenant.map_or(Uuid::nil(), |tenant| tenant.uuid()).as_bytes())
}

fn frame(record: &[u8], into: &mut Vec<u8>) {
    into.extend_from_slice(&(record.len() as u32).to_le_bytes());
    into.extend_from_slice(&crc32fast::hash(record).to_le_bytes());
    into.extend_from_slice(record);
}

fn named(kind: &Kind) -> io::Result<Vec<u8>> {
    let Kind { account, key, tenant, route, day, service, model, request_type } = kind.clone();
    let mut record = vec![KIND];
    serde_json::to_writer(&mut record, &Named { account, key, tenant, day, route, service, model, request_type })?;
    Ok(record)
}

fn reported(event: &UsageEvent) -> io::Result<Vec<u8>> {
    let mut record = vec![EVENT];
    serde_json::to_writer(&mut record, event)?;
    Ok(record)
}

/// Every whole record from the beginning on, and whether something else follows.
fn read(bytes: &[u8]) -> (Vec<Used>, Vec<UsageEvent>, bool) {
    let (mut used, mut events) = (Vec::new(), Vec::new());
    let Some(mut rest) = bytes.strip_prefix(MAGIC) else { return (used, events, !bytes.is_empty()) };
    while let Some((record, after)) = next(rest)
        && understood(record, &mut used, &mut events).is_some()
    {
        rest = after;
    }
    used.retain(|used| (used.requests, used.tokens, used.cost) != (0, 0, 0));
    (used, events, !rest.is_empty())
}

fn next(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (checksum, rest) = rest.split_first_chunk::<4>()?;
    let (record, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    (crc32fast::hash(record) == u32::from_le_bytes(*checksum)).then_some((record, rest))
}

/// Adds what a record says to the kinds that were named before it.
fn understood(record: &[u8], used: &mut Vec<Used>, events: &mut Vec<UsageEvent>) -> Option<()> {
    match record.split_first()? {
        (&KIND, text) => used.push(serde_json::from_slice::<Named>(text).ok()?.into()),
        (&SUMS, sums) => {
            for sum in sums.chunks(SUM_BYTES) {
                let (number, sum) = sum.split_first_chunk::<4>()?;
                let mut parts = sum.chunks(8).map(|part| part.try_into().ok().map(i64::from_le_bytes));
                let sum = Sum { requests: parts.next()??, tokens: parts.next()??, cost: parts.next()?? };
                sum.add_to(used.get_mut(u32::from_le_bytes(*number) as usize)?);
            }
        }
        (&EVENT, text) => events.push(serde_json::from_slice(text).ok()?),
        _ => return None,
    }
    Some(())
}

// === impl Named ===

impl From<Named> for Used {
    fn from(named: Named) -> Self {
        let text = |name: Option<Box<str>>| name.map(String::from).unwrap_or_default();
        Self {
            tenant: named.tenant.map(Into::into),
            account: named.account.into(),
            key: named.key.map(Into::into),
            at: Kind::at(named.day),
            route: named.route.to_string(),
            service: text(named.service),
            model: text(named.model),
            request_type: text(named.request_type),
            requests: 0,
            tokens: 0,
            cost: 0,
        }
    }
}
