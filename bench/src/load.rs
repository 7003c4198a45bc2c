//! A closed loop of requests: every connection sends its next request as soon as the last one is answered. Or, at a rate, a
//! schedule: request i is due at i ÷ rate, and late answers count from when their request was due, not from when it was sent.
//! It may be told to go on in turns, so that others can be measured in between: in the pauses nothing is under way, and the
//! connections stay open.
//!
//! Each request carries the next line of a list of credentials, over and over, so that a gateway meets as many different
//! callers as there are lines. Latency in a closed loop is that of a saturated server; what is read there is the server's CPU.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use serde::Serialize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
};

/// An answer that takes longer is an error: nothing in a bench may hang.
const PATIENCE: Duration = Duration::from_secs(10);
/// An answer's head longer than this is an error.
pub(crate) const HEAD_MAX: usize = 64 * 1024;

/// What to send.
pub struct Plan {
    /// The server.
    pub target: SocketAddr,
    /// What to ask for; `{}` in it stands for the request's number modulo `paths`.
    pub path: String,
    /// How many paths `{}` makes.
    pub paths: NonZeroUsize,
    /// Connections kept open.
    pub connections: usize,
    /// Requests due in a second; none: as many as are answered.
    pub rate: Option<NonZeroU32>,
    /// Threads that the connections are spread over.
    pub threads: usize,
    /// Requests in all.
    pub requests: usize,
    /// Turns that they are sent in.
    pub turns: NonZeroUsize,
    /// Whole header lines, `Authorization: Bearer …`; request i carries line i modulo their number. Empty: none.
    pub headers: Vec<String>,
    /// The status that is no error.
    pub expect: u16,
}

/// What came of it.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Requests sent.
    pub requests: usize,
    /// Requests without an answer, or with another status than expected.
    pub errors: usize,
    /// Connections opened beyond the first of each: the server closed one.
    pub reconnects: usize,
    /// From the first request to the last answer, without what lies between the turns.
    pub seconds: f64,
    /// The median latency in microseconds.
    pub p50_us: u64,
    /// The 99th percentile of latency in microseconds.
    pub p99_us: u64,
    /// Answers by status.
    pub statuses: BTreeMap<u16, usize>,
    /// The last failure in words, if there was one.
    pub failure: Option<String>,
    #[serde(skip)]
    micros: Vec<u32>,
}

/// A connection, and what was received on it and not yet used.
struct Client {
    stream: TcpStream,
    received: Vec<u8>,
}

/// The head of an answer.
#[derive(Debug, PartialEq)]
struct Head {
    status: u16,
    /// Bytes of the head and its blank line.
    length: usize,
    /// Bytes of the body that follows.
    body: usize,
    closes: bool,
}

/// What all connections share.
struct Course {
    plan: Plan,
    /// The request that is sent next.
    next: AtomicUsize,
    /// How many have an answer, or none.
    done: AtomicUsize,
    /// How many may be sent by now.
    allowed: watch::Receiver<usize>,
    /// Is told when all that were allowed are done.
    over: mpsc::Sender<()>,
    began: Instant,
}

/// Carries out `plan` without pauses; fails only where no thread can be started.
pub fn run(plan: Plan) -> anyhow::Result<Report> {
    run_in_turns(plan, || Ok(()))
}

/// Carries out `plan`, and calls `pause` before each turn. Fails where that does, and where no thread can be started.
pub fn run_in_turns(plan: Plan, mut pause: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<Report> {
    ensure!(plan.connections > 0 && plan.threads > 0, "at least one connection and one thread");
    let (requests, turns) = (plan.requests, plan.turns.get().min(plan.requests));
    let (connections, threads) = (plan.connections, plan.threads);
    let ((allow, allowed), (over, turn_over)) = (watch::channel(0), mpsc::channel());
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let course = Arc::new(Course { plan, next, done, allowed, over, began: Instant::now() });
    let threads: Vec<_> = (0..threads)
        .map(|thread| {
            let (own, course) = ((thread..connections).step_by(threads).count(), Arc::clone(&course));
            std::thread::spawn(move || run_thread(own, &course))
        })
        .collect();
    drop(course);
    let mut active = Duration::ZERO;
    for turn in 1..=turns {
        pause()?;
        let began = Instant::now();
        allow.send_replace(requests * turn / turns);
        turn_over.recv().context("a thread of the load ended before its time")?;
        active += began.elapsed();
    }
    let mut report = Report::default();
    for thread in threads {
        report.add(thread.join().map_err(|_| anyhow::anyhow!("a thread of the load panicked"))??);
    }
    report.seconds = active.as_secs_f64();
    report.micros.sort_unstable();
    (report.p50_us, report.p99_us) = (percentile(&report.micros, 50), percentile(&report.micros, 99));
    Ok(report)
}

fn run_thread(connections: usize, course: &Arc<Course>) -> anyhow::Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let tasks: Vec<_> = (0..connections).map(|_| tokio::spawn(run_connection(Arc::clone(course)))).collect();
        let mut report = Report::default();
        for task in tasks {
            report.add(task.await?);
        }
        Ok(report)
    })
}

async fn run_connection(course: Arc<Course>) -> Report {
    let (mut report, mut client, mut opened) = (Report::default(), None, 0_usize);
    let (plan, mut allowed, mut request) = (&course.plan, course.allowed.clone(), Vec::new());
    loop {
        let turn = course.next.fetch_add(1, Ordering::Relaxed);
        // It fails where whoever allows is gone, and then there is no more to do either.
        if turn >= plan.requests || allowed.wait_for(|allowed| turn < *allowed).await.is_err() {
            report.reconnects = opened.saturating_sub(1);
            return report;
        }
        plan.write_request(turn, &mut request);
        opened += usize::from(client.is_none());
        let began = match plan.rate {
            None => Instant::now(),
            Some(rate) => {
                let due = course.began + Duration::from_secs_f64(turn as f64 / f64::from(rate.get()));
                tokio::time::sleep_until(due.into()).await;
                due
            }
        };
        let answer = tokio::time::timeout(PATIENCE, exchange(plan.target, client.take(), &request)).await;
        let answer = answer.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer within {PATIENCE:?}")));
        client = report.note(plan.expect, began.elapsed(), answer);
        if course.done.fetch_add(1, Ordering::Relaxed) + 1 == *allowed.borrow() {
            let _ = course.over.send(()); // nobody hears it where a pause has failed
        }
    }
}

/// One request and its whole answer, on the connection at hand or a new one, which is given back if it stays open.
async fn exchange(target: SocketAddr, client: Option<Client>, request: &[u8]) -> anyhow::Result<(u16, Option<Client>)> {
    let mut client = match client {
        Some(client) => client,
        None => Client::connect(target).await?,
    };
    client.stream.write_all(request).await?;
    let head = client.read_head().await?;
    client.skip(head.length + head.body).await?;
    Ok((head.status, (!head.closes).then_some(client)))
}

pub(crate) fn percentile(sorted: &[u32], percent: usize) -> u64 {
    sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied().unwrap_or_default().into()
}

// === impl Plan ===

impl Plan {
    fn write_request(&self, turn: usize, request: &mut Vec<u8>) {
        request.clear();
        let place = self.path.split_once("{}").map(|(before, after)| format!("{before}{}{after}", turn % self.paths));
        let path = place.as_deref().unwrap_or(&self.path);
        request.extend_from_slice(format!("GET {path} HTTP/1.1\r\nhost: {}\r\n", self.target).as_bytes());
        if let Some(count) = NonZeroUsize::new(self.headers.len()) {
            request.extend_from_slice(self.headers[turn % count].as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
    }
}

// === impl Report ===

impl Report {
    fn note(&mut self, expected: u16, took: Duration, answer: anyhow::Result<(u16, Option<Client>)>) -> Option<Client> {
        self.requests += 1;
        match answer {
            Ok((status, client)) => {
                self.micros.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
                *self.statuses.entry(status).or_default() += 1;
                self.errors += usize::from(status != expected);
                client
            }
            Err(error) => {
                self.errors += 1;
                self.failure = Some(format!("{error:#}"));
                None
            }
        }
    }

    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.reconnects += other.reconnects;
        self.micros.extend(other.micros);
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        self.failure = self.failure.take().or(other.failure);
    }
}

// === impl Client ===

impl Client {
    async fn connect(target: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(target).await.with_context(|| format!("cannot connect to {target}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, received: Vec::with_capacity(4096) })
    }

    async fn read_head(&mut self) -> anyhow::Result<Head> {
        loop {
            if let Some(head) = Head::parse(&self.received)? {
                return Ok(head);
            }
            ensure!(self.received.len() < HEAD_MAX, "the answer's head does not end");
            self.receive().await?;
        }
    }

    /// Forgets the next `length` bytes, waiting for those that are still to come.
    async fn skip(&mut self, length: usize) -> anyhow::Result<()> {
        while self.received.len() < length {
            self.receive().await?;
        }
        self.received.drain(..length);
        Ok(())
    }

    async fn receive(&mut self) -> anyhow::Result<()> {
        ensure!(self.stream.read_buf(&mut self.received).await? > 0, "the connection was closed within an answer");
        Ok(())
    }
}

// === impl Head ===

impl Head {
    /// None while the head is incomplete. Only answers with a Content-Length are understood.
    fn parse(received: &[u8]) -> anyhow::Result<Option<Self>> {
        let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
        let text = std::str::from_utf8(&received[..end]).context("the answer's head is not text")?;
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("no status line")?;
        let mut head = Self { status: status.parse().context("no status")?, length: end + 4, body: 0, closes: false };
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            match name.to_ascii_lowercase().as_str() {
                "content-length" => head.body = value.trim().parse().context("a bad Content-Length")?,
                "connection" => head.closes = value.trim().eq_ignore_ascii_case("close"),
                "transfer-encoding" => bail!("an answer without a Content-Length"),
                _ => {}
            }
        }
        Ok(Some(head))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::{Head, percentile};

    #[test]
    fn a_head_says_how_much_follows_and_whether_the_connection_stays() {
        let text = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 12\r\nConnection: close\r\n\r\nhello";
        let head = Head::parse(text).unwrap().unwrap();
        assert_eq!(head, Head { status: 401, length: text.len() - 5, body: 12, closes: true });
        assert_eq!(Head::parse(&text[..text.len() - 6]).unwrap(), None);
        assert!(Head::parse(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
    }

    #[test]
    fn percentiles_are_taken_from_the_sorted_list() {
        let sorted: Vec<u32> = (0..100).collect();
        assert_eq!((percentile(&sorted, 50), percentile(&sorted, 99), percentile(&[], 50)), (50, 99, 0));
        assert_eq!(percentile(&[7], 99), 7);
    }
}
