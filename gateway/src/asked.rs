//! What the hot path asks for where few requests need it: the credential that is shown, whose a thing is, and to which teams somebody
//! belongs.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use identity::{CookieNames, Credential, CredentialError};
use policies::{Eligible, OwnerDemand, Permit, Refusal};

use crate::{
    cookies,
    directory::{GroupHeaders, Known},
    door::Door,
    inbound::Inbound,
};

/// What is a credential and nothing else: read here, shown by no browser that goes to a page, and not sent on.
pub(crate) static CREDENTIALS: [HeaderName; Credential::HEADERS.len()] = {
    let [authorization, x_api_key] = Credential::HEADERS;
    [HeaderName::from_static(authorization), HeaderName::from_static(x_api_key)]
};

/// What the caller shows.
pub(crate) fn shown(headers: &HeaderMap, names: CookieNames) -> Result<Option<Credential<'_>>, Refusal> {
    let values = |name: &HeaderName| headers.get_all(name).iter().map(HeaderValue::as_bytes);
    Credential::read(
        CREDENTIALS.each_ref().map(values),
        values(&header::SEC_WEBSOCKET_PROTOCOL),
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
    /// The rest of the decision, where a route demands that what the path names is the caller's. Who asks for what is not theirs is counted
    /// as who shows what proves nothing is: else whoever has an account could make the database look for things without end.
    pub(crate) async fn owned(
        &self,
        eligible: Eligible,
        demand: &OwnerDemand,
        inbound: &Inbound,
    ) -> Result<Permit, Refusal> {
        let sought = self.directory.possession(demand, &inbound.path, inbound.client).await?;
        let permit = eligible.permit(sought.whose);
        if permit.is_err() && sought.was_asked_for() {
            self.directory.count_refusal(inbound.client);
        }
        permit
    }

    /// To which teams and domains the caller belongs, and its tenant's tier, for an upstream that asks for it.
    pub(crate) async fn groups_of(&self, known: Option<&Known>) -> Result<Option<Arc<GroupHeaders>>, Refusal> {
        match known {
            Some(known) => self.directory.groups(&known.principal).await,
            None => Ok(None),
        }
    }
}
