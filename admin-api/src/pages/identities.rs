//! `/account/identities`: with whom somebody signs in besides a password and by whose tokens they are let in, and how to add one or take one
//! away.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};

use super::{
    frame,
    link::IDENTITIES,
    posted::{Meant, SignedIn},
    prove::{self, Ask, ProofForm},
    sessions::Moment,
};
use crate::{
    caller::Caller,
    error::ApiError,
    oauth,
    office::Office,
    routes::list_identities::{LinkedIdentity, linked},
    visitor::Visitor,
};

#[derive(Template)]
#[template(path = "pages/identities.html")]
struct IdentitiesPage<'a> {
    product: &'a str,
    here: &'static str,
    csrf: String,
    email: String,
    identities: Vec<Identity>,
    /// Issuers that were unlinked.
    refused: Vec<Identity>,
    /// Where another one is added, and what it is called.
    providers: Vec<(String, &'a str)>,
}

struct Identity {
    id: String,
    label: String,
    /// Do people log in there? Else it signs tokens.
    is_login: bool,
    email: String,
    since: Moment,
    used: Option<Moment>,
}

pub(super) async fn show(State(office): State<Arc<Office>>, RawQuery(query): RawQuery, who: SignedIn) -> Response {
    let shown = async {
        let account = office.store.account(who.principal.account).await?.ok_or(ApiError::CallerGone)?;
        let identities = linked(&office, account.id).await?.into_iter();
        let (refused, identities): (Vec<_>, Vec<_>) = identities.partition(|one| one.refused_at.is_some());
        let providers = office.providers.list().iter();
        Ok(IdentitiesPage {
            product: &office.mail.settings.product,
            here: "identities",
            csrf: who.csrf(),
            email: account.email,
            identities: identities.into_iter().map(Identity::from).collect(),
            refused: refused.into_iter().map(Identity::from).collect(),
            providers: providers.map(|one| (format!("/auth/oauth/{}?link=1", one.id), &*one.label)).collect(),
        })
    };
    match shown.await {
        Ok(shown) => {
            let mut page = frame::page(StatusCode::OK, &shown);
            if query.as_deref() == Some("declined") {
                page.headers_mut().extend(office.no_link_cookie());
            }
            page
        }
        Err(error) => frame::failed(&office, &error),
    }
}

pub(super) async fn unlink(
    State(office): State<Arc<Office>>,
    Path(id): Path<String>,
    visitor: Visitor,
    Meant { who, form }: Meant<ProofForm>,
) -> Response {
    let caller = Caller(who.principal.clone());
    let done = oauth::unlink(&office, &visitor, &caller, &id, &form.proof()).await;
    let action = format!("{IDENTITIES}/{id}/unlink");
    let ask = Ask { action: &action, submit: "Unlink", back: (IDENTITIES, "Do not unlink") };
    gone_back(&office, &who, done, ask).await
}

pub(super) async fn allow(
    State(office): State<Arc<Office>>,
    Path(id): Path<String>,
    visitor: Visitor,
    Meant { who, form }: Meant<ProofForm>,
) -> Response {
    let caller = Caller(who.principal.clone());
    let done = oauth::allow(&office, &visitor, &caller, &id, &form.proof()).await;
    let action = format!("{IDENTITIES}/{id}/allow");
    let ask = Ask { action: &action, submit: "Allow", back: (IDENTITIES, "Do not allow") };
    gone_back(&office, &who, done, ask).await
}

/// The list, or a page that asks for what was not shown.
async fn gone_back(office: &Office, who: &SignedIn, done: Result<(), ApiError>, ask: Ask<'_>) -> Response {
    let Err(refused) = done else { return frame::go(IDENTITIES, HeaderMap::new()) };
    match prove::ask(office, who, &refused, ask).await {
        Ok(page) => page,
        Err(error) => frame::failed(office, &error),
    }
}

// === impl Identity ===

impl From<LinkedIdentity> for Identity {
    fn from(linked: LinkedIdentity) -> Self {
        Self {
            id: linked.id.to_string(),
            label: linked.label,
            is_login: linked.provider.is_some(),
            email: linked.email.unwrap_or_else(|| "an address that is not known".to_owned()),
            since: linked.created_at.into(),
            used: linked.last_used_at.map(Moment::from),
        }
    }
}
