//! The hot path: what a request goes through, top to bottom (DESIGN §2). Nothing else decides.
//!
//! Each step takes what the one before it returned and gives the next type or a [`Refusal`]. After [`Door::admit`] a request
//! has a [`Permit`]; everything that talks to an upstream takes it. The steps live in files of their own: [`crate::inbound`]
//! reads, [`crate::directory`] authenticates, `policies` decides, [`crate::limiter`] spends, [`crate::inject`] tells the
//! upstream, [`crate::answer`] refuses, [`crate::journey`] remembers and records. A request for a WebSocket takes the same
//! steps to its permit and then a way of its own, [`crate::tunnel`]; what lasts is entered in [`crate::streams`].

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, Version, header};
use identity::Credential;
use pingora::{
    Error, ErrorType, Result,
    http::{RequestHeader, ResponseHeader},
    modules::http::HttpModules,
    proxy::{FailToProxy, ProxyHttp, Session},
    upstreams::peer::HttpPeer,
};
use policies::{Auth, Refusal, eligible};

use crate::{
    answer::{self, LocalAnswer, Preflight},
    asked::shown,
    cookies, developer,
    door::Door,
    inbound::{Inbound, Unread},
    inject,
    journey::{Admission, Journey},
    limiter::Stopped,
    navigation, panics,
    streams::{self, cut, guard::Guard, pace::Pace},
    tunnel,
    upstream::{Break, Failure},
    usage::meter,
    websocket::Handshake,
};

impl Door {
    /// From the header to the permit: the list of DESIGN §2.
    pub(crate) async fn admit(&self, session: &Session, journey: &mut Journey) -> Result<Admission, Refusal> {
        let rules = &*journey.rules;
        let headers = &session.req_header().headers;

        // read
        let read = Inbound::read(session, &rules.read_limits);
        let read = read.inspect_err(|_| journey.unread = Some(Box::new(Unread::of(session, &rules.read_limits))))?;
        let inbound = journey.inbound.insert(read);

        // probe: whoever asks whether requests would be served is told so however many there are
        if let Some(answer) = self.readiness.probe(&inbound.method, &inbound.path)? {
            return Ok(Admission::Answer(answer));
        }

        // shed: requests of HTTP/2 are more than connections, and each may need one to an upstream; nobody has them all
        journey.place = self.place_for(session)?;

        // redirect. Where to, the host says; what is sent on is HTTP/1.1, which has to name one too (RFC 9112 §3.2).
        if inbound.host.is_empty() {
            return Err(Refusal::Malformed("there is no Host"));
        }
        if let Some(https) = self.https.filter(|_| rules.redirect_to_https && !inbound.is_secure) {
            return Ok(Admission::Answer(LocalAnswer::redirect_to_https(session.req_header(), inbound, https)?));
        }

        // preflight: for the route of the method that is asked about
        let find = |method| rules.policy.routes.find(&inbound.host, method, &inbound.path);
        if let Some(preflight) = Preflight::read(&inbound.method, headers)
            && let Ok(route) = find(preflight.method)
            && let Some(answer) = LocalAnswer::preflight(route, &preflight)?
        {
            journey.route = Some(Arc::clone(route));
            return Ok(Admission::Answer(answer));
        }

        // route
        let route = find(inbound.method.as_str())?;
        journey.route = Some(Arc::clone(route));
        rules.check_declared_length(route, headers)?;
        let handshake = Handshake::read(session.req_header(), route)?;

        // credential
        let credential = match route.auth {
            Auth::None | Auth::Mtls => None,
            Auth::Optional | Auth::Required if self.dev_headers => {
                developer::named(headers, inbound, shown(headers, self.cookies)?)?
            }
            Auth::Optional | Auth::Required => shown(headers, self.cookies)?,
        };

        // authenticate
        if let Some(credential) = credential {
            let known = self.directory.authenticate_on(route, credential, inbound.asking(journey.now)).await?;
            journey.known = Some(known);
            // CSRF
            if let Credential::Cookie(cookie) = credential {
                cookies::check(session.req_header(), inbound, route, handshake.is_some(), cookie)?;
            }
        } else if route.auth == Auth::Mtls {
            let holder = self.certified.holder(session, journey.now, inbound, route, handshake.is_some())?;
            (journey.known, journey.certificate_ends) = holder.unzip();
        }

        // decide: all but whose the thing is that the path names
        let principal = journey.known.as_ref().map(|known| Arc::clone(&known.principal));
        let asker = eligible(&rules.policy, route, principal, journey.now.timestamp())?;

        // spend
        let own = journey.known.as_ref().map(|known| &known.meters);
        let spent = match self.limiter.spend(&asker, inbound.client, own) {
            Ok(receipt) => Ok(receipt),
            Err(Stopped::Exceeded(exceeded)) => Err(exceeded),
            // Boxed, as what follows, so that other requests do not carry room for it.
            Err(Stopped::Short(short)) => Box::pin(self.limiter.spend_later(&asker, inbound.client, own, short)).await,
        };
        journey.receipt = spent.map_err(|exceeded| {
            journey.exceeded = exceeded.standing.map(Box::new);
            exceeded.refusal
        })?;

        // look up what few routes need: whose a thing is, the key that the upstream is shown, the caller's teams
        let permit = journey.permit.insert(match &route.demand.owner {
            Some(demand) => Box::pin(self.owned(asker, demand, inbound)).await?,
            None => asker.permit(None)?,
        });
        if let (Some(injection), Some(known)) = (&route.inject_credential, &journey.known) {
            journey.provided = Some(Box::pin(self.directory.provided(&known.principal, injection)).await?);
        }
        if rules.upstream(permit).asks_for_groups {
            journey.groups = Box::pin(self.groups_of(journey.known.as_deref())).await?;
        }
        Ok(handshake.map_or(Admission::Forward, |handshake| Admission::Tunnel(Box::new(handshake))))
    }
}

#[async_trait]
impl ProxyHttp for Door {
    // Boxed: Pingora moves it from future to future.
    type CTX = Box<Journey>;

    fn new_ctx(&self) -> Box<Journey> {
        Box::new(Journey::begin(self.rules.load_full()))
    }

    /// None: Pingora's own is a compression that is off, and asked for every header and chunk all the same.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, journey: &mut Self::CTX) -> Result<bool> {
        if session.req_header().version == Version::HTTP_10 {
            // It knows no answers that only inform, and asks for none (RFC 9110 §15.2, §10.1.1).
            session.set_ignore_info_resp(true);
            session.req_header_mut().remove_header(&header::EXPECT);
        }
        let admission = panics::caught(self.admit(session, journey)).await;
        if matches!(admission, Ok(Admission::Answer(_)) | Err(_)) {
            journey.place = Some(self.own_answer());
        }
        if session.is_http2() {
            // On HTTP/1 the connection sees to that.
            session.set_write_timeout(Some(answer::longest_write(journey)));
        }
        if self.recorder.is_on() {
            journey.decided_now();
        }
        self.keep(session, journey);
        match admission {
            Ok(Admission::Forward) => {
                inject::forget_cases(session.req_header_mut());
                streams::watch_later(&self.streams, journey);
                Ok(false)
            }
            // Boxed, here and below, so that other requests do not carry room for it: its future is copied with theirs (10,000 instructions).
            Ok(Admission::Tunnel(handshake)) => {
                Box::pin(tunnel::open(self, session, journey, &handshake)).await.map(|()| true)
            }
            Ok(Admission::Answer(local)) => Box::pin(answer::give(session, &local, journey)).await.map(|()| true),
            Err(refusal) => {
                match navigation::to_sign_in(session.req_header(), journey, &refusal) {
                    Some(page) => Box::pin(answer::give(session, &page, journey)).await?,
                    None => Box::pin(answer::refuse(session, &refusal, journey)).await?,
                }
                journey.refusal = Some(refusal);
                Ok(true)
            }
        }
    }

    /// forward: pick a server.
    async fn upstream_peer(&self, session: &mut Session, journey: &mut Self::CTX) -> Result<Box<HttpPeer>> {
        // Another try begins with the session as it came, and must: whose authority Pingora checks (`AuthorityPolicy`) is decided after this and
        // before a guard is posted, and that of a guard's request it would not check.
        journey.relieve(session);
        panics::caught_in(|| journey.attempt())?
    }

    /// forward: strip, inject, sign.
    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        journey: &mut Self::CTX,
    ) -> Result<()> {
        // Most requests have no body, and are asked no more.
        let has_body = !session.is_body_done();
        if request.version == Version::HTTP_2 && request.remove_header(&header::EXPECT).is_some() && has_body {
            Box::pin(answer::go_on(session)).await?;
        }
        self.stand_by(session, journey, has_body);
        if let Some(attempt) = &mut journey.attempt {
            attempt.is_connected(request.version == Version::HTTP_2, !has_body);
        }
        panics::caught_in(|| inject::rewrite(request, journey, &self.minter, journey.now))??;
        // Whoever came together is sent together: a service that sleeps is woken once for them all (docs/performance.md).
        tokio::task::yield_now().await;
        Ok(())
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        journey: &mut Self::CTX,
    ) -> Result<()> {
        // Pingora #935: an empty last chunk from HTTP/2 would end the body twice.
        if end && body.as_ref().is_some_and(Bytes::is_empty) {
            *body = None;
        }
        // Of what is sent by HTTP/2 Pingora takes an error for the server's, and waits for its answer all the same, unless it is called the client's.
        journey.check_deadline().map_err(Error::into_down)?;
        let is_first = journey.count_body(body.as_ref().map_or(0, Bytes::len)).map_err(Error::into_down)?;
        streams::passed_on(session, journey, is_first, end).await;
        Ok(())
    }

    fn upstream_response_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        journey: &mut Self::CTX,
    ) -> Result<Option<Duration>> {
        cut::heard(end);
        drop(body.take_if(|_| journey.has_no_content));
        journey.check_deadline().map(|()| None)
    }

    /// respond: gRPC may say only here what an answer cost.
    fn upstream_response_trailer_filter(
        &self,
        _: &mut Session,
        trailers: &mut HeaderMap,
        journey: &mut Self::CTX,
    ) -> Result<()> {
        journey.metered = meter::merged(journey.metered.take(), meter::take(trailers));
        answer::check_trailers(trailers, journey.has_no_content);
        Ok(())
    }

    /// respond: security headers and the state of the limits.
    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        journey: &mut Self::CTX,
    ) -> Result<()>
    where
        Self::CTX: Send + Sync,
    {
        journey.metered = panics::caught_in(|| answer::check(response))?.map_err(|refusal| journey.fail(refusal))?;
        if response.status.is_informational() {
            answer::inform(response);
            if !session.is_body_done() {
                // It keeps the connection of a client that waits for this before it sends its body.
                journey.guard.get_or_insert_with(|| Guard::post(session, None, Pace::default()));
            }
            return journey.count_informational();
        }
        journey.has_no_content = matches!(response.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if let Some(attempt) = &mut journey.attempt {
            attempt.succeeded();
            attempt.has_begun();
        }
        let ends_by_closing =
            session.req_header().version == Version::HTTP_10 && !response.headers.contains_key(header::CONTENT_LENGTH);
        // That it has ended, though its client still sends, only a guard hears of an answer without a body.
        if ends_by_closing || !session.is_body_done() {
            journey.guard.get_or_insert_with(|| Guard::post(session, None, Pace::default()));
        }
        if streams::answers_long(session, response) {
            self.watch(session, journey);
        }
        panics::caught_in(|| answer::dress(response, journey.readers(session.req_header()), journey))
    }

    /// Nothing has been sent when a connection fails, so any method may be tried on the next server.
    fn fail_to_connect(
        &self,
        _: &mut Session,
        _: &HttpPeer,
        journey: &mut Self::CTX,
        mut error: Box<Error>,
    ) -> Box<Error> {
        let retry = journey.attempt_broke(&error, true, Break::Failure);
        error.set_retry(retry);
        error
    }

    /// Something has been sent: only what may be done twice (RFC 9110 §9.2.2), or what a server says it has not begun, is sent
    /// again, if its body is still at hand and nothing of an answer has been passed on. After a time-out it is not: who waited in vain once need not wait
    /// again, and a service that is too slow need not be asked twice.
    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        journey: &mut Self::CTX,
        reused: bool,
    ) -> Box<Error> {
        if cut::is_over() {
            let is_whole = session.as_mut().is_body_done();
            journey.over(is_whole);
            error.set_retry(false);
            return error;
        }
        // Who leaves a body unfinished is to blame, and not the server that waits for the rest of it.
        if *error.etype() == ErrorType::ReadTimedout && !session.as_mut().is_body_done() {
            error.set_retry(false);
            journey.refusal.get_or_insert(Refusal::RequestTimeout);
            return error;
        }
        let broke = Break::of(&error, reused);
        let is_closed = Failure::of(&error) == Some(Failure::Closed);
        let may_send_again = (broke == Break::Declined || (is_closed && session.req_header().method.is_idempotent()))
            && !answer::is_begun(session)
            && !session.as_ref().retry_buffer_truncated();
        let retry = journey.attempt_broke(&error, may_send_again, broke);
        error.set_retry(retry);
        error
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, journey: &mut Self::CTX) -> FailToProxy
    where
        Self::CTX: Send + Sync,
    {
        let answered = answer::is_begun(session);
        let ended = journey.relieve(session).or_else(cut::why);
        if answered {
            journey.ended = ended.as_ref().map(Refusal::code);
        }
        let refusal = ended.or_else(|| journey.refusal.take()).or_else(|| answer::refusal_of(error));
        // Pingora goes on with no connection after this, and the client has to know it (RFC 9112 §9.6).
        session.set_keepalive(None);
        let error_code = refusal.as_ref().map_or(0, Refusal::status);
        if let Some(refusal) = &refusal {
            let told = answer::end(session, refusal, answered, journey).await;
            let told = told.inspect_err(|gone| tracing::debug!(%gone, "the client left before it was told"));
            journey.is_told = told.is_ok() && !answered;
        }
        // What was ended after it had been answered was not refused.
        journey.refusal = refusal.filter(|_| journey.ended.is_none());
        FailToProxy { error_code, can_reuse_downstream: false }
    }

    /// Failures are in the access log and the metrics; Pingora need not tell them again.
    fn suppress_error_log(&self, _: &Session, _: &Self::CTX, error: &Error) -> bool {
        tracing::debug!(%error, "a request failed");
        true
    }

    /// record
    async fn logging(&self, session: &mut Session, error: Option<&Error>, journey: &mut Self::CTX)
    where
        Self::CTX: Send + Sync,
    {
        journey.relieve(session);
        let status = || session.response_written().map_or(0, |answer| answer.status.as_u16());
        let answered = || (status(), session.body_bytes_sent());
        let (status, sent) = journey.tunnel.map_or_else(answered, |carried| (101, carried.sent as usize));
        if let Some(error) = error {
            self.tell_of(error);
        }
        journey.record(status, sent, self);
        // Pingora drops a connection after a failure, and when a server of HTTP/2 has answered and takes no more of the body. Whoever is still
        // sending is listened to before, so that it hears what it was told.
        let ends_early =
            journey.is_told || (error.is_none() && journey.tunnel.is_none() && !session.as_mut().is_body_done());
        if ends_early && !session.is_http2() {
            session.downstream_session.shutdown().await;
        }
    }
}
