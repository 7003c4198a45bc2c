//! What guards a connection before there is a request: the door's own listeners, and the bytes that pass them.
//!
//! ```text
//! accept ──► gate ──► proxy_protocol ──► tls ──► guarded ──► Pingora
//!            caps     whose connection           │ http1 (head, body): HTTP/1 read strictly, one request at a time
//!                                                │ http2: requests side by side; frames: counted; room
//!                                                └ deadlines; farewell: the answer to what cannot be read
//! ```
//!
//! The readers are pure and know no socket. What a request means is decided after this.

pub(crate) mod accept;
pub(crate) mod body;
mod client_certificate;
mod deadline;
mod farewell;
pub(crate) mod fault;
mod followed;
pub(crate) mod frames;
pub(crate) mod gate;
pub(crate) mod guarded;
mod half_closed;
pub(crate) mod head;
pub(crate) mod http1;
mod http2;
pub(crate) mod proxy_protocol;
mod room;
mod stream;
pub(crate) mod tls;
mod transport;
mod waiting;
mod writing;

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use chrono::{DateTime, Utc};
use pingora::{
    http::ResponseHeader,
    protocols::{Digest, http::ServerSession, raw_connect::ProxyDigest},
};

pub(crate) use self::{
    client_certificate::ClientCertificate,
    guarded::Patience,
    room::Room,
    waiting::{BODY_WINDOW, enough},
};

/// What a connection may do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) head: head::HeadLimits,
    pub(crate) frames: frames::FrameLimits,
    pub(crate) patience: Patience,
    /// Requests until the client is told to make another connection.
    pub(crate) requests: u32,
    /// Requests of HTTP/2 at once.
    pub(crate) streams: usize,
}

/// What is known of a connection beside its addresses.
pub(crate) struct Facts {
    pub(crate) client_certificate: Option<ClientCertificate>,
    /// A balancer has passed on the connection of somebody whom it does not name, and the peer's address is its own: what is said here is not
    /// its word.
    pub(crate) is_of_stranger: bool,
    /// Whose connection it is counted as: the peer's, or that of whom a balancer announces.
    pub(crate) address: Arc<gate::Address>,
    /// Has an HTTP/2 client any for bodies?
    pub(crate) room: Arc<Room>,
    /// Has the answer to the present request of HTTP/1 begun? It may lie gathered or have been taken in part, and then the session knows
    /// nothing of it.
    pub(crate) has_begun: Arc<AtomicBool>,
}

// === impl Facts ===

impl Facts {
    /// Pingora carries no facts of ours but in the digest of an HTTP proxy, which no client of ours is behind.
    fn into_digest(self) -> ProxyDigest {
        let unused = ResponseHeader::from(http::Response::new(()).into_parts().0);
        ProxyDigest::new(Box::new(unused), Some(Box::new(self)))
    }

    /// The facts of the connection that a request came by.
    pub(crate) fn of(session: &ServerSession) -> Option<&Self> {
        Self::carried_by(session.digest()?)
    }

    fn carried_by(digest: &Digest) -> Option<&Self> {
        digest.proxy_digest.as_ref()?.user_data.as_ref()?.downcast_ref()
    }

    /// How long the connection is good for: until its client's certificate ends, since with the next one it may show another.
    pub(crate) fn left(&self, now: DateTime<Utc>) -> Duration {
        let ends_at = self.client_certificate.as_ref().map(|certificate| certificate.ends_at);
        let left = ends_at.map(|ends_at| ends_at.saturating_sub(now.timestamp()));
        left.map_or(Duration::MAX, |seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or_default()))
    }
}
