//! What the hot path asks for where few requests need it: the credential that is shown, whose a thing is, and to which teams somebody
//! belongs.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use identity::{CookieNames, Credential, CredentialError};
use policies::{Possession, Refusal, Route};

use crate::{
    cookies,
    directory::{GroupHeaders, Known},
    door::Door,
    inbound::Inbound,
};

/// What the caller shows.
pub(crate) fn shown(headers: &HeaderMap, names: CookieNames) -> Result<Option<Credential<'_>>, Refusal> {
    let values = |name: HeaderName| headers.get_all(name).iter().map(HeaderValue::as_bytes);
    Credential::read(
        values(header::AUTHORIZATION),
        values(HeaderName::from_static("x-api-key")),
        values(header::SEC_WEBSOCKET_PROTOCOL),
        cookies::shown(headers, names),
    )
    .map_err(|error| match error {
        CredentialError::Ambiguous => Refusal::AmbiguousCredentials,
        CredentialError::Unsupported => Refusal::UnsupportedCredential,
        CredentialError::Malformed => Refusal::InvalidToken,
    })
}

// === impl Door ===

impl Door {
    /// Whose the thing is that the path names, where a route demands that it is the caller's. For strangers nothing is looked up.
    pub(crate) async fn whose(
        &self,
        route: &Route,
        inbound: &Inbound,
        known: Option<&Known>,
    ) -> Result<Option<Possession>, Refusal> {
        let (Some(demand), Some(known)) = (&route.demand.owner, known) else { return Ok(None) };
        self.directory.possession(demand, &inbound.path, known.principal.account, inbound.client).await
    }

    /// To which teams and domains the caller belongs, for an upstream that asks for it.
    pub(crate) async fn groups_of(&self, known: Option<&Known>) -> Result<Option<Arc<GroupHeaders>>, Refusal> {
        match known {
            Some(known) => self.directory.groups(&known.principal).await,
            None => Ok(None),
        }
    }
}
