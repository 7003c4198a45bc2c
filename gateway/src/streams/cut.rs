//! The last resort: a request that does not hear that it is over is cut off. And the time by which it must be over.
//!
//! Pingora has one time-out, for each read by itself: a server that sends a byte now and then keeps its request for ever.
//! So each request carries a time for the whole, one for what its server does next ([`take_by`], [`answer_by`], [`heard`]), and over
//! HTTP/2 one for its client's body ([`await_body`]); and a connection one for its next request ([`await_request`]), since this alarm
//! costs less than Pingora's timers. When one of them has passed, the request is polled and [`is_over`]: whoever reads from the client, or stands guard before it,
//! reports an error, and the client is told. That takes no write to be possible; what is not heard within [`GRACE`] is
//! dropped: its connection is closed, or its stream of HTTP/2 reset, after [`cancellable`](super::cancellable) has told the client why
//! if it can still be told. So is a request that waits for nothing but a server that takes no more of an upload, when that has lasted too
//! long or its caller has lost the right to it.
//!
//! By the same way a request hears that its caller has lost the right to it, if nothing about it promised that it would last:
//! it becomes a stream when it has lasted for [`LASTS`], so that those that do not pay nothing for it.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use policies::Refusal;
use tokio::sync::oneshot;

use super::{Candidate, GRACE, Ticket, alarm::Alarm, guard::Guard};
use crate::{
    connection::{BODY_WINDOW, Room},
    journey::Journey,
};

/// How much longer the client has for its body while it shares no room for it: its own uploads may be what fills it.
const LONGEST_WITHOUT_ROOM: Duration = Duration::from_mins(1);
/// How long a request may take before it is a stream.
const LASTS: Duration = Duration::from_secs(1);

tokio::task_local! {
    /// The request that runs here. Boxed: it goes in and out of its place whenever its task is polled.
    static RUNNING: Box<Running>;
}

/// What can end a request beside itself. Laid out as it is written: what is read whenever the request is polled comes first, on two lines
/// of memory.
#[derive(Default)]
#[repr(C)]
struct Running {
    /// When all of it must be over.
    whole: Cell<Option<Instant>>,
    /// When the server must have done the next thing.
    next: Cell<Option<Instant>>,
    /// When the client must have sent more of its body.
    body: Cell<Option<Instant>>,
    /// When the next request must have begun.
    request: Cell<Option<Instant>>,
    /// When it will be a stream, until it is one.
    lasts: Cell<Option<Instant>>,
    alarm: RefCell<Alarm>,
    is_over: Cell<bool>,
    /// Can somebody else end it? Not unless there was ever anything in `cut` or `watched`.
    can_be_ended: Cell<bool>,
    /// It is some of the client's body that the server must have taken.
    must_take: Cell<bool>,
    /// The server's time does not run: it is the client who takes nothing.
    is_excused: Cell<bool>,
    answer: Cell<Answer>,
    /// How long the server may be silent, once its answer has begun.
    silence: Cell<Option<Duration>>,
    /// How long the connection may lie idle between two requests.
    idle: Cell<Duration>,
    /// Where it hears that it is cut off, and why, if it can be.
    cut: RefCell<Option<oneshot::Receiver<Refusal>>>,
    watched: RefCell<Option<(Ticket, oneshot::Receiver<Refusal>)>>,
    /// Why it is over, if not for its time.
    why: RefCell<Option<Refusal>>,
    /// Whose request it is, until it is a stream.
    candidate: RefCell<Option<Candidate>>,
    /// Who has the client's session if the request is dropped.
    guard: RefCell<Option<Guard>>,
    /// What was known of the request, if it has been dropped before it was answered.
    left: RefCell<Option<Box<Journey>>>,
    /// What it shares with others: while there is none it can send nothing.
    room: RefCell<Option<Arc<Room>>>,
    /// Until when that was waited for, and until when it will be at the latest.
    waited: Cell<Option<(Instant, Instant)>>,
}

/// How far the server's answer is.
#[derive(Clone, Copy, Default, PartialEq)]
enum Answer {
    #[default]
    Awaited,
    Begun,
    /// Though the client may still be sending.
    Ended,
}

/// How a request ends that does not end by itself.
pub(super) enum End {
    /// It has to hear that its time is over.
    Over,
    /// It is dropped.
    Cut,
}

/// Runs one request of HTTP/2, or those of a connection of HTTP/1 one after the other.
pub(crate) async fn scope<F: Future>(requests: F) -> F::Output {
    RUNNING.scope(Box::default(), requests).await
}

/// Lets the request that runs here be cut off.
pub(crate) fn handle() -> Option<oneshot::Sender<Refusal>> {
    RUNNING.try_with(|running| running.handle()).ok()
}

/// If the request turns out to last it is watched over from then on.
pub(crate) fn watch_later(candidate: Option<Candidate>, began: Instant) {
    with(|running| {
        *running.candidate.borrow_mut() = candidate;
        running.lasts.set(Some(began + LASTS));
    });
}

/// The request is watched over by somebody else.
pub(crate) fn unwatch() {
    with(Running::unwatch);
}

/// The request has ended. What its client still sends has a time of its own.
pub(crate) fn release() {
    with(Running::clear);
}

/// All of the request must be over then.
pub(crate) fn end_by(whole: Option<Instant>) {
    with(|running| {
        running.whole.set(whole);
        running.next.set(None);
        running.must_take.set(false);
        running.answer.set(Answer::Awaited);
    });
}

/// Some of the client's body has been passed on: the server must have taken it then, or the client be waited for
/// ([`await_client`]). While it answers, to take is as good as to say something.
pub(crate) fn take_by(until: Instant) {
    with(|running| {
        if running.answer.get() == Answer::Begun {
            running.expect_more();
        } else {
            running.next.set(Some(until));
            running.must_take.set(true);
        }
    });
}

/// The request has been sent: the head of its answer must be there then, if it is not there already.
pub(crate) fn answer_by(head: Instant) {
    with(|running| {
        running.must_take.set(false);
        match running.answer.get() {
            Answer::Awaited => running.next.set(Some(head)),
            Answer::Begun => {}
            Answer::Ended => running.next.set(None),
        }
    });
}

/// The answer has begun; from here on the server may be silent for so long.
pub(crate) fn answer_begun(silence: Duration) {
    with(|running| {
        running.answer.set(Answer::Begun);
        running.must_take.set(false);
        running.silence.set(Some(silence));
        running.expect_more();
    });
}

/// The server has said something, which `is_last` or is not.
pub(crate) fn heard(is_last: bool) {
    with(|running| {
        if is_last {
            running.silence.set(None);
            running.is_excused.set(false);
            running.next.set(None);
            running.answer.set(Answer::Ended);
        } else if running.silence.get().is_some() {
            running.expect_more();
        }
    });
}

/// The client is sent something, and may be slow to take it: the server's time does not run until [`await_client`].
pub(crate) fn excuse() {
    with(|running| {
        if running.silence.get().is_some() {
            running.next.set(None);
            running.is_excused.set(true);
        }
    });
}

/// The client is waited for: it has taken what it was sent, and the server's time runs again; or there is room for more of its body, and
/// the server need not take any.
pub(crate) fn await_client() {
    with(|running| {
        if running.is_excused.get() {
            running.expect_more();
        } else if running.must_take.replace(false) {
            running.next.set(None);
        }
    });
}

/// The client must have sent enough of its body then; with none, it is not the client who is waited for.
pub(crate) fn await_body(until: Option<Instant>) {
    with(|running| running.body.set(until));
}

/// The client's body shares its connection's room with others.
pub(crate) fn share(room: Arc<Room>) {
    with(|running| *running.room.borrow_mut() = Some(room));
}

/// After this request the connection may lie idle for so long.
pub(crate) fn stay(idle: Duration) {
    with(|running| running.idle.set(idle));
}

/// The connection lies idle; how long it may is what the request before said.
pub(crate) fn await_request() {
    with(|running| running.request.set(Some(Instant::now() + running.idle.get())));
}

/// The next request has begun.
pub(crate) fn request_begun() {
    with(|running| running.request.set(None));
}

/// Has the time of the request that runs here passed?
pub(crate) fn is_over() -> bool {
    RUNNING.try_with(|running| running.is_over.get()).unwrap_or(false)
}

/// Is it over, or nearly, since the server takes nothing?
pub(crate) fn must_take() -> bool {
    RUNNING.try_with(|running| running.must_take.get()).unwrap_or(false)
}

/// Whoever stands guard gives the client's session back if the request is dropped.
pub(super) fn entrust(guard: Option<Guard>) {
    with(|running| *running.guard.borrow_mut() = guard);
}

/// Can the client of a request that is dropped be told why?
pub(crate) fn can_be_told() -> bool {
    RUNNING
        .try_with(|running| running.guard.borrow().is_some() && running.answer.get() == Answer::Awaited)
        .unwrap_or(false)
}

/// What was known of a request that has been dropped and [`can_be_told`].
pub(crate) fn leave(journey: Box<Journey>) {
    with(|running| *running.left.borrow_mut() = Some(journey));
}

/// Who has the session of the request that has been dropped, and what was known of it; there is time to tell its client.
pub(super) fn dropped() -> Option<(Guard, Box<Journey>)> {
    let dropped = RUNNING.try_with(|running| {
        running.is_over.set(false);
        Some((running.guard.take()?, running.left.take()?))
    });
    dropped.ok().flatten()
}

/// The next request of a connection of HTTP/1 begins. Does it run in such a connection's task, and not in one of its own?
pub(super) fn begin() -> bool {
    RUNNING.try_with(|running| running.clear()).is_ok()
}

/// Why is it over, if it was not its time that passed?
pub(crate) fn why() -> Option<Refusal> {
    RUNNING.try_with(|running| running.why.borrow().clone()).ok().flatten()
}

/// Is the request that runs here at its end? Asked whenever it has been polled.
pub(super) fn poll_end(cx: &mut Context<'_>) -> Poll<End> {
    RUNNING.try_with(|running| running.poll_end(cx)).unwrap_or(Poll::Pending)
}

fn with(change: impl FnOnce(&Running)) {
    // Elsewhere, as in a test of one part, there is nothing to end.
    let _ = RUNNING.try_with(|running| change(running));
}

// === impl Running ===

impl Running {
    fn clear(&self) {
        for flag in [&self.can_be_ended, &self.must_take, &self.is_excused, &self.is_over] {
            flag.set(false);
        }
        for time in [&self.whole, &self.next, &self.body, &self.request] {
            time.set(None);
        }
        *self.cut.borrow_mut() = None;
        *self.guard.borrow_mut() = None;
        *self.left.borrow_mut() = None;
        self.answer.set(Answer::Awaited);
        self.silence.set(None);
        self.unwatch();
        *self.why.borrow_mut() = None;
    }

    fn unwatch(&self) {
        self.lasts.set(None);
        *self.candidate.borrow_mut() = None;
        *self.watched.borrow_mut() = None;
    }

    fn expect_more(&self) {
        self.is_excused.set(false);
        self.next.set(self.silence.get().map(|silence| Instant::now() + silence));
    }

    fn poll_end(&self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            let can_be_ended = self.can_be_ended.get();
            if can_be_ended && self.is_cut(cx) {
                return Poll::Ready(End::Cut);
            }
            if can_be_ended && self.is_ended(cx) {
                return Poll::Ready(End::Over);
            }
            let is_over = self.is_over.get();
            let lasts = if is_over { None } else { self.lasts.get() };
            let ends = [self.whole.get(), self.next.get(), self.body.get(), self.request.get(), lasts];
            let Some(until) = ends.into_iter().flatten().min() else { return Poll::Pending };
            ready!(self.alarm.borrow_mut().poll(if is_over { until + GRACE } else { until }, cx));
            if lasts == Some(until) {
                self.watch();
                continue;
            }
            if !is_over && self.body.get() == Some(until) {
                let due = self.room.borrow().as_ref().map_or(until, |room| room.due(until, BODY_WINDOW));
                let latest = self.waited.get().filter(|(at, _)| *at == until);
                let latest = latest.map_or(until + LONGEST_WITHOUT_ROOM, |(_, latest)| latest);
                let due = due.min(latest);
                if due > until {
                    self.body.set(Some(due));
                    self.waited.set(Some((due, latest)));
                    continue;
                }
                *self.why.borrow_mut() = Some(Refusal::RequestTimeout);
            }
            self.is_over.set(true);
            return Poll::Ready(if is_over { End::Cut } else { End::Over });
        }
    }

    /// It is a stream from here on.
    fn watch(&self) {
        self.lasts.set(None);
        if let Some(candidate) = self.candidate.take() {
            *self.watched.borrow_mut() = Some(candidate.enter(Some(self.handle())));
        }
    }

    /// It can be cut off from here on, by whoever has what is returned.
    fn handle(&self) -> oneshot::Sender<Refusal> {
        let (cut, heard) = oneshot::channel();
        self.can_be_ended.set(true);
        *self.cut.borrow_mut() = Some(heard);
        cut
    }

    /// Is it told just now that it is over?
    fn is_ended(&self, cx: &mut Context<'_>) -> bool {
        let mut watched = self.watched.borrow_mut();
        if self.why.borrow().is_some() {
            return false;
        }
        let Some(Poll::Ready(Ok(why))) = watched.as_mut().map(|(_, ended)| Pin::new(ended).poll(cx)) else {
            return false;
        };
        *self.why.borrow_mut() = Some(why);
        self.is_over.set(true);
        true
    }

    fn is_cut(&self, cx: &mut Context<'_>) -> bool {
        let mut cut = self.cut.borrow_mut();
        let Some(Poll::Ready(heard)) = cut.as_mut().map(|cut| Pin::new(cut).poll(cx)) else { return false };
        *cut = None;
        // An error: nobody will cut it off any more.
        let Ok(why) = heard else { return false };
        self.why.borrow_mut().get_or_insert(why);
        true
    }
}
