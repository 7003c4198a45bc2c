//! Streams that are open: whose they are, how long they may last, and how they hear that they are over.
//!
//! Only what lasts is entered here: WebSockets, gRPC, large uploads, answers of unknown or great length (see
//! [`guard`]) at once, and anything else of a known caller after a second ([`cut`]). [`Streams::watch_over`] looks at each of them a few times a second: was anything about its caller changed, is
//! its credential's time over? A change is looked into before it ends anything: a new name is none of a stream's business,
//! a lost role may be. One who is ended hears why; what it tells its client is its own affair.

mod alarm;
pub(crate) mod cancellable;
pub(crate) mod cut;
mod doubt;
mod ground;
pub(crate) mod guard;
pub(crate) mod pace;

use std::{
    collections::HashMap,
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::{Duration, Instant},
};

use futures_util::future::{Fuse, FusedFuture, FutureExt};
use http::{Method, StatusCode};
use identity::Principal;
use parking_lot::Mutex;
use pingora::{
    http::{RequestHeader, ResponseHeader},
    proxy::Session,
};
use policies::{Permit, Possession, Refusal, Route};
use tokio::sync::oneshot;

use self::ground::Ground;
pub(crate) use self::guard::passed_on;
use crate::{
    directory::{Directory, GroupHeaders},
    door::Door,
    grpc,
    inbound::Inbound,
    journey::Journey,
    metrics::StreamMetrics,
    snapshot::Snapshot,
    stamps::Moment,
};

/// How often every stream is looked at. A stream ends within two seconds of its caller's right to it.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Parts of the table, so that the look at one holds up few who come and go.
const SHARDS: usize = 16;

/// How long one that has been told may take to end, before it is cut off.
const GRACE: Duration = Duration::from_secs(1);
/// Bytes above which a body is a stream.
const LARGE: u64 = 1024 * 1024;

/// Every open stream of a known caller, and every tunnel.
pub(crate) struct Streams {
    directory: Arc<Directory>,
    metrics: StreamMetrics,
    shards: [Mutex<HashMap<u64, Open>>; SHARDS],
    next: AtomicU64,
}

/// One open stream.
struct Open {
    /// And when what is known of it was learnt. `None`: nobody knows who it is, and nothing but a stop ends it.
    caller: Option<(Arc<Principal>, Moment)>,
    /// [`Directory::changes`] when it was last seen to hold; at first a number that never comes.
    held_at: u64,
    /// Unix seconds.
    begun_at: i64,
    /// Unix seconds.
    ends_at: i64,
    /// What it was let in under, and is judged by again.
    rules: Arc<Snapshot>,
    route: Arc<Route>,
    told: Told,
    end: Option<oneshot::Sender<Refusal>>,
    /// Since when and why it is over, though it has not ended yet.
    over: Option<(Instant, Refusal)>,
    cut: Option<oneshot::Sender<Refusal>>,
}

/// What was known when it was let in.
struct Told {
    /// Whose the thing is, on a route that demands that it is the caller's.
    whose: Option<Box<Possession>>,
    /// To which teams and domains the caller belongs, if the upstream was told.
    groups: Option<Arc<GroupHeaders>>,
    /// On what else it stands.
    ground: Option<Arc<Ground>>,
}

/// A place in the table; given up when dropped.
pub(crate) struct Ticket {
    streams: Arc<Streams>,
    id: u64,
}

/// What is needed to enter a request: at once if it is a stream by its looks, else when it turns out to last.
pub(crate) struct Candidate {
    streams: Arc<Streams>,
    caller: Option<(Arc<Principal>, Moment)>,
    begun_at: i64,
    ends_at: i64,
    rules: Arc<Snapshot>,
    route: Arc<Route>,
    told: Told,
}

/// Where a stream hears why it is over. `None`: nobody will ever say.
pub(crate) type Ended = Option<oneshot::Receiver<Refusal>>;

/// Enters a permitted request as a stream, until the journey ends. `cut` ends it if it does not hear.
pub(crate) fn watch(streams: &Arc<Streams>, journey: &mut Journey, cut: Option<oneshot::Sender<Refusal>>) -> Ended {
    cut::unwatch();
    let (ticket, ended) = Candidate::of(streams, journey)?.enter(cut);
    journey.ticket = Some(ticket);
    Some(ended)
}

/// Enters a permitted request of a known caller if it turns out to last.
pub(crate) fn watch_later(streams: &Arc<Streams>, journey: &Journey) {
    if journey.known.is_some() {
        cut::watch_later(Candidate::of(streams, journey), journey.began());
    }
}

/// May a request with a body take long to be sent, or its answer long to begin? A gRPC call, or a body of great or unknown length.
fn takes_long(request: &RequestHeader) -> bool {
    Inbound::declared_length(&request.headers).is_none_or(|length| length > LARGE) || grpc::is_call(request)
}

/// May the answer take long? One of great or unknown length.
pub(crate) fn answers_long(session: &Session, response: &ResponseHeader) -> bool {
    let has_body = !matches!(response.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        && session.req_header().method != Method::HEAD;
    has_body && Inbound::declared_length(&response.headers).is_none_or(|length| length > LARGE)
}

/// Waits until the stream is over.
pub(crate) async fn told(ended: &mut Ended) -> Refusal {
    if let Some(end) = ended {
        let why = end.await;
        *ended = None;
        if let Ok(why) = why {
            return why;
        }
    }
    std::future::pending().await
}

/// Waits until the stream is over, or its time.
pub(crate) async fn over(ended: &mut Ended) -> Refusal {
    let mut told = pin!(told(ended));
    let why = || cut::why().unwrap_or(Refusal::UpstreamTimeout);
    poll_fn(|cx| if cut::is_over() { Poll::Ready(why()) } else { told.as_mut().poll(cx) }).await
}

/// When a stream ends whose credential is good until `expires_at`: later by the grace of its route. Unix seconds.
fn end_of(expires_at: i64, route: &Route) -> i64 {
    let grace = route.expiry_grace.as_secs().try_into().unwrap_or(i64::MAX);
    expires_at.saturating_add(grace)
}

// === impl Candidate ===

impl Candidate {
    /// A permitted request.
    pub(crate) fn of(streams: &Arc<Streams>, journey: &Journey) -> Option<Self> {
        let (known, route) = (journey.known.as_ref(), journey.route.as_ref()?);
        let until = journey.certificate_ends.or_else(|| known.map(|known| known.expires_at()));
        Some(Self {
            streams: Arc::clone(streams),
            caller: known.map(|known| (Arc::clone(&known.principal), known.learnt())),
            begun_at: journey.now.timestamp(),
            ends_at: until.map_or(i64::MAX, |until| end_of(until, route)),
            rules: Arc::clone(&journey.rules),
            route: Arc::clone(route),
            told: Told {
                whose: journey.permit.as_ref().and_then(Permit::whose).map(Box::new),
                groups: journey.groups.clone(),
                ground: Ground::of(journey, route),
            },
        })
    }

    fn enter(self, cut: Option<oneshot::Sender<Refusal>>) -> (Ticket, oneshot::Receiver<Refusal>) {
        let (end, ended) = oneshot::channel();
        let Self { streams, caller, begun_at, ends_at, rules, route, told } = self;
        let (held_at, end) = (u64::MAX, Some(end));
        let open = Open { caller, held_at, begun_at, ends_at, rules, route, told, end, over: None, cut };
        (streams.enter(open), ended)
    }
}

// === impl Door ===

impl Door {
    /// Posts whoever has to hear that a request is over that is about to be sent.
    pub(crate) fn stand_by(&self, session: &mut Session, journey: &mut Journey, has_body: bool) {
        if has_body && takes_long(session.req_header()) {
            self.watch(session, journey);
        }
        // On HTTP/1 the connection hears that the time of its request is over. A stream of HTTP/2 needs somebody to hear it.
        if journey.guard.is_none() && session.is_http2() {
            let pace = if has_body { journey.pace(session) } else { pace::Pace::default() };
            journey.guard = Some(guard::Guard::post(session, None, pace));
        }
    }

    /// Lets the end of the caller's right to it end a request too.
    pub(crate) fn watch(&self, session: &mut Session, journey: &mut Journey) {
        if journey.known.is_some() && (journey.guard.is_none() || journey.ticket.is_none()) {
            // One that only knows the time is replaced.
            journey.relieve(session);
            let ended = watch(&self.streams, journey, cut::handle());
            let pace = journey.pace(session);
            journey.guard = Some(guard::Guard::post(session, ended, pace));
        }
    }
}

// === impl Streams ===

impl Streams {
    pub(crate) fn new(directory: Arc<Directory>, metrics: StreamMetrics) -> Arc<Self> {
        Arc::new(Self { directory, metrics, shards: Default::default(), next: AtomicU64::new(0) })
    }

    /// Ends streams whose callers have no right to them any more, for as long as the process lives.
    pub(crate) async fn watch_over(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut looking = pin!(Fuse::terminated());
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    let now = store::clock::now();
                    // What is over ends on time, however long the database takes to say who else has no right any more.
                    let doubtful = self.doubtful(now);
                    if looking.is_terminated() {
                        looking.set(self.look_into(doubtful, now).fuse());
                    }
                }
                () = &mut looking => {}
            }
        }
    }

    /// Ends every stream: the process is about to.
    pub(crate) fn end_all(&self) {
        for shard in &self.shards {
            for open in shard.lock().values_mut() {
                self.end(open, Refusal::ShuttingDown);
            }
        }
    }

    fn end(&self, open: &mut Open, why: Refusal) {
        if let Some(end) = open.end.take() {
            self.metrics.ended(&why);
            open.over = Some((Instant::now(), why.clone()));
            // One that ends by itself at this very moment need not hear it.
            let _ = end.send(why);
        }
    }

    fn enter(self: &Arc<Self>, open: Open) -> Ticket {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.shard(id).lock().insert(id, open);
        self.metrics.open.inc();
        Ticket { streams: Arc::clone(self), id }
    }

    fn shard(&self, id: u64) -> &Mutex<HashMap<u64, Open>> {
        &self.shards[id as usize % SHARDS]
    }
}

// === impl Open ===

impl Open {
    fn cut_if_deaf(&mut self) {
        if let Some((since, why)) = &self.over
            && since.elapsed() > GRACE
            && let Some(cut) = self.cut.take()
        {
            // It may have ended just now.
            let _ = cut.send(why.clone());
        }
    }
}

// === impl Ticket ===

impl Ticket {
    /// Why the stream is over, if it was told to end.
    pub(crate) fn why(&self) -> Option<&'static str> {
        self.streams.shard(self.id).lock().get(&self.id)?.over.as_ref().map(|(_, why)| why.code())
    }

    /// From here on `cut` ends the stream if it does not hear that it is over.
    pub(crate) fn cut_off_by(&self, cut: Option<oneshot::Sender<Refusal>>) {
        if let Some(open) = self.streams.shard(self.id).lock().get_mut(&self.id) {
            open.cut = cut;
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.streams.shard(self.id).lock().remove(&self.id);
        self.streams.metrics.open.dec();
    }
}
