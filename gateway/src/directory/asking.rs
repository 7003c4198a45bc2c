//! Who shows a credential, from where and when: what comes of it is kept beside that.

use std::net::IpAddr;

use chrono::{DateTime, Utc};

use crate::inbound::{Inbound, RequestId};

/// One request.
#[derive(Clone, Copy)]
pub(crate) struct Asking<'a> {
    /// What is limited by address counts this.
    pub(crate) client: IpAddr,
    /// Is it the client's own, and not that of a proxy which does not say for whom it asks?
    pub(crate) is_client_known: bool,
    pub(crate) now: DateTime<Utc>,
    /// The name under which it stands in the access log, if it has one.
    pub(crate) request: Option<&'a RequestId>,
}

// === impl Asking ===

impl Asking<'_> {
    /// Where the client is, if anybody knows: nobody else's address says it.
    pub(super) fn place(&self) -> Option<IpAddr> {
        self.is_client_known.then_some(self.client)
    }
}

// === impl Inbound ===

impl Inbound {
    pub(crate) fn asking(&self, now: DateTime<Utc>) -> Asking<'_> {
        let Self { client, is_client_known, ref request_id, .. } = *self;
        Asking { client, is_client_known, now, request: Some(request_id) }
    }
}
