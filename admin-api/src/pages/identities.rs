//! `/account/identities`: with whom somebody signs in besides a password, and how to add one or take one away.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};

use super::{
    frame::{self, FormPage},
    link::IDENTITIES,
    posted::{Meant, SignedIn},
    prove::{self, ProofForm},
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
    /// Where another one is added, and what it is called.
    providers: Vec<(String, &'a str)>,
}

struct Identity {
    id: String,
    label: String,
    email: String,
    since: Moment,
    used: Option<Moment>,
}

pub(super) async fn show(State(office): State<Arc<Office>>, RawQuery(query): RawQuery, who: SignedIn) -> Response {
    let shown = async {
        let account = office.store.account(who.principal.account).await?.ok_or(ApiError::CallerGone)?;
        let identities = linked(&office, account.id).await?.into_iter().map(Identity::from).collect();
        let providers = office.providers.list().iter();
        Ok(IdentitiesPage {
            product: &office.mail.settings.product,
            here: "identities",
            csrf: who.csrf(),
            email: account.email,
            identities,
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
    Ok(visitor): Result<Visitor, std::convert::Infallible>,
    Meant { who, form }: Meant<ProofForm>,
) -> Response {
    let caller = Caller(who.principal.clone());
    match oauth::unlink(&office, &visitor, &caller, &id, &form.proof()).await {
        Ok(()) => frame::go(IDENTITIES, HeaderMap::new()),
        Err(error) if prove::is_asking(&error) => match prove_it(&office, &who, &id, &error).await {
            Ok(page) => page,
            Err(error) => frame::failed(&office, &error),
        },
        Err(error) => frame::failed(&office, &error),
    }
}

/// Asks who has not been seen lately for what shows that they are the owner.
async fn prove_it(office: &Office, who: &SignedIn, id: &str, refused: &ApiError) -> Result<Response, ApiError> {
    let action = format!("{IDENTITIES}/{id}/unlink");
    let page = FormPage {
        title: "Show that it is you",
        intro: Some(
            "If you have nothing to show, sign out, have a link to sign in mailed to you, and come back within five minutes.",
        ),
        action: &action,
        hidden: vec![("csrf", who.csrf())],
        fields: prove::fields(office, who.principal.account, Some(refused)).await?,
        submit: "Unlink",
        links: vec![(IDENTITIES, "Do not unlink")],
        ..FormPage::default()
    };
    Ok(page.again(office, refused))
}

// === impl Identity ===

impl From<LinkedIdentity> for Identity {
    fn from(linked: LinkedIdentity) -> Self {
        Self {
            id: linked.id.to_string(),
            label: linked.label,
            email: linked.email.unwrap_or_else(|| "an address that is not known".to_owned()),
            since: linked.created_at.into(),
            used: linked.last_used_at.map(Moment::from),
        }
    }
}
