//! WebSockets: a tunnel of our own, since Pingora's loses handshakes that a backend answers at once (its issue #946).
//!
//! After the permit: a connection of its own to the backend, the handshake, and only after a 101 that answers it the tunnel
//! ([`pump`]); any other answer is an answer like others. Nothing that the client sends before the 101 reaches the backend
//! before it. The tunnel ends with the caller's right to it ([`crate::streams`]), and so does that other answer.

mod frames;
mod pump;

use std::future::{Future, ready};

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header, request, response};
use pingora::{
    Error, ErrorType, Result,
    connectors::TransportConnector,
    http::{RequestHeader, ResponseHeader},
    protocols::{
        ALPN, Stream,
        http::{ServerSession, v1::client::HttpSession as Backend},
    },
    proxy::Session,
};
use policies::Refusal;

use self::{frames::Ending, pump::Pump};
use crate::{
    answer,
    door::Door,
    inject,
    journey::Journey,
    panics,
    streams::{self, Ended, cut, guard::Guard, pace::Pace},
    upstream::{Attempt, Break, Failure},
    usage::meter,
    websocket::{self, Handshake},
};

/// Informational answers before the real one.
const INTERIM_ANSWERS: usize = 8;

/// What a tunnel has carried.
#[derive(Clone, Copy)]
pub(crate) struct Carried {
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// How it was ended, if by us.
    pub(crate) ended: Option<&'static str>,
}

/// Answers a request for a WebSocket and, if the backend agrees, carries it to its end.
pub(crate) async fn open(
    door: &Door,
    session: &mut Session,
    journey: &mut Journey,
    handshake: &Handshake,
) -> Result<()> {
    let mut ended = streams::watch(&door.streams, journey, None);
    let request = outgoing(door, session, journey)?;
    let backend = tokio::select! {
        biased;
        why = streams::over(&mut ended) => Err(why),
        answered = ask(door, journey, request) => Ok(answered?),
        gone = left(session) => return Err(gone),
    };
    let backend = backend.map_err(|why| {
        if cut::is_over() {
            journey.over(true);
        }
        journey.fail(why)
    })?;
    let Some(answer) = backend.resp_header() else { return Err(journey.fail(Refusal::UpstreamInvalid)) };
    if answer.status != StatusCode::SWITCHING_PROTOCOLS {
        let relayed = relay(session, journey, backend, ended).await;
        if relayed.is_err() && cut::is_over() {
            journey.over(true);
        }
        return relayed;
    }
    if !handshake.is_accepted_by(&answer.headers) {
        return Err(journey.fail(Refusal::UpstreamInvalid));
    }
    let answer = response_with(answer, |headers| {
        journey.metered = meter::take(headers);
        handshake.answer(headers);
    });
    // A tunnel lasts for as long as it is used.
    cut::end_by(None);
    agree(session, journey, answer).await?;
    let idle = journey.route.as_ref().map_or(policies::route::WEBSOCKET_IDLE, |route| route.websocket_idle);
    let told = async { closing(&streams::told(&mut ended).await) };
    let carried = carry(session, backend, idle, told).await?;
    journey.ended = carried.ended;
    journey.tunnel = Some(carried);
    Ok(())
}

/// What a client hears when its stream is ended by us.
fn closing(why: &Refusal) -> Ending {
    let code = match why {
        Refusal::ShuttingDown => 1001,
        // Nothing is wrong with the credential: it may come back with it (1013, RFC 6455 §7.4.2 and its registry).
        why if why.status() >= 500 => 1013,
        _ => 4401,
    };
    Ending { code, reason: why.code() }
}

/// The request that leaves: what belongs to the client's connection removed first, so that nothing of ours can be named away.
fn outgoing(door: &Door, session: &Session, journey: &Journey) -> Result<RequestHeader> {
    let mut parts = request::Parts::from(session.req_header().clone());
    websocket::hop_by_hop(&mut parts.headers);
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.remove(header::EXPECT);
    let mut request = RequestHeader::from(parts);
    panics::caught_in(|| inject::rewrite(&mut request, journey, &door.minter, journey.now))??;
    let mut parts = request::Parts::from(request);
    Handshake::ask(&mut parts.headers);
    Ok(RequestHeader::from(parts))
}

/// Connects, asks, and reads the header of the answer; of another server if one hangs up, since nothing has been passed on by then and a
/// handshake is a GET.
async fn ask(door: &Door, journey: &mut Journey, request: RequestHeader) -> Result<Backend> {
    loop {
        let backend = connect(&door.tunnels, journey).await?;
        match ask_of(backend, journey, request.clone()).await {
            Ok(backend) => return Ok(backend),
            Err(error) => {
                let may_ask_again = Failure::of(&error) == Some(Failure::Closed);
                if !journey.attempt_broke(&error, may_ask_again, Break::Failure) {
                    return Err(error);
                }
            }
        }
    }
}

async fn ask_of(mut backend: Backend, journey: &mut Journey, request: RequestHeader) -> Result<Backend> {
    backend.write_request_header(Box::new(request)).await.map_err(Error::into_up)?;
    if let Some(attempt) = &mut journey.attempt {
        attempt.is_sent();
    }
    for _ in 0..=INTERIM_ANSWERS {
        backend.read_response().await.map_err(Error::into_up)?;
        let status = backend.resp_header().map(|answer| answer.status);
        if status.is_some_and(|status| !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS) {
            if let Some(attempt) = &mut journey.attempt {
                attempt.succeeded();
            }
            return Ok(backend);
        }
    }
    Err(journey.fail(Refusal::UpstreamInvalid))
}

/// A connection that nobody else uses, to the next server that takes one.
async fn connect(connector: &TransportConnector, journey: &mut Journey) -> Result<Backend> {
    loop {
        let mut peer = panics::caught_in(|| journey.attempt())??;
        // HTTP/2 has other WebSockets (RFC 8441), which nobody asks us for.
        peer.options.alpn = ALPN::H1;
        match connector.new_stream(&*peer).await.map_err(Error::into_up) {
            Ok(stream) => {
                let mut backend = Backend::new_with_options(stream, &*peer);
                backend.read_timeout = journey.attempt.as_ref().map(Attempt::longest_silence);
                backend.write_timeout = peer.options.write_timeout;
                return Ok(backend);
            }
            Err(error) if journey.attempt_broke(&error, true, Break::Failure) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Hands on an answer that agrees to nothing, with its body. From here on it is heard by a guard, as for any other stream, when it is
/// over.
async fn relay(session: &mut Session, journey: &mut Journey, mut backend: Backend, ended: Ended) -> Result<()> {
    if let Some(attempt) = &mut journey.attempt {
        attempt.has_begun();
    }
    if let Some(ticket) = &journey.ticket {
        ticket.cut_off_by(cut::handle());
    }
    journey.guard = Some(Guard::post(session, ended, Pace::default()));
    let Some(answer) = backend.resp_header() else { return Ok(()) };
    let mut answer = answer.clone();
    journey.metered = panics::caught_in(|| answer::check(&mut answer))?.map_err(|refusal| journey.fail(refusal))?;
    let has_body = !matches!(answer.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let mut answer = response_with(&answer, |headers| {
        websocket::hop_by_hop(headers);
        if has_body && !headers.contains_key(header::CONTENT_LENGTH) {
            headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
    });
    panics::caught_in(|| answer::dress(&mut answer, journey.readers(session.req_header()), journey))?;
    session.write_response_header(Box::new(answer), !has_body).await?;
    while has_body && let Some(bytes) = next_piece(session, &mut backend).await? {
        session.write_response_body(Some(bytes), false).await?;
    }
    session.write_response_body(None, true).await
}

/// The next piece of an answer's body, unless its client leaves or it is over.
async fn next_piece(session: &mut Session, backend: &mut Backend) -> Result<Option<Bytes>> {
    let piece = tokio::select! {
        biased;
        piece = backend.read_body_bytes() => piece.map_err(Error::into_up)?,
        gone = left(session) => return Err(gone),
    };
    cut::heard(piece.is_none());
    Ok(piece)
}

/// Waits until a client leaves that waits for its answer. What it sends before that its connection keeps to itself.
async fn left(session: &mut Session) -> Box<Error> {
    let left = session.downstream_session.read_body_or_idle(true).await;
    let gone = || Error::explain(ErrorType::ConnectionClosed, "the client has left");
    left.err().unwrap_or_else(gone).into_down()
}

/// Writes the 101.
async fn agree(session: &mut Session, journey: &Journey, mut answer: ResponseHeader) -> Result<()> {
    panics::caught_in(|| answer::dress(&mut answer, journey.readers(session.req_header()), journey))?;
    session.write_response_header(Box::new(answer), false).await
}

/// Takes both connections out of their sessions, with what they have read ahead, and carries bytes between them.
async fn carry(
    session: &mut Session,
    mut backend: Backend,
    idle: std::time::Duration,
    told: impl Future<Output = Ending>,
) -> Result<Carried> {
    let from_client = at_hand(session.downstream_session.read_request_body()).await;
    let from_server = at_hand(backend.read_body_bytes()).await;
    let client = take_stream(session)?;
    let mut pump = Pump::new((client, from_client), (backend.into_inner(), from_server));
    let ending = pump.run(idle, told).await;
    let carried = Carried { sent: pump.sent(), received: pump.received(), ended: ending.map(|ending| ending.reason) };
    // Pingora closes what it finds here.
    *session.downstream_session = ServerSession::new_http1(pump.client);
    Ok(carried)
}

/// What has been read already, if anything.
async fn at_hand(read: impl Future<Output = Result<Option<Bytes>>>) -> Bytes {
    tokio::select! {
        biased;
        read = read => read.ok().flatten().unwrap_or_default(),
        () = ready(()) => Bytes::new(),
    }
}

fn take_stream(session: &mut Session) -> Result<Stream> {
    let nobody = ServerSession::new_custom(Box::new(()));
    match std::mem::replace(&mut *session.downstream_session, nobody) {
        ServerSession::H1(http1) => Ok(http1.into_inner()),
        other => {
            *session.downstream_session = other;
            Err(Error::explain(ErrorType::InternalError, "only HTTP/1.1 becomes a WebSocket"))
        }
    }
}

/// A copy of an answer with its headers changed.
fn response_with(answer: &ResponseHeader, change: impl FnOnce(&mut http::HeaderMap)) -> ResponseHeader {
    let mut parts = response::Parts::from(answer.clone());
    change(&mut parts.headers);
    parts.version = http::Version::HTTP_11;
    ResponseHeader::from(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_lost_a_stream_by_no_fault_of_theirs_is_not_sent_to_log_in() {
        for (why, code) in [
            (Refusal::Revoked, 4401),
            (Refusal::Expired, 4401),
            (Refusal::ShuttingDown, 1001),
            (Refusal::DirectoryUnavailable, 1013),
            (Refusal::IntegrationUnreadable { service: "openai".into() }, 1013),
            (Refusal::Internal, 1013),
        ] {
            assert_eq!((closing(&why).code, closing(&why).reason), (code, why.code()));
        }
    }
}
