//! The spool: files of one process each, only ever added to, in the data folder.
//!
//! A *segment* begins with [`MAGIC`]; then come records, each a length and a checksum (CRC-32, little-endian) and an event as JSON. A
//! process that dies in the middle of a record leaves a torn tail, which is found by either and dropped. A segment that is written has a
//! lock on it (`flock`), which goes with its process: whoever gets the lock may carry the segment on, so that what a dead process
//! left behind is carried by whoever comes next, and what a living one writes by nobody.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use store::UsageEvent;
use uuid::Uuid;

use crate::metrics::UsageMetrics;

/// What kind of file it is, and which version.
const MAGIC: &[u8; 8] = b"PCUSAGE1";
/// What segments are called, and what one is called that the database will never take.
pub(super) const SEGMENT: &str = "spool";
pub(super) const REFUSED: &str = "refused";
/// Nothing that we write is as long; whatever says so is torn.
const LONGEST_RECORD: usize = 16 * 1024;
/// A segment that is longer is followed by another one.
const LONGEST_SEGMENT: u64 = 4 * 1024 * 1024;
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
}

/// An event as it is written; names are short, for there are many.
#[derive(Serialize, Deserialize)]
struct Record {
    i: Uuid,
    t: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    n: Option<Uuid>,
    a: Uuid,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    k: Option<Uuid>,
    #[serde(skip_serializing_if = "String::is_empty", default)]
    r: String,
    #[serde(skip_serializing_if = "String::is_empty", default)]
    s: String,
    #[serde(skip_serializing_if = "String::is_empty", default)]
    m: String,
    #[serde(skip_serializing_if = "String::is_empty", default)]
    y: String,
    q: i64,
    #[serde(skip_serializing_if = "is_nothing", default)]
    o: i64,
    #[serde(skip_serializing_if = "is_nothing", default)]
    c: i64,
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    u: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_nothing(number: &i64) -> bool {
    *number == 0
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

    /// Adds records and gives the file that has to be synced. After a failure nobody knows what of them was written: the next ones go to
    /// another segment, and the same records may be added again, since they are known by their ids.
    pub(super) fn add(&mut self, events: &[UsageEvent]) -> io::Result<Arc<File>> {
        let mut text = Vec::with_capacity(events.len() * 256);
        for event in events {
            frame(&Record::from(event), &mut text)?;
        }
        let segment = match self.segment.take() {
            Some(segment) => segment,
            None => Segment::begin(&self.folder)?,
        };
        // Not put back unless everything is written.
        (&*segment.file).write_all(&text)?;
        let file = Arc::clone(&segment.file);
        self.segment = Some(Segment { length: segment.length + text.len() as u64, ..segment });
        self.metrics.spooled.inc_by(events.iter().map(|event| event.requests.unsigned_abs()).sum());
        Ok(file)
    }

    /// Lets the carrier have the segment, if it is old or long enough.
    pub(super) fn close_if_due(&mut self, carry: std::time::Duration) {
        let waits = self.backlog.load(Ordering::Relaxed) >= MANY;
        let is_due = |segment: &Segment| {
            segment.length >= LONGEST_SEGMENT || (!waits && segment.length > 0 && segment.began.elapsed() >= carry)
        };
        self.segment.take_if(|segment| is_due(segment));
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
        Ok(Self { file: Arc::new(file), length: 0, began: Instant::now() })
    }
}

/// A segment that somebody else has finished, and that is nobody else's while this lives.
pub(super) struct Finished {
    pub(super) path: PathBuf,
    _locked: File,
    pub(super) events: Vec<UsageEvent>,
    /// Is something at its end that cannot be read?
    pub(super) is_torn: bool,
}

/// The segments in a folder, the oldest first. Drafts that a dead process has left are removed: they say nothing.
pub(super) fn segments(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some(SEGMENT) => paths.push(path),
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
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let (events, is_torn) = read(&bytes);
        Ok(Some(Self { path, _locked: file, events, is_torn }))
    }
}

fn frame(record: &Record, into: &mut Vec<u8>) -> io::Result<()> {
    let text = serde_json::to_vec(record)?;
    into.extend_from_slice(&(text.len() as u32).to_le_bytes());
    into.extend_from_slice(&crc32fast::hash(&text).to_le_bytes());
    into.extend_from_slice(&text);
    Ok(())
}

/// Every whole record from the beginning on, and whether something else follows.
fn read(bytes: &[u8]) -> (Vec<UsageEvent>, bool) {
    let mut events = Vec::new();
    let Some(mut rest) = bytes.strip_prefix(MAGIC) else { return (events, !bytes.is_empty()) };
    while let Some((event, after)) = next(rest) {
        events.push(event);
        rest = after;
    }
    (events, !rest.is_empty())
}

fn next(bytes: &[u8]) -> Option<(UsageEvent, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (checksum, rest) = rest.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*length) as usize;
    let (text, rest) = rest.split_at_checked(length).filter(|_| length <= LONGEST_RECORD)?;
    if crc32fast::hash(text) != u32::from_le_bytes(*checksum) {
        return None;
    }
    serde_json::from_slice::<Record>(text).ok().map(|record| (record.into(), rest))
}

// === impl Record ===

impl From<&UsageEvent> for Record {
    fn from(event: &UsageEvent) -> Self {
        Self {
            i: event.id,
            t: event.at,
            n: event.tenant.map(|tenant| tenant.uuid()),
            a: event.account.uuid(),
            k: event.key.map(|key| key.uuid()),
            r: event.route.clone(),
            s: event.service.clone(),
            m: event.model.clone(),
            y: event.request_type.clone(),
            q: event.requests,
            o: event.tokens,
            c: event.cost,
            u: event.is_claim,
        }
    }
}

impl From<Record> for UsageEvent {
    fn from(record: Record) -> Self {
        Self {
            id: record.i,
            tenant: record.n.map(Into::into),
            account: record.a.into(),
            key: record.k.map(Into::into),
            at: record.t,
            route: record.r,
            service: record.s,
            model: record.m,
            request_type: record.y,
            requests: record.q,
            tokens: record.o,
            cost: record.c,
            is_claim: record.u,
        }
    }
}
