//! Who the holders of client certificates are: a verified subject becomes a [`Known`] caller by what `[[tls.clients]]` says.
//!
//! That a certificate is genuine, and was in time, is decided in the handshake ([`crate::connection`]); that it still is, for each request.
//! Whose certificate is to count no longer is taken out of the list or of the authority's good graces.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use aws_lc_rs::digest;
use chrono::{DateTime, Utc};
use identity::{AccountId, CertificateId, Grant, Principal};
use pingora::proxy::Session;
use policies::{Refusal, Route};
use uuid::Builder;

use crate::{config::CertifiedClient, connection::Facts, cookies, directory::Known, inbound::Inbound};

/// Everybody who is known by a certificate.
pub(crate) struct Certified(HashMap<Box<str>, Arc<Known>>);

// === impl Certified ===

impl Certified {
    pub(crate) fn new(clients: &BTreeMap<String, CertifiedClient>) -> Self {
        Self(clients.iter().map(|(subject, client)| (subject.as_str().into(), holder(subject, client))).collect())
    }

    /// Whose certificate the connection has shown, if it is one of ours, and until when in Unix seconds. Refuses one that has ended since,
    /// and what a page of elsewhere makes the holder's browser ask.
    pub(crate) fn holder(
        &self,
        session: &Session,
        now: DateTime<Utc>,
        inbound: &Inbound,
        route: &Route,
        is_websocket: bool,
    ) -> Result<Option<(Arc<Known>, i64)>, Refusal> {
        let shown = Facts::of(session).and_then(|facts| facts.client_certificate.as_ref());
        let Some((holder, ends_at)) = shown.and_then(|shown| Some((self.0.get(&shown.subject)?, shown.ends_at))) else {
            return Ok(None);
        };
        if now.timestamp() >= ends_at {
            return Err(Refusal::Expired);
        }
        cookies::check_certificate(session.req_header(), inbound, route, is_websocket)?;
        Ok(Some((Arc::clone(holder), ends_at)))
    }
}

/// The holder has no account; its id follows from the subject, so that it is the same on every node and after every start.
fn holder(subject: &str, client: &CertifiedClient) -> Arc<Known> {
    let mut bits = [0; 16];
    bits.copy_from_slice(&digest::digest(&digest::SHA256, subject.as_bytes()).as_ref()[..16]);
    let id = Builder::from_custom_bytes(bits).into_uuid();
    let principal = Principal {
        account: AccountId::new(id),
        role: client.role.as_str().into(),
        tier: client.tier.as_str().into(),
        tenant: None,
        tenant_role: None,
        actor: None,
        is_service: false,
        grant: Grant::Certificate(CertificateId::new(id)),
        scopes: None,
        networks: None,
        authentication: None,
        generation: 0,
    };
    Arc::new(Known::certified(principal, subject))
}
