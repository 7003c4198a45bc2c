//! The access log: one JSON line per request, formatted and written away from the hot path.
//!
//! A request pushes a plain struct; a thread of its own wakes ten times a second, formats what has gathered and writes
//! it in one go. Nothing wakes that thread per request (a wake-up is a system call).
//! The queue is bounded: when the writer falls behind, events are counted and dropped, never waited for.

use std::{
    borrow::Cow,
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use chrono::{DateTime, Utc};
use http::Method;
use parking_lot::Mutex;
use prometheus::IntCounter;
use serde::{Serialize, Serializer};
use uuid::Uuid;

use crate::{inbound::RequestId, usage::Usage};

/// How often gathered events are written.
const FLUSH_EVERY: Duration = Duration::from_millis(100);
/// Events held between two flushes: half a second of 100,000 requests per second.
const CAPACITY: usize = 50_000;

/// What is said of one request. Never a credential, a query or a header.
#[derive(Serialize)]
pub(crate) struct Event {
    pub(crate) at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) request_id: Option<RequestId>,
    pub(crate) client: Option<std::net::IpAddr>,
    #[serde(serialize_with = "method_as_text")]
    pub(crate) method: Method,
    #[serde(serialize_with = "path_without_credentials")]
    pub(crate) path: Box<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) route: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) account: Option<Uuid>,
    /// Who acts as its owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) actor: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) auth: Option<&'static str>,
    /// `permit`, `refused` or `failed` (permitted, but the upstream gave no answer).
    pub(crate) decision: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) refusal: Option<&'static str>,
    pub(crate) status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) upstream: Option<Arc<str>>,
    /// Microseconds from the request's header to our decision.
    pub(crate) decided_us: u64,
    /// Microseconds from the request's header to the end of the answer.
    pub(crate) total_us: u64,
    pub(crate) sent_bytes: usize,
    /// Of the body, or from the client of a WebSocket.
    #[serde(skip_serializing_if = "is_nothing")]
    pub(crate) received_bytes: u64,
    /// Why we ended an answer that had begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ended: Option<&'static str>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_nothing(bytes: &u64) -> bool {
    *bytes == 0
}

fn method_as_text<S: Serializer>(method: &Method, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(method.as_str())
}

/// A credential that stands in a path, by mistake or since some interface wants it there, is no less secret for that.
fn path_without_credentials<S: Serializer>(path: &str, to: S) -> Result<S::Ok, S::Error> {
    if !path.split('/').any(is_like_a_credential) {
        return to.serialize_str(path);
    }
    let told: Vec<_> = path.split('/').map(|part| if is_like_a_credential(part) { "***" } else { part }).collect();
    to.serialize_str(&told.join("/"))
}

/// Does it begin with one of ours (`pck_…`, `pco_…`) or a JWT, or hold one behind a sign (`bearer.eyJ…`, `token=pck_…`)?
fn is_like_a_credential(part: &str) -> bool {
    let plain: &[u8] = &unescaped(part);
    let mut begins =
        (0..plain.len()).filter(|at| *at == 0 || !plain[at - 1].is_ascii_alphanumeric()).map(|at| &plain[at..]);
    let is_ours = begins.clone().any(|rest| matches!(rest, [b'p', b'c', _, b'_', _, ..]));
    // Behind the first of several are all the dots of the others: asked of each, a path made for it would hold up the log.
    let token = begins.find(|rest| rest.starts_with(b"eyJ"));
    is_ours || token.is_some_and(|token| token.split(|byte| *byte == b'.').nth(2).is_some())
}

/// With escapes as what they stand for, and those of escapes too: a path that could not be read is told as it came.
fn unescaped(part: &str) -> Cow<'_, [u8]> {
    if !part.contains('%') {
        return Cow::Borrowed(part.as_bytes());
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut plain = Vec::with_capacity(part.len());
    for byte in part.bytes() {
        plain.push(byte);
        while let [.., b'%', high, low] = plain[..]
            && let (Some(high), Some(low)) = (digit(high), digit(low))
        {
            plain.truncate(plain.len() - 3);
            plain.push(high * 16 + low);
        }
    }
    Cow::Owned(plain)
}

/// Takes events and writes them, in order.
pub(crate) struct Recorder {
    /// What callers use is recorded beside the log.
    pub(crate) usage: Arc<Usage>,
    queue: Arc<Queue>,
    writer: Option<thread::JoinHandle<()>>,
}

struct Queue {
    events: Mutex<Vec<Event>>,
    closing: AtomicBool,
    dropped: IntCounter,
}

// === impl Recorder ===

impl Recorder {
    /// Starts the writer thread on `sink`; `None` keeps no log.
    pub(crate) fn start(sink: Option<Box<dyn Write + Send>>, dropped: IntCounter) -> Self {
        let queue = Arc::new(Queue { events: Mutex::new(Vec::new()), closing: AtomicBool::new(false), dropped });
        let writer = sink.map(|sink| {
            let queue = Arc::clone(&queue);
            thread::spawn(move || queue.write_until_closed(sink))
        });
        Self { usage: Usage::off(), queue, writer }
    }

    /// Counts usage too.
    pub(crate) fn counting(mut self, usage: &Arc<Usage>) -> Self {
        self.usage = Arc::clone(usage);
        self
    }

    /// Is anybody listening? Asked before an event is put together.
    pub(crate) fn is_on(&self) -> bool {
        self.writer.is_some()
    }

    pub(crate) fn record(&self, event: Event) {
        let mut events = self.queue.events.lock();
        if events.len() < CAPACITY {
            events.push(event);
        } else {
            self.queue.dropped.inc();
        }
    }
}

impl Drop for Recorder {
    /// Writes what is left.
    fn drop(&mut self) {
        self.queue.closing.store(true, Ordering::Release);
        if let Some(writer) = self.writer.take() {
            writer.thread().unpark();
            // A writer that panicked has lost its events already; there is nobody left to tell.
            drop(writer.join());
        }
    }
}

// === impl Queue ===

impl Queue {
    #[expect(clippy::disallowed_methods, reason = "whoever closes the queue unparks it")]
    fn write_until_closed(&self, mut sink: Box<dyn Write + Send>) {
        let (mut events, mut text) = (Vec::new(), Vec::new());
        loop {
            let closing = self.closing.load(Ordering::Acquire);
            self.flush(&mut sink, &mut events, &mut text);
            if closing {
                return;
            }
            thread::park_timeout(FLUSH_EVERY);
        }
    }

    /// `events` and `text` are empty before and after; what they have room for is not asked for again.
    fn flush(&self, sink: &mut dyn Write, events: &mut Vec<Event>, text: &mut Vec<u8>) {
        std::mem::swap(&mut *self.events.lock(), events);
        for event in &*events {
            if serde_json::to_writer(&mut *text, event).is_ok() {
                text.push(b'\n');
            }
        }
        // A full disk or a closed pipe must not stop the door: the events are counted as lost.
        if !text.is_empty() && sink.write_all(text).and_then(|()| sink.flush()).is_err() {
            self.dropped.inc_by(events.len() as u64);
        }
        text.clear();
        events.clear();
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn event(path: &str) -> Event {
        Event {
            at: DateTime::UNIX_EPOCH,
            request_id: Some(RequestId::of(7)),
            client: None,
            method: Method::GET,
            path: path.into(),
            route: None,
            account: None,
            actor: None,
            auth: None,
            decision: "refused",
            refusal: Some("no_route"),
            status: 404,
            upstream: None,
            decided_us: 1,
            total_us: 2,
            sent_bytes: 3,
            received_bytes: 0,
            ended: None,
        }
    }

    #[test]
    fn every_event_is_one_line_and_none_is_lost_at_the_end() {
        let sink = Sink::default();
        let recorder = Recorder::start(Some(Box::new(sink.clone())), IntCounter::new("d", "d").unwrap());
        for n in 0..1000 {
            recorder.record(event(&format!("/{n}\n\"")));
        }
        drop(recorder);
        let text = String::from_utf8(sink.0.lock().clone()).unwrap();
        assert_eq!(text.lines().count(), 1000);
        insta::assert_snapshot!(text.lines().next().unwrap(), @r#"{"at":"1970-01-01T00:00:00Z","request_id":"00000000000000000000000000000007","client":null,"method":"GET","path":"/0\n\"","decision":"refused","refusal":"no_route","status":404,"decided_us":1,"total_us":2,"sent_bytes":3}"#);
    }

    fn told(path: &str) -> String {
        serde_json::to_value(event(path)).unwrap()["path"].as_str().unwrap().to_owned()
    }

    #[test]
    fn a_credential_in_a_path_is_not_written() {
        let key = ["pck_Zm9vYmFy", "abc"].join("_");
        let token = ["eyJhbGciOiJub25lIn0", "e30", ""].join(".");
        assert_eq!(told(&format!("/bot/{key}/send")), "/bot/***/send");
        assert_eq!(told(&format!("/v/{token}")), "/v/***");
        let before = [
            "bearer.",
            "access_token=",
            "token_",
            "key:",
            "a.b.",
            "-",
            "\u{e9}",
            "\u{fffd}",
            "eyJ-",
            "Bearer%20",
            "x%253A",
        ];
        for before in before {
            for credential in [&key, &token] {
                assert_eq!(told(&format!("/raw/{before}{credential},x/y")), "/raw/***/y", "{before}");
            }
        }
    }

    #[test]
    fn a_credential_is_known_behind_escapes() {
        for path in [
            "/raw/%70ck_secret%2f",
            "/raw/pc%6B%5Fsecret",
            "/raw/x%2fpck_secret",
            "/raw/%2570ck_secret",
            "/raw/%%370ck_secret",
            "/raw/%zz,pck_secret%",
            "/raw/%65yJhbGciOiJub25lIn0%2ee30%2E",
        ] {
            assert_eq!(told(path), "/raw/***");
        }
    }

    #[test]
    fn what_is_only_like_the_beginning_of_a_credential_is_written() {
        for path in [
            "/eyJ/a.b.c/pck_/pack_it",
            "/upck_x/Pck_x/pck-x/%70ck_",
            "/a.b.eyJhbGciOiJub25lIn0/a.b.c.eyJ.d/xeyJ.a.b",
            "/100%/%7/%+7pck_x/%zz",
        ] {
            assert_eq!(told(path), path);
        }
    }

    #[test]
    fn the_reference_for_operators_has_every_field() {
        // Each field by its name: a new one has to be said here too.
        let whole = Event {
            at: DateTime::UNIX_EPOCH,
            request_id: Some(RequestId::of(7)),
            client: Some([127, 0, 0, 1].into()),
            method: Method::GET,
            path: "/".into(),
            route: Some("r".into()),
            account: Some(Uuid::nil()),
            actor: Some(Uuid::nil()),
            auth: Some("jwt"),
            decision: "refused",
            refusal: Some("no_route"),
            status: 404,
            upstream: Some("u".into()),
            decided_us: 1,
            total_us: 2,
            sent_bytes: 3,
            received_bytes: 1,
            ended: Some("cut_off"),
        };
        let fields = serde_json::to_value(whole).unwrap();
        let text = include_str!("../../docs/reference.md");
        for field in fields.as_object().unwrap().keys() {
            assert!(text.contains(&format!("\n| `{field}` | ")), "{field}");
        }
    }

    #[test]
    fn a_writer_that_falls_behind_costs_events_and_not_memory() {
        let dropped = IntCounter::new("d", "d").unwrap();
        let recorder = Recorder {
            queue: Arc::new(Queue {
                events: Mutex::new(Vec::new()),
                closing: AtomicBool::new(false),
                dropped: dropped.clone(),
            }),
            writer: None,
            usage: Usage::off(),
        };
        for _ in 0..CAPACITY + 7 {
            recorder.record(event("/"));
        }
        assert_eq!(dropped.get(), 7);
    }
}
