//! Whether what the door has said of a caller is still so when it is acted upon.
//!
//! The door weighs a request when its head comes; the body may come much later, and a password takes its time to be hashed. Who is thrown out
//! meanwhile is thrown out, whatever they have begun. So whatever may change something is read whole before anything of it is done, and then the
//! store is asked once, by the query with which the door has found the caller. Where a hash is computed afterwards it is asked again.
//!
//! Nobody is judged by other rights here than the door has judged them by, which knows what their route demands: whose rights have changed is
//! asked to come again.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts as _, Request, State},
    http::Method,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use identity::{Grant, Principal, Voucher};
use store::{GrantFacts, Standing};

use crate::{
    body,
    caller::{ASSERTION, Caller},
    error::ApiError,
    office::Office,
    operations::Operations,
    pages,
};

/// The operations where nobody is asked for. Logging out takes nothing but the caller's own session away: it is answered for one that has ended, and
/// for whoever acts in a disabled organisation.
pub(crate) const UNASKED: [&str; 1] = ["logout"];
/// What is done by the door's word alone while nobody can be asked: what a service reports of use is kept until the database is back.
const KEPT: &str = "report_usage";
/// Below it are the pages.
const PAGES: &str = "/account/";

/// What is said to whoever has other rights now than when the request came.
pub(crate) const CHANGED: &str = "the caller's role or organisation was changed at the same moment; try again";

/// Serves a request of somebody who is still whom the door has let in once its body is here.
pub(crate) async fn still_so(
    State((office, operations)): State<(Arc<Office>, Arc<Operations>)>,
    request: Request,
    next: Next,
) -> Response {
    let is_page = request.uri().path().starts_with(PAGES);
    let operation = operations.asked(request.method(), request.extensions());
    let (is_unasked, is_kept) = (operation.is_some_and(|id| UNASKED.contains(&id)), operation == Some(KEPT));
    let received = if is_unasked { Ok(request) } else { received(&office, request, is_kept).await };
    match received {
        Ok(request) => next.run(request).await,
        Err(error) if is_page => pages::failed(&office, &error),
        Err(error) => error.into_response(),
    }
}

/// The request with all of its body, if that changes anything: whoever only reads, and whoever is nobody known, is their handler's alone.
async fn received(office: &Arc<Office>, request: Request, is_kept: bool) -> Result<Request, ApiError> {
    let (mut parts, body) = request.into_parts();
    let only_reads = [Method::GET, Method::HEAD].contains(&parts.method);
    if only_reads || !parts.headers.contains_key(ASSERTION) {
        return Ok(Request::from_parts(parts, body));
    }
    // Its handler says what is wrong with it, if it asks who is calling.
    let Ok(caller) = Caller::from_request_parts(&mut parts, office).await else {
        return Ok(Request::from_parts(parts, body));
    };
    // The limit of a body is written in the parts.
    let bytes = body::receive(Request::from_parts(parts.clone(), body), office).await?;
    match caller.still(office).await {
        Err(ApiError::StoreAway(_)) if is_kept => {}
        asked => asked?,
    }
    parts.extensions.insert(caller);
    Ok(Request::from_parts(parts, bytes.into()))
}

// === impl Caller ===

impl Caller {
    /// Is what the door has said of the caller still so? Else it is refused as the door would refuse it, or asked to come again.
    pub(crate) async fn still(&self, office: &Office) -> Result<(), ApiError> {
        let (said, store) = (&self.0, &office.store);
        // By the door's own queries.
        let facts = match said.grant {
            // There is no record of who holds one.
            Grant::Certificate(_) => return Ok(()),
            Grant::Session(id) | Grant::Machine(id) => store.session_grant(id).await?,
            Grant::Cookie(id) => store.cookie_grant(id).await?,
            Grant::Key(id) => store.key_grant(id).await?,
            Grant::External(_, Voucher::Developer) => store.account(said.account).await?.map(GrantFacts::of_account),
            Grant::External(id, by) => {
                let tenant = said.tenant.filter(|_| by == Voucher::IssuerForTenant);
                let known = store.external_account(id, tenant).await?;
                known.map(|(account, _)| GrantFacts::of_account_in(account, tenant))
            }
        };
        let facts = facts.filter(|facts| facts.account.id == said.account);
        // How long a cookie has not been used the door knows better: not every use is written down. What there is no record of was taken away: with
        // its account, or a subject from an account that is there.
        let facts = GrantFacts { idle_until: None, ..facts.ok_or(ApiError::Revoked)? };
        match facts.standing(office.now()) {
            // Its owner has shown meanwhile who they are. What they were given for it is not this token or cookie, of which somebody may have a copy.
            Standing::Live if facts.generation != said.generation => Err(ApiError::Revoked),
            Standing::Live if is_same(said, &facts.principal(said.grant)) => Ok(()),
            Standing::Live => Err(ApiError::Conflict(CHANGED)),
            Standing::Ended => Err(ApiError::Revoked),
            Standing::Expired => Err(ApiError::Expired),
            Standing::AccountDisabled => Err(ApiError::AccountDisabled),
            Standing::TenantDisabled => Err(ApiError::TenantDisabled),
        }
    }
}

/// The same rights? Scopes are those of the credential and do not change, nor does an assertion say all the rest. A tier is a measure and no right:
/// it counts from the next request on.
fn is_same(said: &Principal, now: &Principal) -> bool {
    let rights = |of: &Principal| (of.tenant, of.tenant_role, of.actor.as_deref().copied(), of.is_service);
    rights(said) == rights(now) && said.role == now.role
}
