//! Who shows a credential, from where and when: what comes of it is kept beside that.

use std::net::IpAddr;

use chrono::{DateTime, Utc};

use crate::inbound::{Inbound, RequestId};

/// One request.
#[derive(Clone, Copy)]
pub(crate) struct Asking<'a> {
    pub(crate) client: IpAddr,
    pub(crate) now: DateTime<Utc>,
    /// The name under which it stands in the access log, if it has one.
    pub(crate) request: Option<&'a RequestId>,
}

// === impl Inbound ===

impl Inbound {
    pub(crate) fn asking(&self, now: DateTime<Utc>) -> Asking<'_> {
        Asking { client: self.client, now, request: Some(&self.request_id) }
    }
}
