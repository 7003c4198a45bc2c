//! One request on its way through: what each step left for the next, and what is written down at the end.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use http::{Method, header};
use pingora::{Error, ErrorType, Result, http::RequestHeader, proxy::Session, upstreams::peer::HttpPeer};
use policies::{Permit, Refusal, Route};

use crate::{
    answer::{LocalAnswer, Readers},
    config::Protocol,
    connection::Facts,
    directory::{GroupHeaders, Known, Provided},
    door::{Door, Place},
    grpc,
    inbound::{Inbound, RequestId, Unread},
    limiter::{Receipt, Standing},
    record::Event,
    snapshot::{ADMIN_API, Snapshot},
    streams::{Ticket, cut, guard::Guard, pace::Pace},
    tunnel::Carried,
    upstream::{Attempt, Break, Failure, Tries, Upstream},
    usage::{Usage, meter::Metered},
    websocket::Handshake,
};

/// What [`Door::admit`] lets happen next.
pub(crate) enum Admission {
    /// There is a permit: on to the upstream.
    Forward,
    /// There is a permit for a WebSocket.
    Tunnel(Box<Handshake>),
    /// The door answers by itself.
    Answer(LocalAnswer),
}

/// The state of one request.
pub(crate) struct Journey {
    began: Instant,
    /// The wall clock when it began: one reading serves authentication, assertion and log.
    pub(crate) now: DateTime<Utc>,
    decided: Option<Duration>,
    /// The configuration it began under; it finishes under the same (DESIGN §4).
    pub(crate) rules: Arc<Snapshot>,
    pub(crate) inbound: Option<Inbound>,
    /// What could not be read.
    pub(crate) unread: Option<Box<Unread>>,
    pub(crate) route: Option<Arc<Route>>,
    pub(crate) known: Option<Arc<Known>>,
    /// Unix seconds from which on the client certificate counts no more by which the caller is known.
    pub(crate) certificate_ends: Option<i64>,
    /// The caller's teams and domains, where the upstream asks for them.
    pub(crate) groups: Option<Arc<GroupHeaders>>,
    pub(crate) permit: Option<Permit>,
    /// The key at a provider's that the upstream is shown, on routes that show one.
    pub(crate) provided: Option<Provided>,
    pub(crate) receipt: Receipt,
    /// The limit that refused, for the `RateLimit` fields of a 429.
    pub(crate) exceeded: Option<Box<Standing>>,
    pub(crate) refusal: Option<Refusal>,
    /// What was sent to a server last.
    pub(crate) attempt: Option<Attempt>,
    /// Its place among the streams, if it lasts.
    pub(crate) ticket: Option<Ticket>,
    /// What waits for the stream's end beside Pingora.
    pub(crate) guard: Option<Guard>,
    /// Why we ended an answer that had begun.
    pub(crate) ended: Option<&'static str>,
    /// Does its answer end with the head, whatever a server of HTTP/2 sends after that (RFC 9110 §15.3.5, §15.4.5)?
    pub(crate) has_no_content: bool,
    /// What it carried as a WebSocket.
    pub(crate) tunnel: Option<Carried>,
    /// What the backend says that its answer cost.
    pub(crate) metered: Option<Box<Metered>>,
    is_recorded: bool,
    /// Has its client been told why it failed, and nothing before that?
    pub(crate) is_told: bool,
    tries: Tries,
    body_bytes: u64,
    /// Answers of one try that only inform (1xx).
    informed: u8,
    /// What it is counted among; nothing before there is room for it.
    pub(crate) place: Option<Place>,
}

/// A server sends a 100, perhaps a 102 now and then, and a few 103.
const MOST_INFORMATIONAL: u8 = 16;

// === impl Journey ===

impl Journey {
    pub(crate) fn begin(rules: Arc<Snapshot>) -> Self {
        rules.in_flight.inc();
        let began = Instant::now();
        Self {
            place: None,
            began,
            now: store::clock::now(),
            decided: None,
            rules,
            inbound: None,
            unread: None,
            route: None,
            known: None,
            certificate_ends: None,
            groups: None,
            permit: None,
            provided: None,
            receipt: Receipt::default(),
            exceeded: None,
            refusal: None,
            attempt: None,
            ticket: None,
            guard: None,
            ended: None,
            has_no_content: false,
            tunnel: None,
            metered: None,
            is_recorded: false,
            is_told: false,
            tries: Tries::since(began),
            body_bytes: 0,
            informed: 0,
        }
    }

    /// When it began.
    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    pub(crate) fn decided_now(&mut self) {
        self.decided = Some(self.began.elapsed());
    }

    /// Where a permitted request goes. Without a permit there is no destination.
    pub(crate) fn destination(&self) -> Result<(&Upstream, &Permit)> {
        let permit = self.permit.as_ref().ok_or_else(|| Error::explain(ErrorType::InternalError, "no permit"))?;
        let upstream: &Upstream = self.rules.upstream(permit);
        Ok((upstream, permit))
    }

    /// What the servers speak that the request goes to.
    pub(crate) fn upstream_speaks(&self, protocol: Protocol) -> bool {
        self.permit.as_ref().is_some_and(|permit| self.rules.upstream(permit).protocol() == protocol)
    }

    /// Does it go to our own account service?
    pub(crate) fn is_for_office(&self) -> bool {
        self.permit.as_ref().is_some_and(|permit| &*permit.route().upstream == ADMIN_API)
    }

    /// The state of the limits to tell the client.
    pub(crate) fn standing(&self) -> Option<&Standing> {
        self.exceeded.as_deref().or(self.receipt.tightest.as_ref())
    }

    pub(crate) fn request_id(&self) -> Option<&str> {
        let read = self.inbound.as_ref().map(|inbound| &inbound.request_id);
        read.or(self.unread.as_ref().map(|unread| &unread.request_id)).map(RequestId::as_str)
    }

    /// Who may read the answer, on a route that has rules for it.
    pub(crate) fn readers<'a>(&'a self, request: &'a RequestHeader) -> Option<Readers<'a>> {
        let cors = self.route.as_ref()?.cors.as_ref()?;
        Some(Readers { cors, origin: request.headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok()) })
    }

    /// Did the client come by HTTPS? What could not be read is answered as if it had not.
    pub(crate) fn is_secure(&self) -> bool {
        self.inbound.as_ref().is_some_and(|inbound| inbound.is_secure)
    }

    /// Remembers why the request fails, and makes Pingora stop.
    #[expect(clippy::unnecessary_box_returns, reason = "Pingora's errors are boxed")]
    pub(crate) fn fail(&mut self, refusal: Refusal) -> Box<Error> {
        let error = Error::explain(ErrorType::HTTPStatus(refusal.status()), refusal.code());
        self.refusal = Some(refusal);
        error
    }

    /// Gives the client's session back to Pingora. Says why the stream was ended, if it was.
    pub(crate) fn relieve(&mut self, session: &mut Session) -> Option<Refusal> {
        self.guard.take()?.relieve(session)
    }

    /// Counts what the client sends; more than the route takes ends the request. Is it the first of it?
    pub(crate) fn count_body(&mut self, bytes: usize) -> Result<bool> {
        let is_first = self.body_bytes == 0;
        self.body_bytes += bytes as u64;
        let most = self.route.as_ref().map_or(0, |route| self.rules.max_body(route));
        if self.body_bytes > most { Err(self.fail(Refusal::BodyTooLarge { limit: most })) } else { Ok(is_first) }
    }

    /// How fast the body has to come, where the connection does not see to that. A gRPC call may be silent, where there is gRPC.
    pub(crate) fn pace(&self, session: &Session) -> Pace {
        let may_be_silent = || grpc::is_call(session.req_header()) && self.upstream_speaks(Protocol::Http2);
        if !session.is_http2() || may_be_silent() {
            return Pace::default();
        }
        Pace::of(self.rules.min_body_rate, Facts::of(session).map(|facts| Arc::clone(&facts.room)))
    }

    /// Picks a server for the next attempt.
    pub(crate) fn attempt(&mut self) -> Result<Box<HttpPeer>> {
        let client = self.inbound.as_ref().map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |inbound| inbound.client);
        let permit = self.permit.as_ref().ok_or_else(|| Error::explain(ErrorType::InternalError, "no permit"))?;
        let picked = self.rules.upstream(permit).pick(permit, client, &mut self.tries);
        let (peer, attempt) = picked.map_err(|refusal| self.fail(refusal))?;
        self.attempt = Some(attempt);
        // What has been sent already is sent, and counted, once more.
        (self.informed, self.body_bytes) = (0, 0);
        Ok(peer)
    }

    /// The attempt is broken: tells its server if it has failed, and finds out whether there may be another if the request can
    /// be sent again.
    pub(crate) fn attempt_broke(&mut self, error: &Error, may_send_again: bool, broke: Break) -> bool {
        let (Some(failure), None, Some(attempt)) = (Failure::of(error), &self.refusal, &mut self.attempt) else {
            return false;
        };
        self.tries.by_http1 |= *error.etype() == ErrorType::H2Downgrade;
        if broke == Break::Failure {
            attempt.failed(failure);
            self.tries.without(attempt);
        }
        may_send_again && self.destination().is_ok_and(|(upstream, _)| upstream.may_retry(&self.tries, broke))
    }

    /// The request is over: for its caller's sake, or else for its time. That is its server's fault if its body `is_whole`, or the server
    /// does not take it.
    pub(crate) fn over(&mut self, is_whole: bool) {
        if let Some(why) = cut::why() {
            self.refusal.get_or_insert(why);
            return;
        }
        self.refusal.get_or_insert(Refusal::UpstreamTimeout);
        if (is_whole || cut::must_take())
            && let Some(attempt) = &mut self.attempt
        {
            attempt.failed(Failure::Timeout);
        }
    }

    /// Before the one that counts a server may send answers that only inform, but not for ever.
    pub(crate) fn count_informational(&mut self) -> Result<()> {
        self.informed += 1;
        if self.informed > MOST_INFORMATIONAL { Err(self.fail(Refusal::UpstreamInvalid)) } else { Ok(()) }
    }

    /// Bytes flow, but the time for the whole request may be over.
    pub(crate) fn check_deadline(&mut self) -> Result<()> {
        if self.attempt.as_ref().is_some_and(Attempt::is_overdue) {
            return Err(self.fail(Refusal::UpstreamTimeout));
        }
        Ok(())
    }

    /// The last step: metrics, and one line in the access log.
    pub(crate) fn record(&mut self, status: u16, sent_bytes: usize, door: &Door) {
        cut::release();
        let took = self.began.elapsed();
        self.is_recorded = true;
        let route = self.route.as_deref();
        match (&self.refusal, route) {
            (Some(refusal), None) => door.metrics.refused(refusal),
            (Some(refusal), Some(route)) => self.rules.metrics(route).refused(refusal, self.permit.is_some()),
            (None, Some(route)) => self.rules.metrics(route).answered(status, took),
            (None, None) => {}
        }
        if let (Some(Refusal::RateLimited { .. } | Refusal::TooManyConcurrent { .. }), Some(standing)) =
            (&self.refusal, &self.exceeded)
        {
            door.metrics.limited.with_label_values(&[&standing.name]).inc();
        }
        // A probe every second is no news.
        if door.recorder.is_on() && (self.route.is_some() || self.refusal.is_some()) {
            let event = self.event(status, sent_bytes, took);
            door.recorder.record(event);
        }
        self.count(&door.recorder.usage);
        self.give_back();
    }

    /// It is over for everybody else, though its client may still be sending.
    fn give_back(&mut self) {
        (self.receipt, self.attempt, self.ticket, self.place) = (Receipt::default(), None, None, None);
        self.rules.in_flight.dec();
    }

    /// The very last step of what was forwarded for a known caller: its references are handed over, not copied.
    fn count(&mut self, usage: &Usage) {
        if usage.is_on()
            && self.attempt.is_some()
            && !self.is_for_office()
            && let (Some(known), Some(route)) = (self.known.take(), self.route.take())
        {
            usage.count(known, route, self.now.timestamp(), self.metered.take());
        }
    }

    /// The client of the request that was cut off has been told so after all.
    pub(crate) fn told(&mut self, why: Refusal) {
        (self.is_told, self.refusal) = (true, Some(why));
    }

    /// What is dropped before Pingora logs it was cut off: by [`crate::streams`], or with the process.
    fn record_cut(&mut self) {
        let took = self.began.elapsed();
        let told = self.refusal.as_ref().filter(|_| self.is_told);
        let status = told.map_or(0, Refusal::status);
        match (told, self.route.as_deref()) {
            (Some(refusal), Some(route)) => self.rules.metrics(route).refused(refusal, self.permit.is_some()),
            (None, Some(route)) => self.rules.metrics(route).answered(0, took),
            (_, None) => {}
        }
        if !self.is_told {
            let why = self.ticket.as_ref().and_then(Ticket::why);
            self.ended = why.or(self.refusal.as_ref().map(Refusal::code)).or(Some("cut_off"));
        }
        if self.rules.recorder.is_on() {
            let event = self.event(status, 0, took);
            self.rules.recorder.record(event);
        }
        let recorder = Arc::clone(&self.rules.recorder);
        self.count(&recorder.usage);
    }

    /// What was asked and by whom, as far as it could be read.
    fn asked(&mut self) -> (Option<RequestId>, Option<IpAddr>, Method, Box<str>) {
        match (self.inbound.take(), self.unread.take()) {
            (Some(read), _) => (Some(read.request_id), Some(read.client), read.method, read.path),
            (None, Some(unread)) => (Some(unread.request_id), unread.client, unread.method, unread.path),
            (None, None) => (None, None, Method::default(), Box::default()),
        }
    }

    /// What there is to tell, with what was read moved into it: this is the end of the journey.
    fn event(&mut self, status: u16, sent_bytes: usize, took: Duration) -> Event {
        let (request_id, client, method, path) = self.asked();
        let principal = self.known.as_ref().map(|known| &known.principal);
        Event {
            at: self.now,
            request_id,
            client,
            method,
            path,
            route: self.route.as_ref().map(|route| Arc::clone(&route.name)),
            account: principal.map(|principal| principal.account.uuid()),
            actor: principal.and_then(|principal| principal.actor.as_ref()).map(|actor| actor.uuid()),
            auth: principal.map(|principal| principal.grant.method()),
            decision: match (&self.permit, &self.refusal) {
                (Some(_), None) => "permit",
                (Some(_), Some(refusal)) if refusal.status() >= 500 => "failed",
                (None, None) => "answered",
                (_, Some(_)) => "refused",
            },
            refusal: self.refusal.as_ref().map(Refusal::code),
            status,
            upstream: self.attempt.as_ref().map(|attempt| Arc::clone(attempt.server())),
            decided_us: self.decided.unwrap_or(took).as_micros() as u64,
            total_us: took.as_micros() as u64,
            sent_bytes,
            received_bytes: self.tunnel.map_or(self.body_bytes, |carried| carried.received),
            ended: self.ended,
        }
    }
}

impl Drop for Journey {
    fn drop(&mut self) {
        if self.is_recorded {
            return;
        }
        if self.ticket.is_none() && self.attempt.is_none() {
            self.give_back();
            return;
        }
        if cut::is_over() || cut::why().is_some() {
            self.over(false);
        }
        if cut::can_be_told() {
            let mut nothing = Self::begin(Arc::clone(&self.rules));
            nothing.is_recorded = true;
            nothing.give_back();
            cut::leave(Box::new(std::mem::replace(self, nothing)));
        } else {
            self.record_cut();
            self.give_back();
        }
    }
}
