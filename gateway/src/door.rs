//! The door itself: everything a request meets on its way, put together once by [`crate::build`].

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use arc_swap::ArcSwap;
use identity::CookieNames;
use pingora::{
    Error, ErrorSource, ErrorType, connectors::TransportConnector, protocols::http::ServerSession, proxy::Session,
};
use policies::Refusal;
use prometheus::IntGauge;

use crate::{
    assertions::Minter,
    certified::Certified,
    connection::{Facts, gate::Address},
    directory::Directory,
    journey::Journey,
    limiter::Limiter,
    limits::AtOnce,
    metrics::{Metrics, Unheard},
    readiness::Readiness,
    record::Recorder,
    snapshot::Snapshot,
    streams::{Streams, cut},
    websocket::nominated,
};

/// The Pingora proxy; what it does with a request is in [`crate::proxy`].
pub(crate) struct Door {
    /// The configuration in force.
    pub(crate) rules: Arc<ArcSwap<Snapshot>>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) limiter: Arc<Limiter>,
    pub(crate) minter: Minter,
    pub(crate) streams: Arc<Streams>,
    /// Connects WebSockets; other requests go over Pingora's own connections.
    pub(crate) tunnels: TransportConnector,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) metrics: Metrics,
    pub(crate) readiness: Arc<Readiness>,
    /// Who the holders of client certificates are.
    pub(crate) certified: Certified,
    /// Requests at once; more would use up the file descriptors.
    pub(crate) most: AtOnce,
    /// May a developer on this machine say who is calling?
    pub(crate) dev_headers: bool,
    /// What session cookies are called.
    pub(crate) cookies: CookieNames,
    /// The port of the HTTPS listener.
    pub(crate) https: Option<u16>,
}

/// What a request is counted among until this is dropped.
pub(crate) enum Place {
    /// Those of its address.
    OfAddress(Arc<Address>),
    /// The door's own answers: there may be any number of them, since nobody waits long for their client.
    OwnAnswer(IntGauge),
}

// === impl Door ===

impl Door {
    /// Counts a request among those of its address, if there is room for one more, in all and there.
    pub(crate) fn place_for(&self, session: &ServerSession) -> Result<Option<Place>, Refusal> {
        let too_many = self.metrics.in_flight.get() - self.metrics.own_answers.get() > self.most.in_all;
        if too_many || self.readiness.short_of_memory.load(Ordering::Relaxed) {
            return Err(Refusal::Overloaded);
        }
        // Every connection of our listeners has its facts.
        let Some(facts) = Facts::of(session) else { return Ok(None) };
        let under_way = facts.address.request_begins();
        let place = Place::OfAddress(Arc::clone(&facts.address));
        if under_way > self.most.of_address {
            self.metrics.connections.had_most_requests_of_address.inc();
            return Err(Refusal::Overloaded);
        }
        Ok(Some(place))
    }

    /// Counts an answer of the door's own.
    pub(crate) fn own_answer(&self) -> Place {
        self.metrics.own_answers.inc();
        Place::OwnAnswer(self.metrics.own_answers.clone())
    }

    /// Says whether a connection of HTTP/1 is kept after this request, and for how long it may lie idle then.
    pub(crate) fn keep(&self, session: &mut Session, journey: &Journey) {
        if session.get_keepalive().is_none() {
            return;
        }
        let left = Facts::of(session).map_or(Duration::MAX, |facts| facts.left(journey.now));
        // Pingora reads the first line of `Connection` alone; all of them are one list (RFC 9110 §5.3).
        let says_close = || nominated(&session.req_header().headers).any(|name| name.eq_ignore_ascii_case(b"close"));
        let is_last = left.is_zero() || self.readiness.draining.load(Ordering::Relaxed) || says_close();
        // 0: for how long is not for Pingora to see to.
        session.set_keepalive((!is_last).then_some(0));
        cut::stay(journey.rules.keepalive.min(left));
    }

    /// Tells of what ended a request what nobody else tells. Who takes nothing of an answer on HTTP/1 is counted by the connection.
    pub(crate) fn tell_of(&self, error: &Error) {
        match (error.esource(), error.etype()) {
            (_, ErrorType::InternalError) => tracing::error!(?error, "an internal error"),
            (ErrorSource::Downstream, ErrorType::WriteTimedout) => {
                self.metrics.connections.unheard(Unheard::SlowReader);
            }
            _ => {}
        }
    }
}

// === impl Place ===

impl Drop for Place {
    fn drop(&mut self) {
        match self {
            Self::OfAddress(address) => address.request_ends(),
            Self::OwnAnswer(answers) => answers.dec(),
        }
    }
}
