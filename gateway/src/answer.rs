//! What the door answers by itself: refusals as `application/problem+json` (RFC 9457) or as a page, preflights, probes; and the fields
//! that every answer carries, whoever wrote it.

mod preflight;

use std::{borrow::Cow, iter, sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header, response::Parts};
use pingora::{
    Error, ErrorSource, ErrorType, Result,
    http::{RequestHeader, ResponseHeader},
    protocols::http::{HttpTask, ServerSession},
    proxy::Session,
};
use policies::{Cors, Problem, Refusal, Route, ratelimit_fields, ratelimit_fields::Reading};

pub(crate) use self::preflight::Preflight;
use crate::{
    connection::{Facts, fault},
    cookies,
    door::Place,
    fields::Fields,
    grpc,
    inbound::Inbound,
    journey::Journey,
    limiter::Standing,
    navigation, panics,
    upstream::Failure,
    usage::meter::{self, Metered},
    websocket::{is_of_connection, of_connection},
};

/// How long a client of HTTP/2 may have no room for an answer of ours, which is small: an upstream's it may have asked for in plenty.
const OWN_ANSWER: Duration = Duration::from_secs(5);

/// An answer that needs no upstream.
pub(crate) struct LocalAnswer {
    status: u16,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
}

/// Which foreign pages may read an answer, and which one asks.
pub(crate) struct Readers<'a> {
    pub(crate) cors: &'a Cors,
    pub(crate) origin: Option<&'a str>,
}

// === impl LocalAnswer ===

impl LocalAnswer {
    pub(crate) fn json(status: u16, body: &serde_json::Value) -> Self {
        let headers = vec![
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ];
        Self { status, headers, body: body.to_string().into() }
    }

    /// The answer to a CORS preflight, given before authentication since browsers send it without credentials.
    pub(crate) fn preflight(route: &Route, preflight: &Preflight<'_>) -> Result<Option<Self>, Refusal> {
        let Some(cors) = &route.cors else { return Ok(None) };
        let fields = cors.preflight(preflight.origin, preflight.method, preflight.headers)?;
        Ok(Some(Self { status: 204, headers: own(fields), body: Bytes::new() }))
    }

    /// Sends the client to the same place, whose host is known, by TLS (308, RFC 9110 §15.4.9: the method stays).
    pub(crate) fn redirect_to_https(request: &RequestHeader, inbound: &Inbound, port: u16) -> Result<Self, Refusal> {
        let port = if port == 443 { String::new() } else { format!(":{port}") };
        let query = request.uri.query().map_or_else(String::new, |query| format!("?{query}"));
        let to = format!("https://{}{port}{}{query}", inbound.host, inbound.path);
        let to = HeaderValue::try_from(to).map_err(|_| Refusal::Malformed("the target cannot be repeated"))?;
        Ok(Self { status: 308, headers: vec![(header::LOCATION, to)], body: Bytes::new() })
    }

    /// Sends a browser to another page, whatever it has sent here (RFC 9110 §15.4.4).
    pub(crate) fn see_other(to: HeaderValue) -> Self {
        let headers = vec![
            (header::LOCATION, to),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
            (header::VARY, HeaderValue::from_static("accept, cookie, sec-fetch-mode")),
        ];
        Self { status: 303, headers, body: Bytes::new() }
    }

    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    pub(crate) fn body(&self) -> &Bytes {
        &self.body
    }
}

/// Writes an answer of our own.
pub(crate) async fn give(session: &mut Session, answer: &LocalAnswer, journey: &Journey) -> Result<()> {
    let mut response = ResponseHeader::build(answer.status, Some(8))?;
    for (name, value) in &answer.headers {
        response.insert_header(name, value)?;
    }
    // Who may read it is said in a preflight's own answer already, and a probe is for no page.
    dress(&mut response, None, journey);
    send(session, response, answer.body.clone()).await
}

/// Writes a refusal. Pingora closes the connection itself when a body was left unread, so that what remains of it is
/// never taken for the next request (SECURITY §3, CVE-2025-4366).
pub(crate) async fn refuse(session: &mut ServerSession, refusal: &Refusal, journey: &Journey) -> Result<()> {
    if matches!(refusal, Refusal::Malformed(_)) {
        // Who cannot be read once is not read again (RFC 9112 §9.3: what follows may be anything).
        session.set_keepalive(None);
    }
    if grpc::is_call(session.req_header()) {
        return grpc::refuse(session, refusal, journey).await;
    }
    let (response, body) = refused(session.req_header(), refusal, journey)?;
    send(session, response, body).await
}

/// The answer that a refusal is, and its body.
fn refused(request: &RequestHeader, refusal: &Refusal, journey: &Journey) -> Result<(ResponseHeader, Bytes)> {
    let problem = Problem { request_id: journey.request_id().map(str::to_owned), ..Problem::from(refusal) };
    let mut response = ResponseHeader::build(refusal.status(), Some(12))?;
    let body = navigation::write(&problem, request, journey, &mut response)?;
    response.insert_header(header::CACHE_CONTROL, "no-store")?;
    if let Some(challenge) = challenge(refusal) {
        response.insert_header(header::WWW_AUTHENTICATE, &*challenge)?;
    }
    if let Refusal::MethodNotAllowed { allow } = refusal {
        response.insert_header(header::ALLOW, allow.to_string())?;
    }
    if *refusal == Refusal::WebSocketVersion {
        // RFC 9110 §15.5.22, RFC 6455 §4.4.
        response.insert_header(header::UPGRADE, "websocket")?;
        response.insert_header(header::SEC_WEBSOCKET_VERSION, "13")?;
    }
    if let Some(seconds) = refusal.retry_after() {
        response.insert_header(header::RETRY_AFTER, seconds.to_string())?;
    }
    dress(&mut response, journey.readers(request), journey);
    Ok((response, body))
}

/// Tells the client of a failure, if it can still be told: nothing may follow an answer that `has_begun`, but the trailers of
/// a gRPC call.
pub(crate) async fn end(session: &mut Session, refusal: &Refusal, has_begun: bool, journey: &Journey) -> Result<()> {
    if !has_begun {
        refuse(session, refusal, journey).await
    } else if grpc::is_call(session.req_header()) {
        grpc::end(session, refusal).await
    } else {
        Ok(())
    }
}

/// How long a client may take nothing of its answer.
pub(crate) fn longest_write(journey: &Journey) -> Duration {
    let longest = if matches!(journey.place, Some(Place::OwnAnswer(_))) { OWN_ANSWER } else { Duration::MAX };
    journey.rules.write_timeout.min(longest)
}

/// Has the answer begun? What only informs comes before it.
pub(crate) fn is_begun(session: &ServerSession) -> bool {
    // Once Pingora has made a 101 it takes no other answer, and panics at its body.
    session.was_upgraded()
        || session.response_written().is_some_and(|answer| !answer.status.is_informational())
        || Facts::of(session).is_some_and(|facts| facts.has_begun.load(Ordering::Relaxed))
}

/// Lets a client send its body that waits for leave to (RFC 9110 §10.1.1): what a server of HTTP/2 says of it gets no further than Pingora.
/// A client of HTTP/2 is told nothing before the answer.
pub(crate) async fn go_on(session: &mut Session) -> Result<()> {
    if session.response_written().is_some() {
        // It has been told before an earlier try.
        return Ok(());
    }
    let keepalive = session.get_keepalive();
    session.downstream_session.write_continue_response().await.map_err(Error::into_down)?;
    // Pingora takes it for an answer before whose end the whole request had not come, after which a connection ends.
    session.set_keepalive(keepalive);
    Ok(())
}

async fn send(session: &mut ServerSession, mut response: ResponseHeader, body: Bytes) -> Result<()> {
    // RFC 9110 §8.6: none beside a 204.
    if response.status != 204 {
        response.insert_header(header::CONTENT_LENGTH, body.len().to_string())?;
    }
    let without_body = session.req_header().method == Method::HEAD || body.is_empty();
    // Only as a task can a header be the last of a stream.
    let head = HttpTask::Header(Box::new(response), without_body);
    let body = (!without_body).then_some(HttpTask::Body(Some(body), true));
    session.response_duplex_vec(iter::once(head).chain(body).collect()).await.map(drop)
}

/// Leaves to an answer that only informs what it is for: the links of a 103 (RFC 8297), and nothing of the others. What it says beside
/// them would pass by all that an answer is freed of: cookies of ours, other origins, the software.
pub(crate) fn inform(response: &mut ResponseHeader) {
    let hints = response.status == 103;
    let dropped = response.headers.keys().filter(|name| !(hints && **name == header::LINK));
    for name in dropped.cloned().collect::<Vec<_>>() {
        response.remove_header(&name);
    }
}

/// What every answer carries: the request's id, the state of the tightest limit, and the security headers, and what a page
/// of another origin may read. What an upstream says of our limits or of its software is replaced.
///
/// Names lose their case here, as they do on the way to the upstream (see [`crate::inject::rewrite`]).
pub(crate) fn dress(response: &mut ResponseHeader, readers: Option<Readers<'_>>, journey: &Journey) {
    let empty = ResponseHeader::from(http::Response::new(()).into_parts().0);
    let mut parts = Parts::from(std::mem::replace(response, empty));
    let headers = &mut parts.headers;
    headers.reserve(16);
    if !journey.is_for_office() {
        cookies::keep_to_ourselves(headers);
    }
    journey.rules.browser.tell(headers, journey.is_secure());
    let mut fields = Fields::with_capacity(192);
    if let Some(id) = journey.request_id() {
        fields.text(X_REQUEST_ID, id);
    }
    match journey.standing() {
        Some(standing) => tell(&mut fields, standing),
        None => [RATELIMIT_POLICY, RATELIMIT, X_RATELIMIT_LIMIT, X_RATELIMIT_REMAINING, X_RATELIMIT_RESET]
            .iter()
            .for_each(|name| drop(headers.remove(name))),
    }
    fields.set(headers);
    if let Some(readers) = readers {
        readers.allow(headers);
    }
    *response = ResponseHeader::from(parts);
}

const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const X_RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const X_RATELIMIT_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The state of a limit, in the words of the draft and in those of older clients.
fn tell(fields: &mut Fields, standing: &Standing) {
    let reading =
        Reading { name: &standing.name, quota: standing.quota, remaining: standing.remaining, reset: standing.reset };
    fields.written(RATELIMIT_POLICY, |out| ratelimit_fields::write_policy(out, [&reading]));
    fields.written(RATELIMIT, |out| ratelimit_fields::write_ratelimit(out, [&reading]));
    if let Some(plain) = ratelimit_fields::plain([&reading]) {
        fields.number(X_RATELIMIT_LIMIT, plain.limit);
        fields.number(X_RATELIMIT_REMAINING, plain.remaining);
        fields.number(X_RATELIMIT_RESET, plain.reset);
    }
}

impl Readers<'_> {
    /// Lets a page of an allowed origin read the answer.
    fn allow(&self, headers: &mut HeaderMap) {
        for name in FOREIGN {
            headers.remove(name);
        }
        for (name, value) in own(self.cors.response_fields(self.origin)) {
            headers.append(name, value);
        }
    }
}

/// What an upstream says of origins counts for nothing where the door has rules of its own.
const FOREIGN: [&str; 4] = [
    "access-control-allow-origin",
    "access-control-allow-credentials",
    "access-control-expose-headers",
    "access-control-allow-headers",
];

fn own<'a>(fields: impl Iterator<Item = (&'static str, &'a str)>) -> Vec<(HeaderName, HeaderValue)> {
    fields
        .filter_map(|(name, value)| Some((HeaderName::from_static(name), HeaderValue::try_from(value).ok()?)))
        .collect()
}

/// Refuses an answer that two clients could read in two ways, or that agrees to what nobody asked for; takes away what is
/// said of the upstream's connection, and our own word to it, which is nobody else's.
///
/// What it says of usage is taken out too, whoever asked, and returned.
pub(crate) fn check(response: &mut ResponseHeader) -> Result<Option<Box<Metered>>, Refusal> {
    let headers = &response.headers;
    panics::rehearse("respond", headers);
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let is_chunked = codings.next().map(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let has_length = lengths.next().map(|length| length.as_bytes().iter().all(u8::is_ascii_digit));
    let is_framed = match (is_chunked, has_length) {
        (Some(is_chunked), None) => is_chunked && response.version != Version::HTTP_10,
        (None, is_number) => is_number.unwrap_or(true),
        (Some(_), Some(_)) => false,
    };
    if !is_framed || codings.next().is_some() || lengths.next().is_some() || response.status == 101 {
        return Err(Refusal::UpstreamInvalid);
    }
    if response.version == Version::HTTP_10 {
        response.set_version(Version::HTTP_11);
    }
    if response.status == 204 {
        // RFC 9110 §8.6, RFC 9112 §6.1.
        response.remove_header(&header::CONTENT_LENGTH);
        response.remove_header(&header::TRANSFER_ENCODING);
    }
    response.remove_header(&ASSERTION);
    let (mut bytes, mut of_connection, mut of_usage) = (0, false, false);
    for (name, value) in &response.headers {
        bytes += name.as_str().len() + value.len();
        of_connection |= is_of_connection(name);
        of_usage |= meter::is_usage(name);
    }
    if bytes > MOST_HEADER_BYTES {
        return Err(Refusal::UpstreamInvalid);
    }
    if of_connection {
        connection_fields(response);
    }
    Ok(if of_usage { metered(response) } else { None })
}

/// Removes from trailers what would pass by the checks of a head: our own word to the upstream, and cookies. And all of them, of an answer
/// that ends with its head.
pub(crate) fn check_trailers(trailers: &mut HeaderMap, has_no_content: bool) {
    if has_no_content {
        trailers.clear();
    }
    trailers.remove(&ASSERTION);
    trailers.remove(header::SET_COOKIE);
}

/// Out of line: hardly any answer has such fields.
#[cold]
fn metered(response: &mut ResponseHeader) -> Option<Box<Metered>> {
    let metered = meter::read(&response.headers);
    for name in meter::names(&response.headers) {
        response.remove_header(&name);
    }
    metered
}

/// Names and values of an answer's fields. Servers of HTTP/2 can send as many as there is memory for; few clients take more.
const MOST_HEADER_BYTES: usize = 128 * 1024;

pub(crate) const ASSERTION: HeaderName = HeaderName::from_static("x-gateway-assertion");

/// Removes what `Connection` names and what else belongs to one connection (RFC 9110 §7.6.1), but for how the body is framed.
fn connection_fields(response: &mut ResponseHeader) {
    for name in of_connection(&response.headers) {
        if name != header::TRANSFER_ENCODING && name != header::CONTENT_LENGTH {
            response.remove_header(&name);
        }
    }
}

/// What went wrong between us and the upstream, if it was not the client who left.
pub(crate) fn refusal_of(error: &Error) -> Option<Refusal> {
    if let Some(refusal) = fault::refusal_of(error.root_cause()) {
        return Some(refusal);
    }
    match (error.esource(), error.etype()) {
        (
            ErrorSource::Downstream,
            ErrorType::ReadTimedout
            | ErrorType::WriteTimedout
            | ErrorType::ReadError
            | ErrorType::WriteError
            | ErrorType::ConnectionClosed
            | ErrorType::H2Error,
        ) => None,
        (ErrorSource::Downstream, _) => Some(Refusal::Malformed("the request cannot be read")),
        (_, ErrorType::HTTPStatus(400)) => Some(Refusal::Malformed("the request cannot be forwarded as it is")),
        (ErrorSource::Upstream, _) => Some(match Failure::of(error) {
            Some(Failure::Timeout) => Refusal::UpstreamTimeout,
            // Without a failure of its own: we could not even try.
            Some(Failure::Connect) | None => Refusal::UpstreamConnect,
            Some(Failure::Closed) => Refusal::UpstreamClosed,
            Some(Failure::Invalid) => Refusal::UpstreamInvalid,
        }),
        (ErrorSource::Internal | ErrorSource::Unset, _) => Some(Refusal::Internal),
    }
}

/// RFC 6750 §3: no error code when no credential was shown.
fn challenge(refusal: &Refusal) -> Option<Cow<'static, str>> {
    match (refusal.status(), refusal) {
        (401, Refusal::MissingCredential(_)) => Some("Bearer realm=\"portcullis\"".into()),
        (401, Refusal::InsufficientAuthentication(wanted)) => Some(wanted.challenge("portcullis").into()),
        (401, _) => Some("Bearer realm=\"portcullis\", error=\"invalid_token\"".into()),
        _ => None,
    }
}
