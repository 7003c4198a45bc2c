//! A client's session that hears when its stream is over.
//!
//! Pingora waits on the session for the client to say or take something, mostly to no purpose. Put in its place while a
//! stream lasts, this one waits for the end as well, and reports it as if the client had gone: Pingora then resets the
//! request to the backend and takes its way for failed requests, where the session is put back and the client can be told
//! what happened. So an end needs no bytes to flow, and requests that do not last pay nothing for it.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::Stream;
use http::{HeaderMap, Version, header};
use parking_lot::Mutex;
use pingora::{
    Error, ErrorType, Result,
    http::{RequestHeader, ResponseHeader},
    protocols::{
        Digest,
        http::{
            HttpTask, ServerSession,
            custom::{CustomMessageWrite, server::Session as CustomSession},
        },
        l4::socket::SocketAddr,
    },
    proxy::Session,
};
use policies::Refusal;

use super::{Ended, cut, over, pace::Pace};
use crate::journey::Journey;

/// What a journey keeps of the session that stands guard.
#[derive(Clone, Default)]
pub(crate) struct Guard(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// The client's own session, once it is given back.
    back: Mutex<Option<ServerSession>>,
    why: OnceLock<Refusal>,
}

/// The session that stands guard.
struct Guarded {
    inner: ServerSession,
    ended: Ended,
    pace: Pace,
    /// Has the body ended? To HTTP/2 it has not while there are trailers, which nobody reads.
    body_ended: bool,
    shared: Arc<Shared>,
}

// === impl Guard ===

impl Guard {
    /// Puts a guard before the client's session, whose body has to come at this pace.
    pub(crate) fn post(session: &mut Session, ended: Ended, pace: Pace) -> Self {
        let guard = Self::default();
        let inner = std::mem::replace(&mut *session.downstream_session, nobody());
        let guarded = Guarded { inner, ended, pace, body_ended: false, shared: Arc::clone(&guard.0) };
        *session.downstream_session = ServerSession::new_custom(Box::new(guarded));
        cut::entrust(Some(guard.clone()));
        guard
    }

    /// Puts the client's session back in its place. Says why the stream was ended, if it was.
    pub(crate) fn relieve(self, session: &mut Session) -> Option<Refusal> {
        // The guard gives it back as it is dropped.
        *session.downstream_session = nobody();
        cut::entrust(None);
        if let Some(inner) = self.given_back() {
            *session.downstream_session = inner;
        }
        self.0.why.get().cloned()
    }

    /// The client's own session, after the one that stood guard has been dropped.
    pub(super) fn given_back(&self) -> Option<ServerSession> {
        self.0.back.lock().take()
    }
}

/// A piece of the client's body is passed on.
pub(crate) async fn passed_on(session: &mut Session, journey: &mut Journey, is_first: bool, end: bool) {
    if let Some(attempt) = &mut journey.attempt {
        if end { attempt.is_sent() } else { attempt.is_sending() }
    }
    if !end && journey.guard.is_none() {
        // There will be more, its server may get stuck, and then nobody else hears that it is over.
        journey.guard = Some(Guard::post(session, None, Pace::default()));
    }
    if end && !is_first {
        // Pingora's pipe has room for a few pieces, and while it is full nobody listens to the client. So the server takes them first.
        tokio::task::yield_now().await;
    }
}

/// No session at all; costs nothing.
fn nobody() -> ServerSession {
    ServerSession::new_custom(Box::new(()))
}

// === impl Guarded ===

impl Drop for Guarded {
    fn drop(&mut self) {
        self.pace.pause();
        *self.shared.back.lock() = Some(std::mem::replace(&mut self.inner, nobody()));
    }
}

impl Guarded {
    #[expect(clippy::unnecessary_box_returns, reason = "Pingora's errors are boxed")]
    fn end(&self, why: Refusal) -> Box<Error> {
        let error = Error::explain(ErrorType::HTTPStatus(why.status()), why.code());
        // The first reason is the reason.
        let _ = self.shared.why.set(why);
        error.into_down()
    }

    fn wait_for_body(&mut self) {
        if self.pace.is_set() && !self.inner.is_body_done() {
            self.pace.wait();
        }
    }

    fn came(&mut self, read: Result<Option<Bytes>>) -> Result<Option<Bytes>> {
        if let Ok(piece) = &read {
            self.body_ended |= piece.is_none();
            self.pace.came(piece.as_ref().map_or(0, Bytes::len));
        }
        read
    }

    fn check(&self) -> Result<()> {
        self.shared.why.get().map_or(Ok(()), |why| Err(self.end(why.clone())))
    }
}

/// HTTP/1.0 knows no chunks (RFC 9112 §6.1), which Pingora announces after every filter. Were there to be any? Then the end of the connection
/// is the end of the body.
fn without_chunks(task: &mut HttpTask) -> bool {
    let HttpTask::Header(header, _) = task else { return false };
    header.remove_header(&header::TRANSFER_ENCODING).is_some()
}

fn informs(task: &HttpTask) -> bool {
    matches!(task, HttpTask::Header(header, _) if header.status.is_informational())
}

/// Awaits one thing that the inner session does, or the end.
macro_rules! unless_ended {
    ($guarded:ident, $does:expr) => {{
        $guarded.check()?;
        tokio::select! {
            biased;
            why = over(&mut $guarded.ended) => Err($guarded.end(why)),
            done = $does => done,
        }
    }};
}

#[async_trait]
impl CustomSession for Guarded {
    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        self.wait_for_body();
        let read = unless_ended!(self, self.inner.read_request_body());
        self.came(read)
    }

    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        cut::await_client();
        if !no_body_expected {
            self.wait_for_body();
        }
        let read = unless_ended!(self, self.inner.read_body_or_idle(no_body_expected));
        self.came(read)
    }

    async fn response_duplex_vec(&mut self, mut tasks: Vec<HttpTask>) -> Result<bool> {
        // Not every answer ends with a piece of its body: there are heads without one, and trailers.
        if tasks.last().is_some_and(HttpTask::is_end) {
            cut::heard(true);
        } else {
            cut::excuse();
        }
        self.pace.pause();
        if self.inner.req_header().version == Version::HTTP_10 && tasks.iter_mut().any(without_chunks) {
            self.inner.set_keepalive(None);
        }
        // Pingora takes what only informs for an answer before whose end the whole request had not come, after which a connection ends.
        let keepalive = tasks.iter().all(informs).then(|| self.inner.get_keepalive());
        let written = unless_ended!(self, self.inner.response_duplex_vec(tasks));
        if let Some(keepalive) = keepalive {
            self.inner.set_keepalive(keepalive);
        }
        written
    }

    async fn write_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        self.pace.pause();
        unless_ended!(self, self.inner.write_response_body(data, end))
    }

    // From here on it does as the inner session does.

    fn req_header(&self) -> &RequestHeader {
        self.inner.req_header()
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        self.inner.req_header_mut()
    }

    async fn drain_request_body(&mut self) -> Result<()> {
        self.inner.drain_request_body().await
    }

    async fn write_response_header(&mut self, header: Box<ResponseHeader>, _end: bool) -> Result<()> {
        self.inner.write_response_header(header).await
    }

    async fn write_response_header_ref(&mut self, header: &ResponseHeader, _end: bool) -> Result<()> {
        self.inner.write_response_header_ref(header).await
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        self.inner.write_response_trailers(trailers).await
    }

    fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        self.inner.set_read_timeout(timeout);
    }

    fn get_read_timeout(&self) -> Option<Duration> {
        self.inner.get_read_timeout()
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.inner.set_write_timeout(timeout);
    }

    fn get_write_timeout(&self) -> Option<Duration> {
        self.inner.get_write_timeout()
    }

    fn set_total_drain_timeout(&mut self, timeout: Option<Duration>) {
        self.inner.set_total_drain_timeout(timeout);
    }

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        self.inner.get_total_drain_timeout()
    }

    fn request_summary(&self) -> String {
        self.inner.request_summary()
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        self.inner.response_written()
    }

    async fn shutdown(&mut self, _code: u32, _context: &str) {
        self.inner.shutdown().await;
    }

    fn is_body_done(&mut self) -> bool {
        self.body_ended || self.inner.is_body_done()
    }

    async fn finish(&mut self) -> Result<()> {
        self.inner.finish_body().await
    }

    fn is_body_empty(&mut self) -> bool {
        self.inner.is_body_empty()
    }

    fn body_bytes_sent(&self) -> usize {
        self.inner.body_bytes_sent()
    }

    fn body_bytes_read(&self) -> usize {
        self.inner.body_bytes_read()
    }

    fn digest(&self) -> Option<&Digest> {
        self.inner.digest()
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        self.inner.digest_mut()
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        self.inner.client_addr()
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        self.inner.server_addr()
    }

    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        self.inner.to_h1_raw()
    }

    fn enable_retry_buffering(&mut self) {
        self.inner.enable_retry_buffering();
    }

    fn retry_buffer_truncated(&self) -> bool {
        self.inner.retry_buffer_truncated()
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        self.inner.get_retry_buffer()
    }

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    fn is_upgrade_req(&self) -> bool {
        self.inner.is_upgrade_req()
    }

    fn was_upgraded(&self) -> bool {
        self.inner.was_upgraded()
    }

    // There are no messages beside HTTP's own.

    fn take_custom_message_reader(
        &mut self,
    ) -> Option<Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>> {
        None
    }

    fn restore_custom_message_reader(
        &mut self,
        _reader: Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>,
    ) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        None
    }

    fn restore_custom_message_writer(&mut self, _writer: Box<dyn CustomMessageWrite>) -> Result<()> {
        Ok(())
    }
}
