//! Both ends of many event streams: a server that plays them at a pace, and clients that read each to its end.
//!
//! The pace is what makes a chunk a chunk: written back to back, many would cross a proxy in one read and cost it next to
//! nothing. [`Report::arrivals`] beside [`Report::events`] shows whether they came one by one.

use std::{
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use serde::Serialize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
    time::{MissedTickBehavior, interval_at},
};

use crate::{
    load::{HEAD_MAX, percentile},
    upstream::take_heads,
};

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n";
/// One event in a chunk of its own: 64 bytes, about what a language model's token takes on its way to a browser.
const CHUNK: &[u8] = b"40\r\ndata: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\" token\"}}]}  \n\n\r\n";
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
/// A stream that takes longer is an error: nothing in a bench may hang.
const PATIENCE: Duration = Duration::from_mins(10);

/// What the server plays to whoever asks.
#[derive(Clone, Copy)]
pub struct Script {
    /// Events of a stream.
    pub chunks: usize,
    /// From one to the next. The first one leaves with the head, as soon as it is asked for.
    pub pace: Duration,
}

/// What the clients do.
pub struct Plan {
    /// The server.
    pub target: SocketAddr,
    /// What to ask for.
    pub path: String,
    /// Streams in all.
    pub streams: usize,
    /// Streams open at a time.
    pub at_once: usize,
    /// Events that each stream must bring.
    pub chunks: usize,
    /// Over how long the first `at_once` streams are opened; those that follow keep the distances.
    pub spread: Duration,
    /// Whole header lines; stream i carries line i modulo their number. Empty: none.
    pub headers: Vec<String>,
}

/// What came of it.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Streams opened.
    pub streams: usize,
    /// Streams that were refused, broke off, or brought another number of events.
    pub errors: usize,
    /// Events that arrived.
    pub events: usize,
    /// Reads that they arrived in.
    pub arrivals: usize,
    /// From the first stream's beginning to the last one's end.
    pub seconds: f64,
    /// From a request to the first byte of its answer's body, in microseconds: the median. Connecting is not counted.
    pub first_byte_p50_us: u64,
    /// The 90th percentile of the same.
    pub first_byte_p90_us: u64,
    /// The 99th percentile of the same.
    pub first_byte_p99_us: u64,
    /// The last failure in words, if there was one.
    pub failure: Option<String>,
    #[serde(skip)]
    first_bytes: Vec<u32>,
}

/// What was read of one stream.
#[derive(Debug, Default)]
struct Seen {
    events: usize,
    arrivals: usize,
    /// Whether the answer's head is behind us.
    answered: bool,
    first_byte: Option<Duration>,
    /// The last eight bytes.
    tail: u64,
}

// === the server ===

/// Serves until `stop` turns true.
pub async fn serve(listener: TcpListener, script: Script, mut stop: watch::Receiver<bool>) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        tokio::select! {
            // A connection that fails is the client's loss, and shows in its count of errors.
            accepted = listener.accept() => { tokio::spawn(answer(accepted?.0, script)); }
            _ = stop.wait_for(|told| *told) => return Ok(()),
        }
    }
}

async fn answer(mut stream: TcpStream, script: Script) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut received = Vec::with_capacity(4096);
    while received.len() < HEAD_MAX && stream.read_buf(&mut received).await? > 0 {
        for _ in 0..take_heads(&mut received) {
            script.play(&mut stream).await?;
        }
    }
    Ok(())
}

// === the clients ===

/// Carries out `plan`; fails only where no runtime can be started.
pub fn run(plan: Plan) -> anyhow::Result<Report> {
    ensure!(plan.at_once > 0, "at least one stream at a time");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (plan, next, began) = (Arc::new(plan), Arc::new(AtomicUsize::new(0)), Instant::now());
    let mut report = runtime.block_on(async {
        let watchers: Vec<_> = (0..plan.at_once)
            .map(|place| tokio::spawn(watch_streams(place, Arc::clone(&plan), Arc::clone(&next))))
            .collect();
        let mut report = Report::default();
        for watcher in watchers {
            report.add(watcher.await?);
        }
        anyhow::Ok(report)
    })?;
    report.seconds = began.elapsed().as_secs_f64();
    report.first_bytes.sort_unstable();
    let at = |percent| percentile(&report.first_bytes, percent);
    (report.first_byte_p50_us, report.first_byte_p90_us, report.first_byte_p99_us) = (at(50), at(90), at(99));
    Ok(report)
}

/// One stream after the other, each on a connection of its own as browsers open them.
async fn watch_streams(place: usize, plan: Arc<Plan>, next: Arc<AtomicUsize>) -> Report {
    let mut report = Report::default();
    tokio::time::sleep(plan.spread.mul_f64(place as f64 / plan.at_once as f64)).await;
    loop {
        let turn = next.fetch_add(1, Ordering::Relaxed);
        if turn >= plan.streams {
            return report;
        }
        let mut seen = Seen::default();
        let watched = tokio::time::timeout(PATIENCE, seen.watch(plan.target, &plan.request(turn))).await;
        let watched = watched.unwrap_or_else(|_| Err(anyhow::anyhow!("no end within {PATIENCE:?}")));
        report.note(&seen, plan.chunks, watched);
    }
}

// === impl Script ===

impl Script {
    async fn play(self, stream: &mut TcpStream) -> std::io::Result<()> {
        // Without a timer: its first tick would wait for the next whole millisecond, and come among all that other streams are due in it.
        stream.write_all(&[ANSWER, CHUNK].concat()).await?;
        let pace = self.pace.max(Duration::from_millis(1));
        let mut ticks = interval_at(tokio::time::Instant::now() + pace, pace);
        // Who reads slowly gets the rest later, not all at once.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for _ in 1..self.chunks {
            ticks.tick().await;
            stream.write_all(CHUNK).await?;
        }
        stream.write_all(LAST_CHUNK).await
    }
}

// === impl Plan ===

impl Plan {
    fn request(&self, turn: usize) -> Vec<u8> {
        let header = match self.headers.len() {
            0 => String::new(),
            count => format!("{}\r\n", self.headers[turn % count]),
        };
        let (path, host) = (&self.path, self.target);
        format!("GET {path} HTTP/1.1\r\nhost: {host}\r\naccept: text/event-stream\r\n{header}\r\n").into_bytes()
    }
}

// === impl Report ===

impl Report {
    fn note(&mut self, seen: &Seen, chunks: usize, watched: anyhow::Result<()>) {
        self.streams += 1;
        self.events += seen.events;
        self.arrivals += seen.arrivals;
        self.first_bytes.extend(seen.first_byte.map(|took| u32::try_from(took.as_micros()).unwrap_or(u32::MAX)));
        let whole = watched.and_then(|()| {
            ensure!(seen.events == chunks, "{} events instead of {chunks}", seen.events);
            Ok(())
        });
        if let Err(error) = whole {
            self.errors += 1;
            self.failure = Some(format!("{error:#}"));
        }
    }

    fn add(&mut self, other: Self) {
        self.streams += other.streams;
        self.errors += other.errors;
        self.events += other.events;
        self.arrivals += other.arrivals;
        self.first_bytes.extend(other.first_bytes);
        self.failure = self.failure.take().or(other.failure);
    }
}

// === impl Seen ===

impl Seen {
    /// Opens a stream and reads it to its end.
    async fn watch(&mut self, target: SocketAddr, request: &[u8]) -> anyhow::Result<()> {
        let mut stream = TcpStream::connect(target).await.with_context(|| format!("cannot connect to {target}"))?;
        stream.set_nodelay(true)?;
        let began = Instant::now();
        stream.write_all(request).await?;
        let mut received = Vec::with_capacity(4096);
        while !self.note(&mut received, began)? {
            ensure!(received.len() < HEAD_MAX, "the answer's head does not end");
            ensure!(stream.read_buf(&mut received).await? > 0, "the connection was closed within a stream");
        }
        Ok(())
    }

    /// Takes what was received, once it is beyond the head, and says whether the stream has ended.
    fn note(&mut self, received: &mut Vec<u8>, began: Instant) -> anyhow::Result<bool> {
        if !self.answered {
            let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(false) };
            let status = received.get(9..12).map(String::from_utf8_lossy).unwrap_or_default();
            ensure!(status == "200", "answered {status}");
            received.drain(..end + 4);
            self.answered = true;
        }
        if received.is_empty() {
            return Ok(false);
        }
        self.first_byte.get_or_insert_with(|| began.elapsed());
        self.arrivals += 1;
        for byte in received.drain(..) {
            self.tail = self.tail << 8 | u64::from(byte);
            // However a proxy cuts its chunks: only an event ends with two line feeds, and only a stream with this.
            self.events += usize::from(self.tail & 0xffff == 0x0a0a);
        }
        Ok(self.tail & 0xff_ffff_ffff == u64::from_be_bytes(*b"\0\0\x000\r\n\r\n"))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::{ANSWER, CHUNK, LAST_CHUNK, Seen};
    use std::time::Instant;

    #[test]
    fn events_are_counted_however_they_are_cut_and_the_end_is_seen() {
        let whole = [ANSWER, CHUNK, CHUNK, CHUNK, LAST_CHUNK].concat();
        for piece in [1, 7, 100, whole.len()] {
            let (mut seen, mut received, mut ended) = (Seen::default(), Vec::new(), false);
            for bytes in whole.chunks(piece) {
                assert!(!ended, "before the last byte, in pieces of {piece}");
                received.extend_from_slice(bytes);
                ended = seen.note(&mut received, Instant::now()).unwrap();
            }
            assert!(ended && seen.first_byte.is_some(), "in pieces of {piece}");
            assert_eq!(seen.events, 3, "in pieces of {piece}");
        }
    }

    #[test]
    fn a_chunk_is_as_long_as_it_says() {
        assert_eq!(CHUNK.len(), "40\r\n".len() + 0x40 + "\r\n".len());
    }

    #[test]
    fn an_answer_other_than_200_is_a_failure() {
        let mut refused = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n".to_vec();
        assert!(Seen::default().note(&mut refused, Instant::now()).unwrap_err().to_string().contains("401"));
    }
}
