//! One request at one server, and what its outcome tells of the server and of the pool.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use pingora::{Error, ErrorSource, ErrorType, RetryType};

use super::{Upstream, circuit::Turn, now, scout::Errand, server::Server};
use crate::streams::cut;

/// One request at one server, counted there until it is dropped. Whoever holds it says how it went; if nobody does (the
/// client left), it counts neither way.
pub(crate) struct Attempt {
    pub(super) upstream: Arc<Upstream>,
    pub(super) server: Arc<Server>,
    /// Does the circuit wait to hear of it?
    pub(super) probe: Option<Errand>,
    /// Does the server's return wait to hear of it?
    pub(super) trial: Option<Errand>,
    pub(super) told: bool,
    /// Of the connections of HTTP/2 that it may share.
    pub(super) generation: u64,
    /// The same, once it has been given one of them.
    pub(super) shares: Option<u64>,
    /// When the whole request must be over.
    pub(super) deadline: Option<Instant>,
    pub(super) patience: Patience,
}

/// How long a server may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Patience {
    /// For a connection.
    pub(super) connect: Duration,
    /// From the request's last byte to the last byte of the answer's head.
    pub(super) head: Duration,
    /// Between two pieces of the answer.
    pub(super) silence: Duration,
}

/// What a broken attempt says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Break {
    /// The server has failed.
    Failure,
    /// The connection had been closed while it lay idle, which is nobody's fault.
    Stale,
    /// A server of HTTP/2 says that it has done nothing with the request and will not (RFC 9113 §6.8, §8.7), or, where HTTP/1.1 is spoken too,
    /// that it has to be asked by that (§7).
    Declined,
}

/// How an attempt failed through the server's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No connection.
    Connect,
    /// Silence.
    Timeout,
    /// The connection ended before the answer did.
    Closed,
    /// Not HTTP.
    Invalid,
}

// === impl Attempt ===

impl Attempt {
    /// The server's address, as the log calls it.
    pub(crate) fn server(&self) -> &Arc<str> {
        &self.server.name
    }

    /// Is the time for the whole request over? Asked for every chunk.
    pub(crate) fn is_overdue(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// The longest that a server may be silent.
    pub(crate) fn longest_silence(&self) -> Duration {
        self.patience.head.max(self.patience.silence)
    }

    /// There is a connection, though its client may owe the body. Over one of HTTP/2 others may go too, and no end of a body is told of when
    /// there is none.
    pub(crate) fn is_connected(&mut self, is_shared: bool, has_no_body: bool) {
        self.stay(Duration::ZERO);
        if is_shared {
            self.shares = Some(self.generation);
            if has_no_body {
                self.is_sent();
            }
        }
    }

    /// Some of the body has been passed on, and must be taken.
    pub(crate) fn is_sending(&self) {
        cut::take_by(Instant::now() + self.patience.silence);
    }

    /// The request has been sent, so the head of the answer must come, all of it.
    pub(crate) fn is_sent(&mut self) {
        cut::answer_by(Instant::now() + self.patience.head);
        self.stay(self.patience.head);
    }

    /// If it is to find out whether its server is back, nobody else does for so long.
    pub(super) fn stay(&mut self, time_out: Duration) {
        if let Some(errand) = &mut self.trial {
            self.server.vitals.stay(errand, time_out);
        }
        if let Some(errand) = &mut self.probe {
            self.upstream.circuit.stay(errand, now(), time_out);
        }
    }

    /// The head of the answer has come.
    pub(crate) fn has_begun(&self) {
        cut::answer_begun(self.patience.silence);
    }

    /// The server has answered, whatever it said.
    pub(crate) fn succeeded(&mut self) {
        if std::mem::replace(&mut self.told, true) {
            return;
        }
        if self.server.vitals.succeeded() {
            tracing::info!(upstream = &*self.upstream.name, server = &*self.server.name, "a server is back");
            self.upstream.count_well();
        }
        self.turned(self.upstream.circuit.succeeded());
    }

    /// The server has failed the request.
    pub(crate) fn failed(&mut self, failure: Failure) {
        if std::mem::replace(&mut self.told, true) {
            return;
        }
        let upstream = &self.upstream;
        upstream.metrics.failed(failure);
        if failure == Failure::Timeout
            && let Some(generation) = self.shares
        {
            self.server.vitals.give_up(generation);
        }
        let trial = self.trial.as_ref().is_some_and(|errand| self.server.vitals.is_trial(errand));
        if trial || self.server.vitals.failed(upstream.settings.ejection) {
            upstream.eject(&self.server, trial);
            upstream.count_well();
        }
        self.turned(upstream.circuit.failed(self.probe.as_ref(), upstream.settings.circuit, now));
    }

    fn turned(&self, turn: Turn) {
        let upstream = &self.upstream;
        match turn {
            Turn::Opened => {
                upstream.metrics.circuit_opened.inc();
                upstream.metrics.circuit_open.set(1);
                tracing::warn!(upstream = &*upstream.name, "an upstream keeps failing and is left alone for a while");
            }
            Turn::Closed => {
                upstream.metrics.circuit_open.set(0);
                tracing::info!(upstream = &*upstream.name, "an upstream answers again");
            }
            Turn::None => {}
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.server.vitals.leave();
        if self.told {
            return;
        }
        if let Some(errand) = &self.trial {
            self.server.vitals.give_back(errand);
        }
        if let Some(errand) = &self.probe {
            self.upstream.circuit.give_back(errand);
        }
    }
}

// === impl Break ===

impl Break {
    /// What an error says that ended an attempt on a connection that may be `reused`.
    pub(crate) fn of(error: &Error, reused: bool) -> Self {
        match error.retry {
            RetryType::ReusedOnly if reused => Self::Stale,
            RetryType::Decided(true) if matches!(error.etype(), ErrorType::H2Error | ErrorType::H2Downgrade) => {
                Self::Declined
            }
            _ => Self::Failure,
        }
    }
}

// === impl Failure ===

impl Failure {
    /// What an error says of the server; `None` where the fault is the client's or our own.
    pub(crate) fn of(error: &Error) -> Option<Self> {
        if *error.esource() != ErrorSource::Upstream {
            return None;
        }
        match error.etype() {
            ErrorType::ConnectTimedout
            | ErrorType::ReadTimedout
            | ErrorType::WriteTimedout
            | ErrorType::TLSHandshakeTimedout => Some(Self::Timeout),
            ErrorType::ConnectRefused
            | ErrorType::ConnectNoRoute
            | ErrorType::ConnectError
            | ErrorType::ConnectProxyFailure
            | ErrorType::TLSHandshakeFailure
            | ErrorType::InvalidCert
            | ErrorType::HandshakeError => Some(Self::Connect),
            ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError | ErrorType::H2Error => {
                Some(Self::Closed)
            }
            // Our own lack of sockets, descriptors or sense.
            ErrorType::SocketError | ErrorType::BindError | ErrorType::InternalError | ErrorType::UnknownError => None,
            _ => Some(Self::Invalid),
        }
    }
}
